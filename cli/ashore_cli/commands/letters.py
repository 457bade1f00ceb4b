"""`ashore streams letters`: events that a service could not handle, looked at, tried again, or dropped."""

from typing import Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Options

app = App(name="letters", help="Events that a service could not handle: look, try again, drop.")
HERE: Final = Options()
THERE: Final = Connection()

Number = Annotated[int, Parameter(help="Its number in the list.")]
Subscriber = Annotated[str, Parameter(help="Only those of this subscriber, `owner` say.")]
Event = Annotated[str, Parameter(help="Only events of this name, `voucher-extended` say.")]


@app.command(name="list")
async def list_(*, subscriber: Subscriber = "", event: Event = "", options: Options = HERE) -> None:
    """List dead letters, oldest first: which event, who could not handle it, how often it was tried, and why."""
    # NATS is slow to import, and `--help` does not need it.
    from ashore_cli.letters import Wanted, show_letters  # noqa: PLC0415 - see above

    await show_letters(Wanted(subscriber, event), options)


@app.command
async def show(number: Number, /, *, options: Options = HERE) -> None:
    """Show a dead letter with its event."""
    from ashore_cli.letters import show_letter  # noqa: PLC0415 - NATS is slow to import

    await show_letter(number, options)


@app.command
async def retry(
    numbers: Annotated[list[int] | None, Parameter(help="Their numbers in the list.")] = None,
    /,
    *,
    all: Annotated[  # noqa: A002 - the word that users know from other tools
        bool, Parameter(help="All of them, or all that the other options leave.", negative="")
    ] = False,
    subscriber: Subscriber = "",
    event: Event = "",
    options: Options = HERE,
) -> int:
    """Hand events again to the subscriber that failed, and to nobody else.

    A letter whose event is handled now is gone; the others stay, and say why. The service must be running.
    """
    from ashore_cli.letters import Wanted, retry_letters  # noqa: PLC0415 - NATS is slow to import

    return await retry_letters(Wanted(subscriber, event, tuple(numbers or ())), options, everything=all)


@app.command
async def drop(
    numbers: Annotated[list[int], Parameter(help="Their numbers in the list.")], /, *, options: Connection = THERE
) -> None:
    """Delete dead letters. The events themselves stay in the stream of facts."""
    from ashore_cli.letters import drop_letters  # noqa: PLC0415 - NATS is slow to import

    await drop_letters(numbers, options)

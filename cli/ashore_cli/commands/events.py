"""`ashore events`: what happens, and what has happened."""

from typing import Annotated, Final

from cyclopts import Parameter

from ashore_cli.options import Options

HERE: Final = Options()


async def events(
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on with what comes.", negative="")] = False,
    filter: Annotated[  # noqa: A002 - the word that users know from other tools
        list[str] | None, Parameter(help="Only events of this name, `device-onboarded` say; can be given again.")
    ] = None,
    device: Annotated[str, Parameter(help="Only events of the device whose GUID begins so.")] = "",
    since: Annotated[
        str | None, Parameter(help="From when: `90s`, `15m`, `1h`, `2d` ago, or a date. By default 1h; now to follow.")
    ] = None,
    options: Options = HERE,
) -> None:
    """Show events."""
    # NATS is slow to import, and `--help` does not need it.
    from ashore_cli.listening import Wanted, listen  # noqa: PLC0415 - see above

    await listen(Wanted(names=filter or [], device=device, since=since, follow=follow), options)

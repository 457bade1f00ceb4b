"""`ashore device`: virtual devices on this machine, each in a folder of its own below the data folder."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from ashore_cli.options import Options
from ashore_cli.output import Column, short, show_list, show_one

if TYPE_CHECKING:
    # Devices carry cryptography, which `--help` does not need.
    from ashore_cli.local.devices import Known

app = App(name="device", help="Virtual devices on this machine.")
HERE: Final = Options()

Serials = Annotated[list[str] | None, Parameter(help="Serial numbers, which are also the names of the folders.")]
Count = Annotated[int | None, Parameter(help="How many new devices.")]
Prefix = Annotated[str, Parameter(help="How the serial numbers of new devices begin.")]
Kind = Annotated[Literal["p256", "p384", "rsa2048", "rsa3072"], Parameter(help="Kind of the devices' keys.")]
Encoding = Annotated[Literal["x509", "x5chain", "cose"], Parameter(help="How vouchers encode the owners' keys.")]
Model = Annotated[str, Parameter(help="What new devices say that they are: profiles' rules may look at it.")]


@app.command
async def init(
    serials: Serials = None,
    /,
    *,
    count: Count = None,
    prefix: Prefix = "device",
    kind: Kind = "p256",
    encoding: Encoding = "x509",
    model: Model = "virtual device",
    options: Options = HERE,
) -> int:
    """Make devices and initialise them at the manufacturer (DI): each gets its credential, its voucher is issued."""
    from ashore_cli.local.fleet import Batch, run  # noqa: PLC0415 - see the import for typing above

    batch = Batch(serials or [], count, prefix, kind, encoding, model)
    return await run(batch, options, onboard=False)


@app.command
async def onboard(
    serials: Serials = None,
    /,
    *,
    count: Count = None,
    prefix: Prefix = "device",
    kind: Kind = "p256",
    encoding: Encoding = "x509",
    model: Model = "virtual device",
    options: Options = HERE,
) -> int:
    """Bring devices ashore (TO1, TO2): those named, or new ones by --count, or all that are not yet.

    New devices are initialised first. Where there is no device at all, one is made.
    """
    from ashore_cli.local.fleet import Batch, run  # noqa: PLC0415 - see the import for typing above

    batch = Batch(serials or [], count, prefix, kind, encoding, model)
    return await run(batch, options, onboard=True)


@app.command
async def run(
    serial: Annotated[str | None, Parameter(help="Its serial number; by default the next one that is free.")] = None,
    /,
    *,
    options: Options = HERE,
) -> None:
    """Make a device, bring it ashore and show its timeline as the events come."""
    from ashore_cli.local.demo import run_device  # noqa: PLC0415 - see the import for typing above

    await run_device(options, serial)


@app.command(name="list")
def list_(*, options: Options = HERE) -> None:
    """List the devices on this machine."""
    from ashore_cli.local.devices import known  # noqa: PLC0415 - see the import for typing above

    columns: list[Column[Known]] = [
        Column("serial", lambda one: one.serial),
        Column("guid", lambda one: short(one.guid)),
        Column("state", lambda one: one.state),
        Column("device", lambda one: one.device_info),
        Column("owner", lambda one: one.owner_url),
    ]
    empty = "There are no devices here: `ashore device onboard` makes one and brings it ashore."
    show_list(known(options.data / "devices"), columns, options, empty=empty)


@app.command
def show(
    serial: Annotated[str, Parameter(help="Its serial number, which is the name of its folder.")],
    /,
    *,
    options: Options = HERE,
) -> None:
    """Show what a device knows, and the files that its owner gave it. Its secrets are not shown."""
    from ashore_cli.local.devices import one_known  # noqa: PLC0415 - see the import for typing above

    found = one_known(options.data / "devices", serial)
    lines = [
        ("serial", found.serial),
        ("device", found.device_info),
        ("state", found.state),
        ("GUID", found.guid),
        ("rendezvous", found.rendezvous),
        ("owner", found.owner_url),
        ("folder", found.folder),
        ("files", found.files),
    ]
    show_one(found, lines, options)

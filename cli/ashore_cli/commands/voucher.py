"""`ashore voucher`: ownership vouchers, at the manufacturer, on their way to an owner, and in files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from ashore_cli.errors import DONE, CommandError, explain, naming
from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, age, say, short, show_list, show_one
from ashore_cli.places import empty_words, more_words
from ashore_cli.reach import guid_at_manufacturer, guid_at_owner

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.manufacturer import VoucherSummary
    from ashore.client.owner_model import Imported

app = App(name="voucher", help="Ownership vouchers, at the manufacturer and in files.")
HERE: Final = Options()
THERE: Final = Connection()
_FORMS: Final = "give vouchers as PEM blocks (OWNERSHIP VOUCHER), or one in CBOR"

Guid = Annotated[str, Parameter(help="The GUID or the serial number, or how one of them begins.")]
Where = Annotated[
    Literal["manufacturer", "owner"], Parameter(help="Whose vouchers: the manufacturer's or the owner's.")
]
Target = Annotated[Path | None, Parameter(name=["--file", "-f"], help="Write it there, not to the output.")]


@app.command(name="list")
async def list_(
    *,
    state: Annotated[
        Literal["issued", "extended"] | None, Parameter(help="Only those the manufacturer has, or has sold.")
    ] = None,
    search: Annotated[str | None, Parameter(help="How the GUID or the serial number begins.")] = None,
    limit: Limit = 100,
    options: Options = HERE,
) -> None:
    """List the manufacturer's vouchers, the newest first."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.manufacturer.vouchers(state=state, search=search, limit=size, cursor=cursor),
            limit,
        )
    columns: list[Column[VoucherSummary]] = [
        Column("guid", lambda one: short(one.guid)),
        Column("serial", lambda one: one.serial),
        Column("device", lambda one: one.device_info),
        Column("state", lambda one: one.state),
        Column("key", lambda one: one.key_type),
        Column("owner", lambda one: short(one.owner_key)),
        Column("age", lambda one: age(one.created_at)),
    ]
    empty = "The manufacturer has no vouchers: `ashore device init` makes a device, which gets one."
    show_list(items, columns, options, empty=empty_words(empty, state, search), more=more_words(more, limit))


@app.command
async def show(guid: Guid, /, *, options: Options = HERE) -> None:
    """Show what a voucher of the manufacturer says."""
    async with options.client() as client:
        found = await client.manufacturer.voucher(await guid_at_manufacturer(client.manufacturer, guid))
    lines = [
        ("GUID", found.guid),
        ("serial", found.serial),
        ("device", found.device_info),
        ("state", found.state),
        ("made", found.created_at),
        ("sold", found.extended_at),
        ("key", f"{found.key_type}, {found.key_encoding}"),
        ("owners", found.owners),
        ("rendezvous", [url for one in found.rv_info for url in one.urls()]),
        ("device key", found.device_key),
        ("digest", found.digest),
    ]
    show_one(found, lines, options)


@app.command
async def export(
    guid: Guid, /, *, at: Where = "manufacturer", file: Target = None, options: Connection = THERE
) -> None:
    """Get a voucher as PEM, the form that every FDO owner reads."""
    async with options.client() as client:
        if at == "owner":
            pem = await client.owner.voucher_pem(await guid_at_owner(client.owner, guid))
        else:
            pem = await client.manufacturer.voucher_pem(await guid_at_manufacturer(client.manufacturer, guid))
    _deliver(pem, file)


@app.command
async def extend(
    guid: Guid,
    /,
    *,
    to: Annotated[Path, Parameter(help="The buyer's public key, certificate or bundle in PEM.")],
    at: Where = "manufacturer",
    file: Target = None,
    options: Connection = THERE,
) -> None:
    """Sell a device: sign its voucher over to a buyer, and get it as PEM."""
    key = _read(to).decode("utf-8", "replace")
    async with options.client() as client:
        if at == "owner":
            one = await guid_at_owner(client.owner, guid)
            pem = await client.owner.extend(one, key)
        else:
            one = await guid_at_manufacturer(client.manufacturer, guid)
            await client.manufacturer.extend(one, key)
            pem = await client.manufacturer.voucher_pem(one)
    _deliver(pem, file)
    say(f"Device {short(one)} is sold. The buyer imports its voucher: ashore voucher import FILE")


@app.command
async def send(
    guids: Annotated[list[str], Parameter(help="GUIDs or serial numbers.")], /, *, options: Options = HERE
) -> int:
    """Carry vouchers from the manufacturer to the owner, signed over to the owner where they are not yet."""
    report: list[Imported] = []
    async with options.client() as client:
        keys = "".join(key.pem for key in await client.owner.keys())
        for text in guids:
            guid = await guid_at_manufacturer(client.manufacturer, text)
            voucher = await client.manufacturer.voucher(guid)
            if voucher.state == "issued":
                await client.manufacturer.extend(guid, keys)
            pem = await client.manufacturer.voucher_pem(guid)
            report += await client.owner.import_vouchers(pem, serial=voucher.serial or None)
    return _show_report(report, options)


@app.command(name="import")
async def import_(
    files: Annotated[list[Path], Parameter(help="Vouchers as PEM, any number in a file, or one in CBOR.")],
    /,
    *,
    serial: Annotated[
        str | None,
        Parameter(help="Serial number of the device, for one voucher; by default what the device's certificate says."),
    ] = None,
    options: Options = HERE,
) -> int:
    """Hand vouchers to the owner service, which verifies them and says what became of each."""
    if serial is not None and len(files) > 1:
        raise CommandError("one serial number for several files", remedy="import them one by one")
    contents = [_read(path) for path in files]
    report: list[Imported] = []
    code = DONE
    async with options.client() as client:
        for path, content in zip(files, contents, strict=True):
            try:
                with naming(str(path), remedy=_FORMS):
                    report += await client.owner.import_vouchers(content, serial=serial)
            except CommandError as error:
                # What became of the other files is to be known all the same.
                code = explain(error)
    return _show_report(report, options) or code if report else code


@app.command
def inspect(
    file: Annotated[Path, Parameter(help="Vouchers as PEM, or one in CBOR.")], /, *, options: Options = HERE
) -> int:
    """Look into a file with vouchers, without any service: who owned the device, and whether all of it holds."""
    from ashore_cli.inspecting import inspect_vouchers  # noqa: PLC0415 - cryptography is slow to import

    return inspect_vouchers(str(file), _read(file), options)


def _show_report(report: "list[Imported]", options: Options) -> int:
    columns: list[Column[Imported]] = [
        Column("guid", lambda one: short(one.guid)),
        Column("serial", lambda one: one.serial),
        Column("device", lambda one: one.device_info),
        Column("verdict", lambda one: one.verdict),
        Column("reason", lambda one: one.reason, wraps=True),
    ]
    show_list(report, columns, options, empty="There was no voucher.")
    return 1 if any(one.verdict == "refused" for one in report) else 0


def _deliver(pem: bytes, file: Path | None) -> None:
    if file is None:
        print(pem.decode(), end="")
        return
    try:
        file.write_bytes(pem)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}", remedy="choose another file") from error
    say(f"Written to {file}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="check its path") from error

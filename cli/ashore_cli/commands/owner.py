"""`ashore owner`: the owner's devices, and who waits."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, age, say, short, show_list, show_one
from ashore_cli.places import empty_words, more_words
from ashore_cli.reach import guid_at_owner

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.manufacturer import Key
    from ashore.client.owner import OwnerClient
    from ashore.client.owner_model import Device, DeviceDetails, Onboarding, Waiting

app = App(name="owner", help="The owner's devices, and who waits.")
HERE: Final = Options()
THERE: Final = Connection()
_ONBOARDINGS: Final = 5

State = Literal["manufactured", "owned", "registered", "redirected", "onboarding", "onboarded", "failed"]
Guid = Annotated[str, Parameter(help="The GUID or the serial number, or how one of them begins.")]


@app.command(name="list")
async def list_(
    *,
    state: Annotated[State | None, Parameter(help="Only those in this state.")] = None,
    search: Annotated[str | None, Parameter(help="How the GUID or the serial number begins.")] = None,
    limit: Limit = 100,
    all: Annotated[  # noqa: A002 - the word that users know from other tools
        bool, Parameter(help="Also the former selves of devices: each onboarding gives a new GUID.", negative="")
    ] = False,
    options: Options = HERE,
) -> None:
    """List the devices whose vouchers the owner has."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.owner.devices(state=state, search=search, limit=size, cursor=cursor),
            limit,
            lambda one: all or not one.replaced_by,
        )
    columns: list[Column[Device]] = [
        Column("guid", lambda one: short(one.guid)),
        Column("serial", lambda one: one.serial),
        Column("device", lambda one: one.device_info),
        Column("state", lambda one: one.state),
        Column("profile", lambda one: one.profile or "by rule"),
        Column("attempts", lambda one: one.attempts),
        Column("since", lambda one: age(one.onboarded_at or one.received_at)),
    ]
    empty = (
        "The owner has no devices: `ashore device onboard` makes a virtual one, `ashore voucher import` brings yours."
    )
    show_list(items, columns, options, empty=empty_words(empty, state, search), more=more_words(more, limit))


@app.command
async def show(guid: Guid, /, *, options: Options = HERE) -> None:
    """Show a device: its state, its onboardings, and what each step of its profile did."""
    async with options.client() as client:
        device = await _with_history(client.owner, await guid_at_owner(client.owner, guid))
    show_one(device, _facts(device), options)


@app.command
async def waiting(*, options: Options = HERE) -> None:
    """List devices that came and could not be served, each with the one thing to do."""
    async with options.client() as client:
        items = await client.owner.waiting()
    columns: list[Column[Waiting]] = [
        Column("guid", lambda one: short(one.guid)),
        Column("times", lambda one: one.times),
        Column("last", lambda one: age(one.last_seen)),
        Column("reason", lambda one: one.reason, wraps=True),
        Column("to do", lambda one: one.remedy, wraps=True),
    ]
    show_list(items, columns, options, empty="Nobody waits.")


@app.command
async def keys(*, options: Options = HERE) -> None:
    """List the owner's public keys; `ashore owner bundle` prints them for those who sell devices to this owner."""
    async with options.client() as client:
        items = await client.owner.keys()
    columns: list[Column[Key]] = [
        Column("kind", lambda one: one.kind),
        Column("fingerprint", lambda one: one.fingerprint),
    ]
    show_list(items, columns, options, empty="The owner has no keys.")


@app.command
async def bundle(*, options: Connection = THERE) -> None:
    """Print the owner's public keys as one PEM bundle: what a manufacturer needs to sell devices to this owner."""
    async with options.client() as client:
        items = await client.owner.keys()
    print("".join(key.pem for key in items), end="")


@app.command
async def register(guid: Guid, /, *, options: Connection = THERE) -> None:
    """Register a device at its rendezvous now (TO0), without waiting for its turn."""
    async with options.client() as client:
        one = await guid_at_owner(client.owner, guid)
        await client.owner.register(one)
    say(f"Device {short(one)} is registered in a moment: ashore owner show {short(one)}")


@app.command
async def forget(guid: Guid, /, *, options: Connection = THERE) -> None:
    """Forget a device and its voucher. It cannot be onboarded here any more, unless its voucher is imported again."""
    async with options.client() as client:
        one = await guid_at_owner(client.owner, guid)
        await client.owner.forget(one)
    say(f"Device {short(one)} is forgotten.")


async def _with_history(owner: "OwnerClient", guid: str) -> "DeviceDetails":
    """A device with its former selves' onboardings: the record of an onboarding is under the GUID that it ended."""
    device = await owner.device(guid)
    former = device.replaces
    while former and len(device.onboardings) < _ONBOARDINGS:
        predecessor = await owner.device(former)
        known = {one.id for one in device.onboardings}
        device.onboardings += [one for one in predecessor.onboardings if one.id not in known]
        former = predecessor.replaces
    return device


def _facts(device: "DeviceDetails") -> list[tuple[str, object]]:
    failure = device.failure
    lines: list[tuple[str, object]] = [
        ("GUID", device.guid),
        ("serial", device.serial),
        ("device", device.device_info),
        ("state", device.state),
        ("profile", device.profile or "by rule"),
        ("voucher", f"{age(device.received_at)} ago, by {device.origin}"),
        ("registered", f"ends {age(device.registered_until)}" if device.registered_until else ""),
        ("not registered", device.registration_error),
        ("failure", f"{failure.reason} (message {failure.message_number})" if failure else ""),
        ("to do", failure.remedy if failure else ""),
        ("replaces", device.replaces),
        ("replaced by", device.replaced_by),
        ("sold to", device.sold_to),
    ]
    return lines + [("onboarding", _onboarding(one)) for one in device.onboardings]


def _onboarding(one: "Onboarding") -> list[str]:
    lines = [f"{one.result} {age(one.ended_at)} ago with profile {one.profile or '(none)'}"]
    for step in one.steps:
        ending = f" (exit code {step.exit_code})" if step.exit_code is not None else ""
        lines.append(f"  {step.state}: {step.description or step.module}{ending}")
        texts = [*step.stdout.splitlines(), *step.stderr.splitlines(), *([step.error] if step.error else [])]
        lines += [f"      {text}" for text in texts]
    return lines

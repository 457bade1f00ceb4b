"""`ashore rendezvous`: registrations, and who may register."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from ashore_cli.options import Options
from ashore_cli.output import Column, age, form, say, short, show_data, show_list

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.rendezvous import AdmissionRule, Registration

app = App(name="rendezvous", help="Registrations, and who may register.")
HERE: Final = Options()

Kind = Annotated[Literal["owner", "manufacturer", "voucher"], Parameter(help="What the name is of.")]
Name = Annotated[str, Parameter(help="Fingerprint of the key (SHA-256, hex), or the GUID of the voucher's device.")]
Comment = Annotated[str, Parameter(help="Why, for those who read the rules later.")]


@app.command(name="list")
async def list_(*, limit: Annotated[int, Parameter(help="The most to list.")] = 100, options: Options = HERE) -> None:
    """List the registrations: where each device will be sent, and until when."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.rendezvous.registrations(limit=size, cursor=cursor), limit
        )
    columns: list[Column[Registration]] = [
        Column("guid", lambda one: short(one.guid)),
        Column("addresses", lambda one: ", ".join(one.addresses)),
        Column("owner", lambda one: short(one.owner_key)),
        Column("sales", lambda one: one.sales),
        Column("age", lambda one: age(one.registered_at)),
        Column("ends", lambda one: age(one.expires_at)),
    ]
    empty = "No owner has registered a device."
    show_list(items, columns, options, empty=empty, more=f"There are more: --limit {10 * limit}" if more else "")


@app.command
async def rules(*, limit: Annotated[int, Parameter(help="The most to list.")] = 100, options: Options = HERE) -> None:
    """List who may register devices, and who must not."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        trusted = (await client.rendezvous.rules(limit=1)).trusted_keys
        items, more = await collect(lambda size, cursor: client.rendezvous.rules(limit=size, cursor=cursor), limit)
    if form(options) != "table":
        show_data({"rules": items, "trusted_keys": trusted}, options)
        return
    columns: list[Column[AdmissionRule]] = [
        Column("kind", lambda one: one.kind),
        Column("name", lambda one: one.id),
        Column("verdict", lambda one: one.verdict),
        Column("by", lambda one: one.set_by),
        Column("comment", lambda one: one.comment),
    ]
    more_words = f"There are more: --limit {10 * limit}" if more else ""
    show_list(items, columns, options, empty="There are no rules.", more=more_words)
    print(f"Admitted without a rule, by ASHORE_TRUSTED_KEYS: {len(trusted)} keys")


@app.command
async def allow(kind: Kind, name: Name, /, *, comment: Comment = "", options: Options = HERE) -> None:
    """Let devices be registered: all of a manufacturer or an owner, or one."""
    async with options.client() as client:
        rule = await client.rendezvous.put_rule(kind, name, "allow", comment)
    say(f"The {rule.kind} {short(rule.id)} is allowed.")


@app.command
async def deny(kind: Kind, name: Name, /, *, comment: Comment = "", options: Options = HERE) -> None:
    """Refuse registrations; a device's own, where there is one, ends at once."""
    async with options.client() as client:
        rule = await client.rendezvous.put_rule(kind, name, "deny", comment)
    say(f"The {rule.kind} {short(rule.id)} is denied.")


@app.command
async def unrule(kind: Kind, name: Name, /, *, options: Options = HERE) -> None:
    """Take a rule back."""
    async with options.client() as client:
        await client.rendezvous.remove_rule(kind, name)
    say(f"There is no rule about the {kind} {short(name)} any more.")


@app.command
async def forget(guid: Annotated[str, Parameter(help="The device's GUID.")], /, *, options: Options = HERE) -> None:
    """End a registration; the device waits until an owner registers it again."""
    async with options.client() as client:
        await client.rendezvous.forget(guid)
    say(f"The registration of {short(guid)} has ended.")

"""`ashore rendezvous`: registrations, and who may register."""

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, age, counted, form, say, short, show_data, show_list
from ashore_cli.places import more_words
from ashore_cli.reach import guid_at_rendezvous

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.rendezvous import AdmissionRule, Registration

app = App(name="rendezvous", help="Registrations, and who may register.")
HERE: Final = Options()
THERE: Final = Connection()

Kind = Annotated[Literal["owner", "manufacturer", "voucher"], Parameter(help="What the name is of.")]
Name = Annotated[str, Parameter(help="Fingerprint of the key (SHA-256, hex), or the GUID of the voucher's device.")]
Comment = Annotated[str, Parameter(help="Why, for those who read the rules later.")]


@app.command(name="list")
async def list_(*, limit: Limit = 100, options: Options = HERE) -> None:
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
    show_list(items, columns, options, empty=empty, more=more_words(more, limit))


@app.command
async def rules(*, limit: Limit = 100, options: Options = HERE) -> None:
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
    show_list(items, columns, options, empty="There are no rules.", more=more_words(more, limit))
    print(f"Admitted without a rule, by ASHORE_TRUSTED_KEYS: {counted(len(trusted), 'key')}")


@app.command
async def allow(kind: Kind, name: Name, /, *, comment: Comment = "", options: Options = HERE) -> None:
    """Let devices be registered: all of a manufacturer or an owner, or one."""
    async with options.client() as client:
        rule = await client.rendezvous.put_rule(kind, name, "allow", comment)
    say(f"The {rule.kind} {short(rule.id)} is allowed.")
    if options.output:
        show_data(rule, options)


@app.command
async def deny(kind: Kind, name: Name, /, *, comment: Comment = "", options: Options = HERE) -> None:
    """Refuse registrations; a device's own, where there is one, ends at once."""
    async with options.client() as client:
        rule = await client.rendezvous.put_rule(kind, name, "deny", comment)
    say(f"The {rule.kind} {short(rule.id)} is denied.")
    if options.output:
        show_data(rule, options)


@app.command
async def unrule(kind: Kind, name: Name, /, *, options: Connection = THERE) -> None:
    """Take a rule back."""
    async with options.client() as client:
        await client.rendezvous.remove_rule(kind, name)
    say(f"There is no rule about the {kind} {short(name)} any more.")


@app.command
async def forget(
    guid: Annotated[str, Parameter(help="The device's GUID, or how it begins.")], /, *, options: Connection = THERE
) -> None:
    """End a registration; the device waits until an owner registers it again."""
    async with options.client() as client:
        one = await guid_at_rendezvous(client.rendezvous, guid)
        await client.rendezvous.forget(one)
    say(f"The registration of {short(one)} has ended.")

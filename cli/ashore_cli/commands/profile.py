"""`ashore profile`: what devices get, and the rules that choose it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.errors import CommandError, naming
from ashore_cli.options import Connection, Options
from ashore_cli.output import Column, say, short, show_list, show_one
from ashore_cli.reach import guid_at_owner

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.owner_model import Profile, Rule

app = App(name="profile", help="What devices get, and the rules that choose it.")
resource = App(name="resource", help="Files that profiles send to devices.")
app.command(resource)
HERE: Final = Options()
THERE: Final = Connection()

_FIELDS: Final = "docs/reference/rest.md names all fields of a profile; `ashore profile show hello -o yaml` is one"
_RULE_FIELDS: Final = "a rule has `profile`, and any of `device_info`, `serial`, `owner_key`, `devmod`"

Name = Annotated[str, Parameter(help="The profile's name.")]


@app.command(name="list")
async def list_(*, options: Options = HERE) -> None:
    """List the profiles."""
    async with options.client() as client:
        items = [await client.owner.profile(name) for name in await client.owner.profiles()]
    columns: list[Column[Profile]] = [
        Column("name", lambda one: one.name),
        Column("steps", lambda one: len(one.steps)),
        Column("credential", lambda one: one.credential),
        Column("description", lambda one: one.description, wraps=True),
    ]
    show_list(items, columns, options, empty="There are no profiles: `ashore profile apply FILE` brings one.")


@app.command
async def show(name: Name, /, *, options: Options = HERE) -> None:
    """Show a profile. With `-o yaml` it is what `apply` takes."""
    async with options.client() as client:
        profile = await client.owner.profile(name)
    # What a step leaves at its default is nothing to read.
    profile.steps = [
        {key: value for key, value in step.items() if value not in (None, False)} for step in profile.steps
    ]
    lines: list[tuple[str, object]] = [
        ("name", profile.name),
        ("description", profile.description),
        ("credential", profile.credential),
        ("variables", [f"{key}={value}" for key, value in profile.variables.items()]),
        ("steps", [_step(step) for step in profile.steps]),
    ]
    show_one(profile, lines, options)


@app.command
async def apply(
    file: Annotated[Path, Parameter(help="Profiles as YAML or JSON.")], /, *, options: Options = HERE
) -> None:
    """Keep the profiles of a file, in place of those with the same names."""
    from ashore_cli.documents import read_documents  # noqa: PLC0415 - YAML is slow to import

    documents = read_documents(file)
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            raise CommandError(
                f"{file} holds something that is no profile", remedy="give each one a `name` and `steps`"
            )
    kept: list[Profile] = []
    async with options.client() as client:
        for document in documents:
            with naming(f"{file}: profile {document['name']}", remedy=_FIELDS):
                kept.append(await client.owner.put_profile(document["name"], document))
            say(f"Kept: {document['name']}")
    if options.output:
        show_one(kept, [("kept", [profile.name for profile in kept])], options)


@app.command
async def delete(name: Name, /, *, options: Connection = THERE) -> None:
    """Forget a profile."""
    async with options.client() as client:
        await client.owner.remove_profile(name)
    say(f"Profile {name} is forgotten.")


@app.command
async def assign(
    guid: Annotated[str, Parameter(help="The device's GUID or serial number, or how one of them begins.")],
    name: Annotated[str | None, Parameter(help="The profile; without it the rules decide.")] = None,
    /,
    *,
    options: Connection = THERE,
) -> None:
    """Choose a device's profile by hand."""
    async with options.client() as client:
        one = await guid_at_owner(client.owner, guid)
        await client.owner.assign(one, name)
    say(f"Device {short(one)} gets {f'profile {name}' if name else 'the profile that the rules choose'}.")


@app.command
async def rules(
    *,
    replace: Annotated[Path | None, Parameter(help="Replace the rules by those of this file, YAML or JSON.")] = None,
    options: Options = HERE,
) -> None:
    """Show the rules in their order: the first one that fits a device chooses its profile."""
    async with options.client() as client:
        if replace is None:
            items = await client.owner.rules()
        else:
            from ashore_cli.documents import read_documents  # noqa: PLC0415 - YAML is slow to import

            rules = read_documents(replace)
            with naming(str(replace), remedy=_RULE_FIELDS):
                items = await client.owner.put_rules(rules)
    columns: list[Column[Rule]] = [
        Column("profile", lambda one: one.profile),
        Column("device", lambda one: one.device_info or "*"),
        Column("serial", lambda one: one.serial or "*"),
        Column("owner key", lambda one: one.owner_key or "*"),
        Column("devmod", lambda one: ", ".join(f"{key}={value}" for key, value in one.devmod.items()) or "*"),
    ]
    show_list(items, columns, options, empty="There are no rules: devices wait until `ashore profile assign`.")


@resource.command(name="list")
async def list_resources(*, options: Options = HERE) -> None:
    """List the files that profiles may send."""
    async with options.client() as client:
        names = await client.owner.resources()
    empty = "There are no files: `ashore profile resource put FILE` brings one."
    show_list(names, [Column[str]("name", str)], options, empty=empty)


@resource.command
async def put(
    file: Annotated[Path, Parameter(help="The file.")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Its name in profiles; by default the file's own.")] = None,
    options: Connection = THERE,
) -> None:
    """Keep a file that profiles may send."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", remedy="check its path") from error
    async with options.client() as client:
        await client.owner.put_resource(name or file.name, content)
    say(f"Kept: {name or file.name}")


@resource.command(name="delete")
async def delete_resource(
    name: Annotated[str, Parameter(help="The file's name.")], /, *, options: Connection = THERE
) -> None:
    """Forget such a file."""
    async with options.client() as client:
        await client.owner.remove_resource(name)
    say(f"Resource {name} is forgotten.")


def _step(step: dict[str, object]) -> list[str]:
    """A step, with texts of several lines below it."""
    details = {key: value for key, value in step.items() if key not in ("step", "name", "text")}
    more = "".join(f", {key} {value}" for key, value in details.items())
    name = f" {step['name']}" if "name" in step else ""
    return [f"{step.get('step')}{name}{more}", *(f"    {line}" for line in str(step.get("text", "")).splitlines())]

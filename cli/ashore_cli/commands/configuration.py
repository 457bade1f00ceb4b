"""`ashore configuration`: what to look for, and what to start for it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, say, show_data, show_list, show_one
from ashore_cli.places import Namespace, Namespaces, empty_words, more_words, place

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.launcher_model import Configuration

app = App(name="configuration", help="What to look for, and what to start for it.")
HERE: Final = Options()
THERE: Final = Connection()

Name = Annotated[str, Parameter(help="The configuration's name, or NAMESPACE/NAME.")]
File = Annotated[Path, Parameter(help="Configurations as YAML or JSON, one or several.")]


@app.command(name="list")
async def list_(*, namespace: Namespaces = "", limit: Limit = 100, options: Options = HERE) -> None:
    """List the configurations."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.launcher.configurations(namespace=namespace, limit=size, cursor=cursor), limit
        )
    columns: list[Column[Configuration]] = [
        Column("namespace", lambda one: one.namespace),
        Column("name", lambda one: one.name),
        Column("handler", lambda one: one.handler),
        Column("capacity", lambda one: one.capacity),
        Column("phase", lambda one: one.phase),
        Column("instances", lambda one: one.instances),
        Column("ready", lambda one: one.ready),
        Column("failed", lambda one: one.failed or ""),
        Column("problems", lambda one: "; ".join(one.problems), wraps=True),
    ]
    empty = "There are no configurations: `ashore configuration apply FILE` brings one."
    show_list(items, columns, options, empty=empty_words(empty, namespace), more=more_words(more, limit))


@app.command
async def show(
    name: Name,
    /,
    *,
    namespace: Namespace = "",
    manifest: Annotated[
        bool, Parameter(help="Only the object itself: with `-o yaml` it is what `apply` takes.", negative="")
    ] = False,
    options: Options = HERE,
) -> None:
    """Show a configuration, and how it fares."""
    async with options.client() as client:
        found = await client.launcher.configuration(*place(name, namespace))
    if manifest:
        show_data(found.manifest, options)
        return
    lines: list[tuple[str, object]] = [
        ("name", f"{found.namespace}/{found.name}"),
        ("handler", found.handler),
        ("capacity", found.capacity),
        ("phase", found.phase),
        ("instances", f"{found.instances}, {found.ready} ready, {found.failed} failed"),
        ("problems", found.problems),
        ("conditions", [f"{one.type} {one.status}: {one.message}" for one in found.conditions]),
    ]
    show_one(found, lines, options)


@app.command
async def apply(file: File, /, *, namespace: Namespace = "", options: Options = HERE) -> int:
    """Make or change configurations, or say what is wrong with each."""
    # YAML is slow to import, and `--help` does not need it.
    from ashore_cli.configuring import apply_file  # noqa: PLC0415 - see above

    return await apply_file(file, namespace, options)


@app.command
async def explain(file: File, /, *, namespace: Namespace = "", options: Options = HERE) -> int:
    """Say what configurations would do, and apply nothing. With `-o yaml` the manifests are whole."""
    # YAML is slow to import, and `--help` does not need it.
    from ashore_cli.configuring import explain_file  # noqa: PLC0415 - see above

    return await explain_file(file, namespace, options)


@app.command
async def delete(name: Name, /, *, namespace: Namespace = "", options: Connection = THERE) -> None:
    """Delete a configuration, its instances, and all that runs for them."""
    where = place(name, namespace)
    async with options.client() as client:
        await client.launcher.delete(*where)
    say(f"The configuration {'/'.join(where)} is deleted, with its instances and all that runs for them.")

"""`ashore workload`: what runs for instances."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, age, say, show_data, show_list
from ashore_cli.places import Namespace, Namespaces, empty_words, more_words, place

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.launcher_model import Workload

app = App(name="workload", help="What runs for instances.")
HERE: Final = Options()
THERE: Final = Connection()


@app.command(name="list")
async def list_(
    *,
    namespace: Namespaces = "",
    configuration: Annotated[str, Parameter(help="Only those of the configuration of this name.")] = "",
    limit: Limit = 100,
    options: Options = HERE,
) -> None:
    """List the workloads: pods, jobs, and what else configurations start."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.launcher.workloads(
                namespace=namespace, configuration=configuration, limit=size, cursor=cursor
            ),
            limit,
        )
    columns: list[Column[Workload]] = [
        Column("namespace", lambda one: one.namespace),
        Column("kind", lambda one: one.kind),
        Column("name", lambda one: one.name),
        Column("instance", lambda one: one.instance),
        Column("node", lambda one: one.node),
        Column("stage", lambda one: one.stage),
        Column("exit", lambda one: one.exit_code),
        Column("age", lambda one: age(one.created_at)),
        Column("why", lambda one: one.reason, wraps=True),
    ]
    empty = "Nothing runs for any instance. `ashore instance list` says which there are."
    show_list(items, columns, options, empty=empty_words(empty, namespace, configuration), more=more_words(more, limit))


@app.command
async def manifests(
    *,
    namespace: Namespaces = "",
    kind: Annotated[str, Parameter(help="Only objects of this kind: `Pod`, say.")] = "",
    limit: Limit = 100,
    options: Options = HERE,
) -> None:
    """Show all that a dry run would apply, as it would be applied."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.launcher.objects(kind=kind, namespace=namespace, limit=size, cursor=cursor),
            limit,
        )
    # A manifest is no line of a table.
    show_data(items, options if options.output else replace(options, output="yaml"))
    if more:
        say(more_words(more, limit))
    if not items and (kind or namespace):
        say("There is no such object. Without --kind and --namespace all are shown; kinds are written as in `Pod`.")


@app.command
async def logs(
    name: Annotated[str, Parameter(help="A pod or a job, or NAMESPACE/NAME.")],
    /,
    *,
    namespace: Namespace = "",
    lines: Annotated[int, Parameter(help="So many of the last lines.")] = 20,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on with what comes.", negative="")] = False,
    options: Connection = THERE,
) -> None:
    """Show the last lines that a workload has written."""
    # The clients are slow to import, and `--help` does not need them.
    from ashore_cli.launching import show_log  # noqa: PLC0415 - see above

    await show_log(place(name, namespace), lines, options, follow=follow)

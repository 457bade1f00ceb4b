"""`ashore instance`: devices that a configuration wants."""

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Limit, Options
from ashore_cli.output import Column, say, show_list, show_one
from ashore_cli.places import Namespace, Namespaces, empty_words, more_words, place

if TYPE_CHECKING:
    # The clients are slow to import, and `--help` does not need them.
    from ashore.client.launcher_model import Broker, Instance

app = App(name="instance", help="Devices that a configuration wants.")
HERE: Final = Options()
THERE: Final = Connection()

Name = Annotated[str, Parameter(help="The instance's name, or NAMESPACE/NAME.")]
Of = Annotated[str, Parameter(help="Only those of the configuration of this name.")]


@app.command(name="list")
async def list_(
    *, namespace: Namespaces = "", configuration: Of = "", limit: Limit = 100, options: Options = HERE
) -> None:
    """List the instances."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    async with options.client() as client:
        items, more = await collect(
            lambda size, cursor: client.launcher.instances(
                namespace=namespace, configuration=configuration, limit=size, cursor=cursor
            ),
            limit,
        )
    columns: list[Column[Instance]] = [
        Column("namespace", lambda one: one.namespace),
        Column("name", lambda one: one.name),
        Column("configuration", lambda one: one.configuration),
        Column("device", lambda one: one.device),
        Column("nodes", lambda one: ", ".join(one.nodes)),
        Column("shared", lambda one: "yes" if one.shared else "no"),
        Column("used", lambda one: f"{one.used}/{one.capacity}"),
        Column("phase", lambda one: one.phase),
        Column("why", lambda one: one.message, wraps=True),
    ]
    empty = "There are no instances: no device that is seen is wanted. `ashore configuration list` says what is."
    show_list(items, columns, options, empty=empty_words(empty, namespace, configuration), more=more_words(more, limit))


@app.command
async def show(name: Name, /, *, namespace: Namespace = "", options: Options = HERE) -> None:
    """Show an instance: what its brokers get, and how they fare."""
    async with options.client() as client:
        found = await client.launcher.instance(*place(name, namespace))
    lines: list[tuple[str, object]] = [
        ("name", f"{found.namespace}/{found.name}"),
        ("configuration", found.configuration),
        ("device", found.device),
        ("nodes", found.nodes),
        ("shared", "yes" if found.shared else "no"),
        ("phase", found.phase),
        ("why", found.message),
        ("CDI name", found.cdi_name),
        ("properties", [f"{name}={value}" for name, value in found.properties.items()]),
        ("slots", [f"{one.name}: {one.used_by or 'free'}" for one in found.slots]),
        ("brokers", [line for one in found.brokers for line in _broker(one)]),
    ]
    show_one(found, lines, options)


@app.command
async def rerun(name: Name, /, *, namespace: Namespace = "", options: Connection = THERE) -> None:
    """Have the jobs of an instance run again."""
    where = place(name, namespace)
    async with options.client() as client:
        await client.launcher.rerun(*where)
    say(f"The jobs of {'/'.join(where)} run again, as soon as its configuration's roll-out lets them.")


@app.command
async def watch(*, namespace: Namespaces = "", configuration: Of = "", options: Options = HERE) -> None:
    """Show instances and their workloads come and go, until Ctrl-C."""
    # NATS is slow to import, and `--help` does not need it.
    from ashore_cli.launching import show_changes  # noqa: PLC0415 - see above

    await show_changes(namespace, configuration, options)


def _broker(one: "Broker") -> list[str]:
    """A broker in a line, and below it what it wrote last."""
    code = f", exit code {one.exit_code}" if one.exit_code is not None else ""
    reason = ": ".join(part for part in (one.reason, one.message) if part)
    words = f"{one.kind} {one.name}{f' on {one.node}' if one.node else ''}: {one.phase.lower()}{code}"
    return [f"{words}{f' ({reason})' if reason else ''}", *(f"  {line}" for line in one.log.splitlines())]

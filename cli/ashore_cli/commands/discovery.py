"""`ashore discovery`: what the agents of edge nodes see."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.options import Connection, Options

app = App(name="discovery", help="What the agents of edge nodes see.")
HERE: Final = Options()
THERE: Final = Connection()

Site = Annotated[str, Parameter(help="Only this site.")]
Node = Annotated[str, Parameter(help="Only this node.")]


@app.command(name="list")
async def list_(
    *,
    wanted: Annotated[bool, Parameter(help="Only those that a configuration wants.", negative="")] = False,
    gone: Annotated[bool, Parameter(help="Also the latest that are gone.", negative="")] = False,
    site: Site = "*",
    node: Node = "*",
    options: Options = HERE,
) -> None:
    """List every device that the agents see, those that a configuration wants first."""
    # NATS is slow to import, and `--help` does not need it.
    from ashore_cli.discovering import show_devices  # noqa: PLC0415 - see above

    await show_devices(site, node, options, gone=gone, wanted=wanted)


@app.command
async def watch(*, site: Site = "*", node: Node = "*", options: Options = HERE) -> None:
    """Show devices come and go, until Ctrl-C."""
    from ashore_cli.discovering import show_changes  # noqa: PLC0415 - see above

    await show_changes(site, node, options)


@app.command
async def explain(
    key: Annotated[str, Parameter(help="The device's key, an alias of it, its beginning, or what it is called.")],
    /,
    *,
    site: Site = "*",
    node: Node = "*",
    options: Options = HERE,
) -> None:
    """Say of one device which configurations want it, and why the others do not."""
    from ashore_cli.discovering import show_explanation  # noqa: PLC0415 - see above

    await show_explanation(key, site, node, options)


@app.command
async def rescan(
    *handlers: Annotated[str, Parameter(help="Only with these handlers.")],
    site: Site = "*",
    node: Node = "*",
    options: Connection = THERE,
) -> None:
    """Have the agents look around now."""
    from ashore_cli.discovering import look_around  # noqa: PLC0415 - see above

    await look_around(list(handlers), site, node, options)


@app.command
async def health(*, site: Site = "*", node: Node = "*", options: Options = HERE) -> None:
    """Say how each listener works, how fast it is, and which configurations cannot be used."""
    from ashore_cli.discovering import show_health  # noqa: PLC0415 - see above

    await show_health(site, node, options)


@app.command
async def forget(
    node: Annotated[str, Parameter(help="The node whose agent is away for good.")],
    /,
    *,
    site: Annotated[str, Parameter(help="Its site, where several have a node of this name.")] = "*",
    options: Connection = THERE,
) -> None:
    """Retire an agent that will not come back: its devices are gone, and nobody waits for it.

    An agent that answers is not retired. One that does come back is there again, with its devices.
    """
    from ashore_cli.discovering import forget_agent  # noqa: PLC0415 - see above

    await forget_agent(node, site, options)


@app.command
async def apply(
    file: Annotated[Path, Parameter(help="A YAML file with `configurations` or `devices`, as a node's own.")],
    /,
    *,
    site: Annotated[str, Parameter(help="The site whose agents shall look for them.")] = "site",
    options: Connection = THERE,
) -> None:
    """Have all agents of a site look for the configurations in a file, and know the devices in it."""
    from ashore_cli.discovering import apply_file  # noqa: PLC0415 - see above

    await apply_file(file, site, options)


@app.command
async def remove(
    name: Annotated[str, Parameter(help="The configuration's name.")],
    /,
    *,
    device: Annotated[bool, Parameter(help="It is what people call a device.", negative="")] = False,
    site: Annotated[str, Parameter(help="The site whose agents shall no longer look for it.")] = "site",
    options: Connection = THERE,
) -> None:
    """Take away a configuration that was applied, or what was said of a device."""
    from ashore_cli.discovering import remove_configuration  # noqa: PLC0415 - see above

    await remove_configuration(name, site, options, device=device)

"""Events as agents send them, for tests of the launcher."""

from ashore.events import AgentAlive, DeviceNode, DeviceSeen, Match, Mount


def seen(
    key: str = "serial-k5qm",
    *,
    node: str = "node-a",
    epoch: int = 1,
    revision: int = 1,
    change: str = "appeared",
    state: str = "present",
    configurations: tuple[str, ...] = ("default.cams",),
    shared: bool = False,
    facets: tuple[str, ...] = (),
    handler: str = "onvif",
    properties: dict[str, str] | None = None,
    device_nodes: tuple[str, ...] = (),
    mounts: tuple[Mount, ...] = (),
) -> DeviceSeen:
    """A device as a node's agent tells it."""
    nodes = [DeviceNode(host_path=path) for path in device_nodes]
    return DeviceSeen(
        site="site",
        node=node,
        handler=handler,
        key=key,
        change=change,  # type: ignore[arg-type]
        state="gone" if change == "disappeared" else state,  # type: ignore[arg-type]
        epoch=epoch,
        revision=revision,
        cause="hello",
        shared=shared,
        facets=list(facets or (f"{handler}:{key}",)),
        matches=[
            Match(
                configuration=name,
                instance="x",
                properties=properties or {},
                device_nodes=nodes,
                mounts=list(mounts),
            )
            for name in configurations
        ],
        wire_at=0,
        seen_at=0,
    )


def alive(node: str = "node-a", epoch: int = 1, interval: float = 10) -> AgentAlive:
    """An agent's sign of life."""
    return AgentAlive(
        site="site", node=node, epoch=epoch, interval_seconds=interval, release="0", started_at=0, devices=0
    )

"""What the tests of the device plugin share: a launcher's slot desk on the bus, and a plugin with its kubelet."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import msgspec

from ashore.bus import Bus
from ashore.bus.server import EmbeddedServer
from ashore.events import InstanceAdded, InstanceChanged, InstanceNode, InstanceRemoved
from ashore.slots import subject
from ashore.telemetry import Metrics
from ashore_broker_launcher.slots import ApplyError, Desk, Table, without_nodes
from ashore_device_plugin.app import running
from ashore_device_plugin.config import DevicePluginSettings
from ashore_device_plugin.plugin import DevicePlugin
from tests.bus_kit import join, publish, until

CAM = "akri.sh/cams-4294ea"
CAMS = "akri.sh/cams"


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for sockets, whose paths may have 107 characters: fewer than a folder of pytest's has."""
    path = Path(mkdtemp(prefix="dp-"))
    try:
        yield path
    finally:
        rmtree(path, ignore_errors=True)


class Launcher:
    """As much of a broker launcher as device plugins meet: instances in memory, and the real desk."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.instances: dict[tuple[str, str], InstanceAdded] = {}
        self.desk = Desk(self)
        self.refuses = ""
        """Why nothing can be stored."""
        self.applied: list[dict[str, str]] = []
        self.asked: list[str] = []

    def table(self, key: tuple[str, str]) -> Table | None:
        one = self.instances.get(key)
        if one is None:
            return None
        return Table(uid=one.uid, capacity=one.capacity, nodes=[node.node for node in one.nodes], usage=one.usage)

    def known(self) -> Iterable[tuple[str, str]]:
        return list(self.instances)

    async def apply_usage(self, namespace: str, instance: str, usage: dict[str, str]) -> None:
        if self.refuses:
            raise ApplyError(self.refuses)
        self.applied.append(usage)
        await self.change(instance, namespace=namespace, usage=usage)

    def usage(self, instance: str = "cams-4294ea", namespace: str = "default") -> dict[str, str]:
        return self.instances[namespace, instance].usage

    async def add(self, name: str = "cams-4294ea", **fields: Any) -> None:
        fields = {"namespace": "default", "configuration": name.rpartition("-")[0], "nodes": ["n1"], **fields}
        nodes = [one if isinstance(one, InstanceNode) else InstanceNode(node=one) for one in fields.pop("nodes")]
        one = InstanceAdded(site="site", instance=name, uid=token_hex(8), device="id-1", nodes=nodes, **fields)
        self.instances[one.namespace, name] = one
        await publish(self.bus, one, identity=token_hex(8))

    async def change(self, name: str = "cams-4294ea", namespace: str = "default", **fields: Any) -> None:
        before = self.instances[namespace, name]
        if "nodes" in fields:
            fields["nodes"] = [InstanceNode(node=one) for one in fields["nodes"]]
        after = msgspec.structs.replace(before, **fields)
        self.instances[namespace, name] = after
        await publish(self.bus, InstanceChanged(**msgspec.structs.asdict(after)), identity=token_hex(8))

    async def lose(self, node: str) -> None:
        """Free what a node has, as the launcher does when it is lost."""
        for key in self.known():
            async with self.desk.lock(key):
                usage = without_nodes(self.desk.usage(key), [node])
                await self.apply_usage(*key, usage)
                self.desk.note(key, self.instances[key].uid, usage)

    async def remove(self, name: str = "cams-4294ea", namespace: str = "default") -> None:
        one = self.instances.pop((namespace, name))
        self.desk.forget((namespace, name))
        gone = InstanceRemoved(
            site="site",
            namespace=namespace,
            configuration=one.configuration,
            instance=name,
            uid=one.uid,
            cause="disappeared",
        )
        await publish(self.bus, gone, identity=token_hex(8))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for verb, answer in self.desk.verbs().items():

                async def note(body: bytes, verb: str = verb, answer: Any = answer) -> bytes:
                    self.asked.append(verb)
                    found: bytes = await answer(body)
                    return found

                await stack.enter_async_context(await self.bus.serve(subject(verb, "site"), note))
            yield


@asynccontextmanager
async def launcher(server: EmbeddedServer) -> AsyncIterator[Launcher]:
    """A launcher on this server, as its own user."""
    bus = await join(server, "broker-launcher")
    try:
        found = Launcher(bus)
        async with found.serving():
            yield found
    finally:
        await bus.close()


def settings(root: Path, node: str = "n1", **fields: Any) -> DevicePluginSettings:
    given = {
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": "0",
        "ASHORE_NODE": node,
        "ASHORE_DATA_DIR": str(root / "data"),
        "ASHORE_KUBELET_DIR": str(root / "device-plugins"),
        "ASHORE_POD_RESOURCES_SOCKET": str(root / "pod-resources" / "kubelet.sock"),
        "ASHORE_CHECK_SECONDS": "0.1",
        "ASHORE_UNUSED_SECONDS": "0.3",
    }
    return DevicePluginSettings.load(given | {f"ASHORE_{name.upper()}": str(value) for name, value in fields.items()})


@asynccontextmanager
async def plugin(server: EmbeddedServer, root: Path, node: str = "n1", **fields: Any) -> AsyncIterator[DevicePlugin]:
    """A device plugin on this server as its own user, with the kubelet in this folder."""
    bus = await join(server, "device-plugin")
    try:
        async with running(settings(root, node, **fields), bus, Metrics()) as found:
            yield found
    finally:
        await bus.close()


async def ready(found: DevicePlugin, resources: int) -> None:
    """Wait until so many resources are known to the kubelet."""
    await until(lambda: len(found.sockets.owners()) == resources and not found.waits_for())
    # The kubelet listens after it has answered the registration.
    await asyncio.sleep(0)

"""A kubelet as plugins see it: it takes registrations, asks back within each, listens, allocates, and knows containers.

`kubelet.start()` begins a life: what is in its folder is removed, as kubelets do. It can be ended and started again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from ashore.grpc import SMALL, Bytes, Messages

# The names are those of the interface; the service describes the same bytes in its own words.
PLUGIN = Messages(
    "kubelet",
    """
Options pre_start_required:1:bool get_preferred_allocation_available:2:bool
RegisterRequest version:1:string endpoint:2:string resource_name:3:string options:4:Options
ListAndWatchResponse devices:1:Device*
Device ID:1:string health:2:string
PreferredAllocationRequest container_requests:1:ContainerPreferred*
ContainerPreferred available_deviceIDs:1:string* must_include_deviceIDs:2:string* allocation_size:3:int32
PreferredAllocationResponse container_responses:1:Preferred*
Preferred deviceIDs:1:string*
AllocateRequest container_requests:1:ContainerAllocateRequest*
ContainerAllocateRequest devices_ids:1:string*
AllocateResponse container_responses:1:ContainerAllocateResponse*
ContainerAllocateResponse envs:1:Entry* mounts:2:Mount* devices:3:DeviceSpec* cdi_devices:5:CDIDevice*
Entry key:1:string value:2:string
Mount container_path:1:string host_path:2:string read_only:3:bool
DeviceSpec container_path:1:string host_path:2:string permissions:3:string
CDIDevice name:1:string
ListPodResourcesResponse pod_resources:1:PodResources*
PodResources name:1:string namespace:2:string containers:3:ContainerResources*
ContainerResources name:1:string devices:2:ContainerDevices*
ContainerDevices resource_name:1:string device_ids:2:string*
""",
)
SERVICE = "/v1beta1.DevicePlugin"


class Allocated:
    """What a container gets."""

    def __init__(self, found: Any) -> None:
        self.env = {one.key: one.value for one in found.envs}
        self.mounts = [(one.host_path, one.container_path, one.read_only) for one in found.mounts]
        self.nodes = [(one.host_path, one.container_path, one.permissions) for one in found.devices]
        self.cdi = [one.name for one in found.cdi_devices]


class Plugin:
    """One resource that has registered."""

    def __init__(self, path: Path) -> None:
        self.channel = Channel(path=str(path), codec=Bytes(), config=SMALL)
        self.lists: list[dict[str, str]] = []
        self.ended = False
        self.options: Any = None
        self.task: asyncio.Task[None] | None = None

    async def call(self, method: str, body: bytes) -> bytes:
        asked: UnaryUnaryMethod[bytes, bytes] = UnaryUnaryMethod(self.channel, f"{SERVICE}/{method}", bytes, bytes)
        return await asked(body, timeout=15)

    async def listen(self) -> None:
        method: UnaryStreamMethod[bytes, bytes] = UnaryStreamMethod(
            self.channel, f"{SERVICE}/ListAndWatch", bytes, bytes
        )
        try:
            async with method.open() as stream:
                await stream.send_message(b"", end=True)
                async for body in stream:
                    found = PLUGIN.read("ListAndWatchResponse", body)
                    self.lists.append({one.ID: one.health for one in found.devices})
        except Exception:  # noqa: BLE001 - a kubelet does not ask why a plugin went
            pass
        finally:
            self.ended = True

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        self.channel.close()


class FakeKubelet:
    """The kubelet of one node."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "device-plugins"
        self.pods = root / "pod-resources" / "kubelet.sock"
        self.plugins: dict[str, Plugin] = {}
        self.registrations: list[str] = []
        self.containers: dict[str, dict[str, list[str]]] = {}
        """By container: the ids that it has, by resource."""
        self.refuses = ""
        """The resource whose registration is refused."""
        self.at_rest = asyncio.Event()
        """While it is not set, registrations are taken and not answered."""
        self.at_rest.set()
        self._servers: list[Server] = []
        for folder in (self.folder, self.pods.parent):
            folder.mkdir(parents=True, exist_ok=True)

    async def start(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.pods.unlink(missing_ok=True)
        self._servers = [
            Server([Registration(self)], codec=Bytes(), config=SMALL),
            Server([Lister(self)], codec=Bytes()),
        ]
        await self._servers[1].start(path=str(self.pods))
        await self._servers[0].start(path=str(self.folder / "kubelet.sock"))

    async def stop(self) -> None:
        for plugin in self.plugins.values():
            await plugin.close()
        self.plugins.clear()
        for server in self._servers:
            server.close()
        for path in (self.folder / "kubelet.sock", self.pods):
            path.unlink(missing_ok=True)

    def healthy(self, resource: str) -> set[str]:
        """Ids that may be given to a container."""
        return {id_ for id_, health in self.offers(resource).items() if health == "Healthy"}

    def offers(self, resource: str) -> dict[str, str]:
        """The last list of a resource."""
        plugin = self.plugins.get(resource)
        return plugin.lists[-1] if plugin and plugin.lists and not plugin.ended else {}

    async def allocate(self, resource: str, *containers: list[str]) -> list[Allocated]:
        request = PLUGIN.new("AllocateRequest")
        for ids in containers:
            request.container_requests.add(devices_ids=ids)
        body = await self.plugins[resource].call("Allocate", request.SerializeToString())
        return [Allocated(one) for one in PLUGIN.read("AllocateResponse", body).container_responses]

    async def admit(self, name: str, resource: str, *ids: str) -> Allocated:
        """Allocate, and have a container with that."""
        (found,) = await self.allocate(resource, list(ids))
        self.containers.setdefault(name, {}).setdefault(resource, []).extend(ids)
        return found

    async def prefer(self, resource: str, available: list[str], must: list[str], size: int) -> list[str]:
        request = PLUGIN.new("PreferredAllocationRequest")
        request.container_requests.add(available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size)
        body = await self.plugins[resource].call("GetPreferredAllocation", request.SerializeToString())
        return list(PLUGIN.read("PreferredAllocationResponse", body).container_responses[0].deviceIDs)

    async def register(self, body: bytes) -> None:
        request = PLUGIN.read("RegisterRequest", body)
        assert request.version == "v1beta1"
        if request.resource_name == self.refuses:
            raise GRPCError(Status.UNKNOWN, "there is no room for it")
        self.registrations.append(request.resource_name)
        await self.at_rest.wait()
        plugin = Plugin(self.folder / request.endpoint)
        plugin.options = PLUGIN.read("Options", await plugin.call("GetDevicePluginOptions", b""))
        before = self.plugins.get(request.resource_name)
        if before is not None:
            await before.close()
        self.plugins[request.resource_name] = plugin
        plugin.task = asyncio.create_task(plugin.listen())

    def pod_resources(self) -> bytes:
        found = PLUGIN.new("ListPodResourcesResponse")
        for name, resources in self.containers.items():
            container = found.pod_resources.add(name=name, namespace="default").containers.add(name="broker")
            for resource, ids in resources.items():
                container.devices.add(resource_name=resource, device_ids=ids)
        body: bytes = found.SerializeToString()
        return body


class Registration:
    def __init__(self, kubelet: FakeKubelet) -> None:
        self.kubelet = kubelet

    def __mapping__(self) -> dict[str, Handler]:
        return {"/v1beta1.Registration/Register": Handler(self.answer, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def answer(self, stream: Any) -> None:
        await self.kubelet.register(await stream.recv_message())
        await stream.send_message(b"")


class Lister:
    def __init__(self, kubelet: FakeKubelet) -> None:
        self.kubelet = kubelet

    def __mapping__(self) -> dict[str, Handler]:
        return {"/v1.PodResourcesLister/List": Handler(self.answer, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def answer(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(self.kubelet.pod_resources())


@asynccontextmanager
async def kubelet(root: Path) -> AsyncIterator[FakeKubelet]:
    found = FakeKubelet(root)
    await found.start()
    try:
        yield found
    finally:
        await found.stop()

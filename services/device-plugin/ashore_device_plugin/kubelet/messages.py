"""The messages of the kubelet's interfaces, and what may be in them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ashore.grpc import Messages
from ashore_device_plugin.giving import Given
from ashore_device_plugin.offers import Offer

VERSION: Final = "v1beta1"
EMPTY: Final = b""
"""The message Empty, and every other without fields."""

_PLUGIN: Final = Messages(
    VERSION,
    """
DevicePluginOptions pre_start_required:1:bool get_preferred_allocation_available:2:bool
RegisterRequest version:1:string endpoint:2:string resource_name:3:string options:4:DevicePluginOptions
ListAndWatchResponse devices:1:Device*
Device id:1:string health:2:string
PreferredAllocationRequest container_requests:1:PreferredRequest*
PreferredRequest available:1:string* must_include:2:string* size:3:int32
PreferredAllocationResponse container_responses:1:Ids*
AllocateRequest container_requests:1:Ids*
Ids ids:1:string*
AllocateResponse container_responses:1:ContainerResponse*
ContainerResponse envs:1:Text* mounts:2:Mount* devices:3:DeviceSpec* cdi_devices:5:CdiDevice*
Text key:1:string value:2:string
Mount container_path:1:string host_path:2:string read_only:3:bool
DeviceSpec container_path:1:string host_path:2:string permissions:3:string
CdiDevice name:1:string
""",
)
_PODS: Final = Messages(
    "v1",
    """
ListPodResourcesResponse pods:1:Pod*
Pod name:1:string namespace:2:string containers:3:Container*
Container name:1:string devices:2:Devices*
Devices resource_name:1:string ids:2:string*
""",
)
_HEALTH: Final = {True: "Healthy", False: "Unhealthy"}


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """A container that is about to be given some of these ids."""

    available: list[str]
    must_include: list[str]
    size: int


def write_options() -> bytes:
    """DevicePluginOptions."""
    return _written(_options())


def write_registration(endpoint: str, resource: str) -> bytes:
    """RegisterRequest."""
    return _written(
        _PLUGIN.new("RegisterRequest", version=VERSION, endpoint=endpoint, resource_name=resource, options=_options())
    )


def write_offers(offers: Iterable[Offer]) -> bytes:
    """ListAndWatchResponse."""
    found = _PLUGIN.new("ListAndWatchResponse")
    for offer in offers:
        found.devices.add(id=offer.id, health=_HEALTH[offer.healthy])
    return _written(found)


def read_preferences(body: bytes) -> list[Preference]:
    """PreferredAllocationRequest; raise MessageError."""
    return [
        Preference(available=list(one.available), must_include=list(one.must_include), size=max(0, one.size))
        for one in _PLUGIN.read("PreferredAllocationRequest", body).container_requests
    ]


def write_preferred(chosen: Iterable[list[str]]) -> bytes:
    """PreferredAllocationResponse."""
    found = _PLUGIN.new("PreferredAllocationResponse")
    for ids in chosen:
        found.container_responses.add(ids=ids)
    return _written(found)


def read_allocation(body: bytes) -> list[list[str]]:
    """AllocateRequest: the ids for each container; raise MessageError."""
    return [list(one.ids) for one in _PLUGIN.read("AllocateRequest", body).container_requests]


def write_allocation(containers: Iterable[Given]) -> bytes:
    """AllocateResponse."""
    found = _PLUGIN.new("AllocateResponse")
    for given in containers:
        one = found.container_responses.add()
        _pairs(one.envs, given.env)
        for mount in given.mounts:
            one.mounts.add(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
        for node in given.device_nodes:
            inside = node.container_path or node.host_path
            one.devices.add(container_path=inside, host_path=node.host_path, permissions=node.permissions)
        for name in given.cdi_names:
            one.cdi_devices.add(name=name)
    return _written(found)


def read_containers(body: bytes) -> set[tuple[str, str]]:
    """ListPodResourcesResponse: every resource and id that a container has; raise MessageError."""
    return {
        (devices.resource_name, id_)
        for pod in _PODS.read("ListPodResourcesResponse", body).pods
        for container in pod.containers
        for devices in container.devices
        for id_ in devices.ids
    }


def _options() -> Any:
    return _PLUGIN.new("DevicePluginOptions", get_preferred_allocation_available=True)


def _pairs(field: Any, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        field.add(key=key, value=value)


def _written(found: Any) -> bytes:
    body: bytes = found.SerializeToString()
    return body

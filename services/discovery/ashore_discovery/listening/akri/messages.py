"""The messages of Akri's interface `v0`, and what may be in them before anybody looks at it.

The devices of a list are read as bytes first, which is the same on the wire: so they are counted before two million
empty ones become objects.
"""

import asyncio
import re
from typing import Any, Final

import msgspec

from ashore.events import DeviceNode, Mount
from ashore.grpc import MessageError, Messages
from ashore_discovery.listening.akri.lists import Listed, ListError, Whole
from ashore_discovery.model import LONGEST_ID, LONGEST_TEXT

MOST_DEVICES: Final = 2000
MOST_PROPERTIES: Final = 128
MOST_PATHS: Final = 64
LARGEST_DEVICE: Final = 48 * 1024
_LONGEST_NAME: Final = 256
_AT_A_STRETCH: Final = 50
_NUMBERS: Final = {"UDS": 0, "NETWORK": 1}

_MESSAGES: Final = Messages(
    "v0",
    """
RegisterDiscoveryHandlerRequest name:1:string endpoint:2:string endpoint_type:3:int32 shared:4:bool
Empty
Value vec:1:bytes?
DiscoverRequest discovery_details:1:string discovery_properties:2:Entry*
Entry key:1:string value:2:Value
DiscoverResponse devices:1:bytes*
Device id:1:string properties:2:Text* mounts:3:Mount* device_specs:4:DeviceSpec*
Text key:1:string value:2:string
Id id:1:string
Mount container_path:1:string host_path:2:string read_only:3:bool
DeviceSpec container_path:1:string host_path:2:string permissions:3:string
""",
)


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A handler introduces itself."""

    name: str
    endpoint: str
    network: bool
    shared: bool


def read_registration(body: bytes) -> Registration:
    """RegisterDiscoveryHandlerRequest; raise MessageError."""
    found = _MESSAGES.read("RegisterDiscoveryHandlerRequest", body)
    if found.endpoint_type not in _NUMBERS.values():
        raise MessageError(f"{found.endpoint_type} is no type of an endpoint")
    network = found.endpoint_type == _NUMBERS["NETWORK"]
    return Registration(name=found.name, endpoint=found.endpoint, network=network, shared=found.shared)


def write_request(details: str, properties: dict[str, bytes | None]) -> bytes:
    """DiscoverRequest."""
    request = _MESSAGES.new("DiscoverRequest", discovery_details=details)
    for name, value in properties.items():
        entry = request.discovery_properties.add(key=name)
        entry.value.SetInParent()
        if value is not None:
            entry.value.vec = value
    written: bytes = request.SerializeToString()
    return written


async def read_list(body: bytes, at: float) -> Whole:
    """DiscoverResponse; raise ListError. A device that cannot be used does not spoil the others."""
    try:
        bodies = list(_MESSAGES.read("DiscoverResponse", body).devices)
        if len(bodies) > MOST_DEVICES:
            raise ListError(f"its list has {len(bodies)} devices, and {MOST_DEVICES} are taken")
        devices: dict[str, Listed] = {}
        unusable: dict[str, str] = {}
        for number, one in enumerate(bodies, 1):
            found, why = _device(one)
            if why:
                unusable[found.id] = why
            else:
                devices.setdefault(found.id, found)
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
    except MessageError as error:
        raise ListError(f"its list cannot be read: {error}") from error
    return Whole(devices=devices, unusable=unusable, size=len(body), at=at)


def _device(body: bytes) -> tuple[Listed, str]:
    """A device, and why it cannot be used."""
    # Of what is too large only the id is read, so that the device is known to be there.
    found = _MESSAGES.read("Id" if len(body) > LARGEST_DEVICE else "Device", body)
    try:
        _check_size(found.id, len(body))
        # The later of two equal keys holds, as for any map of protobuf.
        properties = {one.key: one.value for one in found.properties}
        _check(properties, len(found.mounts) + len(found.device_specs))
        mounts = [_mount(one) for one in found.mounts]
        nodes = [_node(one) for one in found.device_specs]
    except ListError as error:
        return Listed(id=found.id[:LONGEST_ID]), str(error)
    return Listed(id=found.id, properties=properties, mounts=mounts, device_nodes=nodes), ""


def _check_size(id_: str, size: int) -> None:
    if not 0 < len(id_) <= LONGEST_ID:
        raise ListError(f"its id has {len(id_)} characters")
    if size > LARGEST_DEVICE:
        raise ListError(f"it has {size} bytes, and {LARGEST_DEVICE} are taken")


def _check(properties: dict[str, str], paths: int) -> None:
    if len(properties) > MOST_PROPERTIES or paths > MOST_PATHS:
        raise ListError(f"more than {MOST_PROPERTIES} properties, or than {MOST_PATHS} mounts and device specs")
    if len(msgspec.json.encode(properties)) > LARGEST_DEVICE:
        raise ListError(f"its properties are larger than {LARGEST_DEVICE} bytes in JSON")
    for name, value in properties.items():
        # They become the environment of a program, which can hold no others.
        if not 0 < len(name) <= _LONGEST_NAME or "=" in name or "\0" in name:
            raise ListError(f"{name[:64]!r} cannot be the name of a variable")
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise ListError(f"the property {name[:64]} is longer than {LONGEST_TEXT} characters, or no text")


def _mount(found: Any) -> Mount:
    host, container = _path(found.host_path), _path(found.container_path)
    return Mount(host_path=host, container_path=container, read_only=found.read_only)


def _node(found: Any) -> DeviceNode:
    permissions = found.permissions or "rwm"
    if not re.fullmatch("[rwm]{1,3}", permissions):
        raise ListError(f"{permissions[:16]!r} are no permissions for a device node")
    container = _path(found.container_path) if found.container_path else ""
    return DeviceNode(host_path=_path(found.host_path), container_path=container, permissions=permissions)


def _path(text: str) -> str:
    parts = text.split("/")
    if not text.startswith("/") or ".." in parts or "\0" in text or len(text) > LONGEST_TEXT:
        raise ListError(f"{text[:64]!r} is no absolute path")
    return text


EMPTY: Final = b""
"""The message Empty."""

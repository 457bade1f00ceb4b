"""What a container gets with its devices: environment, mounts, device nodes. Pure.

Each property stands twice in the environment, as `KEY` and as `KEY_<DIGEST>`, so that a container with several devices
can tell them apart. What cannot be an environment or a path is left out: it would keep the container from starting.
"""

from collections.abc import Iterable

import msgspec

from ashore.events import DeviceNode, Mount
from ashore_device_plugin.instances import Instance


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a container gets."""

    env: dict[str, str] = {}
    mounts: list[Mount] = []
    device_nodes: list[DeviceNode] = []
    cdi_names: list[str] = []


def given(instances: Iterable[Instance]) -> Given:
    """What belongs to these instances. Where two say a thing differently the later one holds."""
    env: dict[str, str] = {}
    mounts: dict[str, Mount] = {}
    nodes: dict[str, DeviceNode] = {}
    for instance in instances:
        usable = {name: value for name, value in instance.properties.items() if _is_variable(name, value)}
        env |= usable
        env |= {f"{name}_{instance.digest.upper()}": value for name, value in usable.items()}
        mounts |= {one.container_path: one for one in instance.mounts if _is_mount(one)}
        nodes |= {one.container_path or one.host_path: one for one in instance.device_nodes if _is_node(one)}
    return Given(env=env, mounts=list(mounts.values()), device_nodes=list(nodes.values()))


def _is_variable(name: str, value: str) -> bool:
    return bool(name) and "=" not in name and "\0" not in name + value


def _is_mount(mount: Mount) -> bool:
    return _is_path(mount.host_path) and _is_path(mount.container_path)


def _is_node(node: DeviceNode) -> bool:
    return _is_path(node.host_path) and (not node.container_path or _is_path(node.container_path))


def _is_path(text: str) -> bool:
    return text.startswith("/") and ".." not in text.split("/") and "\0" not in text

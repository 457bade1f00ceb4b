"""What the device plugin is told, beside what every service is told."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from ashore.config import Settings

TOKEN: Final = "^[a-z0-9-]{1,63}$"  # noqa: S105 - the form of a name
_LONGEST_FOLDER: Final = 107 - len("/ashore-0123456789abcdef.sock")
"""Paths of sockets have 107 bytes."""


def node_name() -> str:
    """The name of the machine as a part of a subject."""
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:63] or "node"


class DevicePluginSettings(Settings, frozen=True, kw_only=True):
    """Settings of the device plugin."""

    service: ClassVar[str] = "device-plugin"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8047
    node: Annotated[
        str,
        Meta(pattern=TOKEN, description="This node's name, as its discovery agent has it; by default the machine's."),
    ] = msgspec.field(default_factory=node_name)
    kubelet_dir: Annotated[
        Path, Meta(description="The kubelet's folder for device plugins: its `kubelet.sock`, and sockets of plugins.")
    ] = Path("/var/lib/kubelet/device-plugins")
    pod_resources_socket: Annotated[
        Path, Meta(description="Where the kubelet tells which containers have which devices.")
    ] = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    cdi_dir: Annotated[
        Path | None,
        Meta(
            description="Folder for files of the Container Device Interface, as `/var/run/cdi`; by default none are "
            "written, and the kubelet is told no CDI names."
        ),
    ] = None
    check_seconds: Annotated[
        float, Meta(ge=0.05, le=3600, description="How often the slots of this node are compared with its containers.")
    ] = 10
    unused_seconds: Annotated[
        float, Meta(ge=0, le=3600, description="A slot that no container uses for so long is given back.")
    ] = 20

    def check(self) -> Iterator[str]:
        """What is wrong with fields taken together."""
        yield from super().check()
        if len(str(self.kubelet_dir.absolute()).encode()) > _LONGEST_FOLDER:
            yield f"ASHORE_KUBELET_DIR is longer than {_LONGEST_FOLDER} bytes: no socket in it could have a path"

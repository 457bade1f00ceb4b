"""What the device plugin is told, beside what every service is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from ashore.node import NodeSettings

_LONGEST_FOLDER: Final = 107 - len("/ashore-0123456789abcdef.sock")
"""Paths of sockets have 107 bytes."""


class DevicePluginSettings(NodeSettings, frozen=True, kw_only=True):
    """Settings of the device plugin."""

    service: ClassVar[str] = "device-plugin"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8047
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

"""A whole node, put together: its place, containerd, a kubelet, and the device plugin as it runs there for users."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, Self

from ashore.bus.server import EmbeddedServer
from tests.kube.api import Api, Object, until
from tests.kube.control_plane import ControlPlane
from tests.kube.node.containerd import Containerd
from tests.kube.node.kubelet import NODE, kubelet
from tests.kube.node.place import Place
from tests.kube.processes import Program

_KERNEL_LOG: Final = os.makedev(1, 11)


class WholeNode:
    """One node within a block; its kubelet can be killed and started again."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._cluster = cluster
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self.place = undo.enter_context(Place())
            self.containerd = Containerd(self.place)
            undo.callback(self.containerd.program.stop)
            self.containerd.start()
            self.kubelet = kubelet(self.place, self._cluster, self.containerd.socket)
            undo.callback(self.kubelet.stop)
            self.kubelet.start()
            self._ending = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    async def ready(self, api: Api) -> None:
        """Wait until Pods can come to it."""

        async def is_ready() -> bool:
            assert self.kubelet.pid, self.kubelet.said()
            if not await api.there(f"/api/v1/nodes/{NODE}"):
                return False
            found = await api.get(f"/api/v1/nodes/{NODE}")
            return not found["spec"].get("taints") and any(
                one["type"] == "Ready" and one["status"] == "True" for one in found["status"].get("conditions", [])
            )

        await until(is_ready, "the node is ready")

    def device(self, name: str) -> str:
        """A device node that containers cannot open unless they are given it: another one of the kernel's log."""
        path = self.place.root / name
        os.mknod(path, stat.S_IFCHR | 0o600, _KERNEL_LOG)
        return str(path)


@contextmanager
def device_plugin(node: WholeNode, server: EmbeddedServer, **settings: str) -> Iterator[Program]:
    """The device plugin, where a node's kubelet has its folders."""
    environ = {
        "PATH": os.environ["PATH"],
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("device-plugin")),
        "ASHORE_NODE": NODE,
        "ASHORE_DATA_DIR": str(node.place.root / "plugin-data"),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": "0",
        "ASHORE_CHECK_SECONDS": "1",
        "ASHORE_UNUSED_SECONDS": "3",
        **settings,
    }
    told = [f"{name}={value}" for name, value in environ.items()]
    command = node.place.inside("env", "--ignore-environment", *told, sys.executable, "-m", "ashore_device_plugin")
    program = Program("device plugin", command, node.place.root / "device-plugin.log")
    program.start()
    try:
        yield program
    finally:
        program.stop()


async def offered(api: Api) -> dict[str, str]:
    """What the node has for Pods, of ours and not zero."""
    found: Object = await api.get(f"/api/v1/nodes/{NODE}")
    all_of_them = found["status"].get("allocatable", {})
    return {name: many for name, many in all_of_them.items() if name.startswith("akri.sh/") and many != "0"}

"""containerd as the kubelet's container runtime, in a node's place: the system's own program, with data of its own.

Containers have the network of the machine (`hostNetwork`), so that no bridge and no rule of a firewall is made: the
network that is configured here is there only because a node without any is not ready.
"""

import json
import shutil
from pathlib import Path
from typing import Final

from tests.kube.binaries import ToolMissingError
from tests.kube.node import image
from tests.kube.node.place import Place
from tests.kube.processes import Program

PROGRAMS: Final = ("containerd", "ctr", "runc", "containerd-shim-runc-v2")
_NETWORK: Final = {"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}
_CRI: Final = 'plugins."io.containerd.grpc.v1.cri"'


class Containerd:
    """Start it with the image of the tests in it."""

    def __init__(self, place: Place) -> None:
        self.socket = place.root / "containerd.sock"
        self._place = place
        (place.root / "network").mkdir()
        (place.root / "network" / "none.conflist").write_text(json.dumps(_NETWORK))
        config = place.root / "containerd.toml"
        config.write_text(_config(place.root, self.socket))
        command = place.inside(_program("containerd"), "--config", config)
        self.program = Program("containerd", command, place.root / "containerd.log")

    def start(self) -> None:
        """Start it, and wait until it can run containers."""
        self.program.start()
        self.program.wait(self.socket.exists)
        file = image.write(self._place.root / "image.tar")
        self._place.run(_program("ctr"), "--address", self.socket, "--namespace", "k8s.io", "images", "import", file)


def check() -> None:
    """Raise ToolMissingError where a program is missing."""
    for name in PROGRAMS:
        _program(name)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolMissingError(f"{name} is not installed (apt: containerd, runc)")
    return found


def _config(root: Path, socket: Path) -> str:
    # A machine may not let us lower the OOM score of what we start, and runc dies of trying.
    return f"""
version = 2
root = "{root}/containerd"
state = "{root}/state"
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[{_CRI}]
sandbox_image = "{image.NAME}"
restrict_oom_score_adj = true
disable_tcp_service = true
[{_CRI}.cni]
conf_dir = "{root}/network"
bin_dir = "{root}/network"
"""

"""containerd as the kubelet's container runtime, in a node's place, with data of its own; runc is the distribution's.

It is the release that `runtime/go.mod` names, built once into the cache (a minute and a half), since Debian 12 has 1.6,
which knows nothing of CDI. Where it cannot be built the distribution's is run, and who needs CDI is told why not.
`python -m tests.kube.node.containerd` builds it.

Containers have the network of the machine (`hostNetwork`), so that no bridge and no rule of a firewall is made: the
network that is configured here is there only because a node without any is not ready.
"""

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.kube.binaries import ToolMissingError, cache, compile_from, required
from tests.kube.node import image
from tests.kube.node.place import Place
from tests.kube.processes import Program

_MODULE: Final = Path(__file__).parent / "runtime"
_CODE: Final = "github.com/containerd/containerd/v2"
# What is started first comes last: an unfinished build is none.
_BUILT: Final = ("containerd-shim-runc-v2", "ctr", "containerd")
_NETWORK: Final = {"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}
_CRI: Final = 'plugins."io.containerd.grpc.v1.cri"'


class Containerd:
    """Start it with the image of the tests in it."""

    def __init__(self, place: Place) -> None:
        self.socket = place.root / "containerd.sock"
        self.cdi = place.root / "cdi"
        """Where it looks for files of the Container Device Interface."""
        self.cdi_first = place.root / "cdi-first"
        """Where it looks, too; what stands here goes before the same device there."""
        self._place = place
        for folder in (self.cdi, self.cdi_first, place.root / "network"):
            folder.mkdir()
        (place.root / "network" / "none.conflist").write_text(json.dumps(_NETWORK))
        config = place.root / "containerd.toml"
        config.write_text(_config(self))
        command = place.inside("env", f"PATH={_path()}", _program("containerd"), "--config", config)
        self.program = Program("containerd", command, place.root / "containerd.log")

    def start(self) -> None:
        """Start it, and wait until it can run containers."""
        self.program.start()
        self.program.wait(self.socket.exists)
        file = image.write(self._place.root / "image.tar")
        self._place.run(_program("ctr"), "--address", self.socket, "--namespace", "k8s.io", "images", "import", file)


def build() -> Path:
    """The folder of its programs, built where they are missing; raise ToolMissingError where they cannot be."""
    for name in _BUILT:
        program = _home() / name
        if not program.exists():
            version = {f"{_CODE}/version.Version": required(_MODULE, _CODE)}
            compile_from(_MODULE, f"{_CODE}/cmd/{name}", program, version)
    return _home()


def prepare() -> None:
    """Build it, or be content with the distribution's; raise ToolMissingError where a program is missing."""
    with suppress(ToolMissingError):
        build()
    check()


def check() -> None:
    """Raise ToolMissingError where a program is missing that is neither built nor installed."""
    for name in (*_BUILT, "runc"):
        _program(name)


def _home() -> Path:
    return cache() / f"containerd-{required(_MODULE, _CODE)}"


def _path() -> str:
    """Where programs are looked for; containerd finds its shim and runc there, too."""
    built = [str(_home())] if (_home() / _BUILT[-1]).exists() else []
    return os.pathsep.join([*built, os.environ["PATH"]])


def _program(name: str) -> str:
    found = shutil.which(name, path=_path())
    if found is None:
        raise ToolMissingError(f"{name} is not installed (apt: containerd, runc)")
    return found


def _config(containerd: Containerd) -> str:
    # A machine may not let us lower the OOM score of what we start, and runc dies of trying.
    root = containerd.socket.parent
    return f"""
version = 2
root = "{root}/containerd"
state = "{root}/state"
[grpc]
address = "{containerd.socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
[{_CRI}]
sandbox_image = "{image.NAME}"
restrict_oom_score_adj = true
disable_tcp_service = true
cdi_spec_dirs = ["{containerd.cdi}", "{containerd.cdi_first}"]
[{_CRI}.cni]
conf_dir = "{root}/network"
bin_dir = "{root}/network"
"""


if __name__ == "__main__":
    try:
        print(build())
    except ToolMissingError as error:
        sys.exit(str(error))

"""A real kubelet, of the release that `tests/kube/go.mod` names: built once into the cache, and run in a node's place.

`python -m tests.kube.node.kubelet` builds it: half a minute where the control plane has been built before.

The node is named localhost: an API server asks a kubelet by the name of its node first, and so what it asks stays on
this machine.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.kube.binaries import ToolMissingError, compile_into, home
from tests.kube.control_plane import ControlPlane, free_ports
from tests.kube.node.place import Place
from tests.kube.processes import Program

NODE: Final = "localhost"


def build() -> Path:
    """The program, built where it is missing; raise ToolMissingError where it cannot be."""
    program = home() / "kubelet"
    if not program.exists():
        compile_into(home(), "kubelet", "./node/program")
    return program


def kubelet(place: Place, cluster: ControlPlane, runtime: Path) -> Program:
    """A kubelet that is to be started; it can be killed and started again."""
    access = cluster.access.write(place.root / "kubeconfig")
    authority = {"x509": {"clientCAFile": str(cluster.clients_authority)}}
    return _program(place, _config(place, runtime, authority), f"--kubeconfig={access}", "--v=2")


def kubelet_alone(place: Place, runtime: Path) -> Program:
    """A kubelet without an API server: it knows devices all the same, and nobody may ask it anything over HTTP."""
    return _program(place, _config(place, runtime, {}))


def _program(place: Place, config: dict[str, Any], *more: str) -> Program:
    file = place.root / "kubelet.json"
    file.write_text(json.dumps(config))
    command = place.inside(build(), f"--config={file}", f"--hostname-override={NODE}", *more)
    return Program("kubelet", command, place.root / "kubelet.log")


def _config(place: Place, runtime: Path, authority: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": free_ports(1)[0],
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            **authority,
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{runtime}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # Nothing is kept from Pods: the machine is others' too.
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "makeIPTablesUtilChains": False,
        "volumePluginDir": str(place.root / "volume-plugins"),
        # As fast as a test wants to hear of it.
        "syncFrequency": "5s",
        "nodeStatusUpdateFrequency": "1s",
    }


if __name__ == "__main__":
    try:
        print(build())
    except ToolMissingError as error:
        sys.exit(str(error))

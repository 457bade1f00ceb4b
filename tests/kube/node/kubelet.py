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
    config = place.root / "kubelet.json"
    config.write_text(json.dumps(_config(place, cluster.clients_authority, runtime)))
    access = cluster.access.write(place.root / "kubeconfig")
    command = place.inside(
        build(), f"--config={config}", f"--kubeconfig={access}", f"--hostname-override={NODE}", "--v=2"
    )
    return Program("kubelet", command, place.root / "kubelet.log")


def _config(place: Place, authority: Path, runtime: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": free_ports(1)[0],
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
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

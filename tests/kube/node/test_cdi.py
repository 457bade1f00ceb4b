"""The Container Device Interface with a runtime that knows it: the device plugin's file, the kubelet, containerd 2.

Only where ASHORE_TEST_NODE=1 asks for it.
"""

from pathlib import Path

import msgspec
import pytest

from ashore.events import Mount
from tests.kube.api import Api, until
from tests.kube.binaries import ToolMissingError
from tests.kube.node import containerd
from tests.kube.node.pods import SAYS, in_phase, instance_name, is_offered, pod_spec, run_pod, see, written
from tests.kube.node.whole import WholeNode
from tests.launcher_kit import World

UNREAD = "a folder that containerd does not read"


@pytest.fixture(scope="session")
def runtime(node_wanted: None) -> None:
    """Fail, and say why, where there is no runtime that knows CDI."""
    try:
        containerd.build()
    except ToolMissingError as error:
        pytest.fail(str(error))


@pytest.fixture
def folder(runtime: None, whole_node: WholeNode, request: pytest.FixtureRequest) -> Path:
    """Where the device plugin writes its files: where containerd reads them, unless a test says otherwise."""
    if getattr(request, "param", "") == UNREAD:
        return whole_node.place.root / "unread"
    return whole_node.containerd.cdi


@pytest.fixture
def plugin_settings(folder: Path) -> dict[str, str]:
    """Turn CDI on."""
    return {"ASHORE_CDI_DIR": str(folder)}


async def camera(made: World, kube: Api, device: str, *mounts: Mount, name: str = "cams") -> str:
    """A camera that the node offers; the answer is its instance."""
    await made.configure(name, capacity=1, brokerSpec=None)
    await see(made, "cam-1", device, mounts=mounts, configurations=(f"{made.namespace}.{name}",))
    instance = await instance_name(made)
    await is_offered(kube, f"akri.sh/{instance}", f"akri.sh/{name}")
    return instance


@pytest.mark.parametrize("name", ["cams", "plant.cams", "c"])
async def test_a_container_gets_all_of_its_device_once_though_it_is_told_directly_and_by_cdi(
    launched: World, whole_node: WholeNode, kube: Api, folder: Path, name: str
) -> None:
    device = whole_node.device("camera")
    calibration = whole_node.place.root / "calibration"
    calibration.write_text("calibrated\n")
    mount = Mount(host_path=str(calibration), container_path="/calibration")
    instance = await camera(launched, kube, device, mount, name=name)
    assert (folder / f"ashore-{instance}.json").exists() == (name != "c")
    script = f"cat /calibration /proc/mounts; {SAYS}exec sleep 3600"
    await run_pod(kube, launched, "user", pod_spec(f"akri.sh/{instance}", script))
    await in_phase(kube, launched, "user", "Running")
    lines = await written(kube, launched, "user", "opened")
    assert lines.count("CAMERA_KEY=cam-1") == 1
    assert lines.count("calibrated") == 1
    assert len([line for line in lines if " /calibration " in line]) == 1


async def test_a_container_gets_what_the_runtime_finds_under_the_name_that_the_plugin_tells(
    launched: World, whole_node: WholeNode, kube: Api
) -> None:
    instance = await camera(launched, kube, whole_node.device("camera"))
    light = {"path": "/dev/light", "hostPath": whole_node.device("light")}
    edits = {"env": ["TOLD_BY=cdi"], "deviceNodes": [light]}
    device = {"name": instance.removeprefix("cams-"), "containerEdits": edits}
    vendors = msgspec.json.encode({"cdiVersion": "0.6.0", "kind": "akri.sh/cams", "devices": [device]})
    (whole_node.containerd.cdi_first / "vendor.json").write_bytes(vendors)
    script = f"exec 4>/dev/light && {SAYS}exec sleep 3600"
    await run_pod(kube, launched, "user", pod_spec(f"akri.sh/{instance}", script))
    await in_phase(kube, launched, "user", "Running")
    assert "TOLD_BY=cdi" in await written(kube, launched, "user", "opened")


@pytest.mark.parametrize("folder", [UNREAD], indirect=True)
async def test_a_container_waits_and_says_why_where_the_runtime_does_not_read_the_plugins_folder(
    launched: World, whole_node: WholeNode, kube: Api
) -> None:
    instance = await camera(launched, kube, whole_node.device("camera"))
    await run_pod(kube, launched, "user", pod_spec(f"akri.sh/{instance}", "true"))

    async def why() -> str:
        found = await in_phase(kube, launched, "user", "Pending")
        waiting = [one["state"].get("waiting", {}) for one in found["status"].get("containerStatuses", [])]
        return "".join(one.get("message", "") for one in waiting)

    name = f"akri.sh/cams={instance.removeprefix('cams-')}"
    assert f"unresolvable CDI devices {name}" in await until(why, "the container does not start")

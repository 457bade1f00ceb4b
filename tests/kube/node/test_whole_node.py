"""A whole node and pods that get their devices: a real kubelet and containerd, and everything of ours between.

Only where ASHORE_TEST_NODE=1 asks for it.
"""

import pytest

from ashore_broker_launcher.cluster import INSTANCE, POD
from tests.kube.api import Api, Object, until
from tests.kube.node.kubelet import NODE
from tests.kube.node.pods import (
    SAYS,
    at_work,
    free,
    in_phase,
    instance_name,
    is_offered,
    pod_spec,
    run_pod,
    said,
    see,
    usage,
    written,
)
from tests.kube.node.whole import WholeNode, offered
from tests.kube.processes import Program
from tests.launcher_kit import World


async def broker(kube: Api, made: World, device: str) -> Object:
    """A broker that runs, of a camera with this device node."""
    spec = pod_spec("{{PLACEHOLDER}}", f"{SAYS}exec sleep 3600")
    await made.configure(capacity=1, brokerSpec={"brokerPodSpec": spec})
    await see(made, "cam-1", device)
    (pod,) = await made.count(POD, 1)
    return await in_phase(kube, made, pod["metadata"]["name"], "Running")


async def test_a_broker_gets_its_device_and_what_is_known_of_it_until_the_device_is_gone(
    launched: World, whole_node: WholeNode, kube: Api
) -> None:
    device = whole_node.device("camera")
    pod = (await broker(kube, launched, device))["metadata"]["name"]
    instance = await instance_name(launched)
    digest = instance.removeprefix("cams-").upper()
    lines = await written(kube, launched, pod, "opened")
    for variable in ("CAMERA_KEY=cam-1", f"CAMERA_NODE={device}"):
        key, _, value = variable.partition("=")
        assert variable in lines
        assert f"{key}_{digest}={value}" in lines
    assert await usage(launched, instance) == {f"{instance}-0": NODE}
    await is_offered(kube, f"akri.sh/{instance}")

    await see(launched, "cam-1", change="disappeared")
    await launched.count(POD, 0)
    await launched.count(INSTANCE, 0)
    await is_offered(kube)


@pytest.mark.parametrize("killed", ["the kubelet", "the device plugin", "both"])
async def test_whoever_is_killed_knows_all_again_and_the_broker_runs_on(
    launched: World, whole_node: WholeNode, plugin: Program, kube: Api, killed: str
) -> None:
    before = await broker(kube, launched, whole_node.device("camera"))
    instance = await instance_name(launched)
    lost = [whole_node.kubelet, plugin] if killed == "both" else [plugin if "plugin" in killed else whole_node.kubelet]
    for program in lost:
        program.kill()
    for program in lost:
        program.start()
    # The node's status is from the time before at first. With a new device in it, it is not.
    await see(launched, "cam-2", whole_node.device("other-camera"))

    async def both() -> bool:
        return len([name for name in await offered(kube) if name != "akri.sh/cams"]) == 2

    await until(both, "the node offers what it had, and a new device")
    after = await in_phase(kube, launched, before["metadata"]["name"], "Running")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert containers(after) == containers(before)
    await until(lambda: in_use(launched), "both brokers have their slots")
    assert await usage(launched, instance) == {f"{instance}-0": NODE}


async def in_use(made: World) -> bool:
    """Whether each instance has its broker, which runs."""
    names = await made.names(INSTANCE)
    running = [one for one in await made.objects(POD) if one["status"].get("phase") == "Running"]
    return len(running) == len(names) and all([await usage(made, name) for name in names])


def containers(pod: Object) -> list[tuple[str, int]]:
    return [(one["containerID"], one["restartCount"]) for one in pod["status"]["containerStatuses"]]


@pytest.mark.parametrize("through", ["the configuration", "the instance"])
async def test_a_pod_of_a_user_gets_the_device_and_its_slot_is_free_when_it_ends(
    launched: World, whole_node: WholeNode, kube: Api, through: str
) -> None:
    device = whole_node.device("camera")
    await launched.configure(capacity=1, brokerSpec=None)
    await see(launched, "cam-1", device)
    instance = await instance_name(launched)
    await is_offered(kube, f"akri.sh/{instance}", "akri.sh/cams")
    resource = "akri.sh/cams" if through == "the configuration" else f"akri.sh/{instance}"
    await run_pod(kube, launched, "user", pod_spec(resource, f"{SAYS}exec sleep 5"))
    await in_phase(kube, launched, "user", "Running")
    held = await usage(launched, instance)
    assert set(held) == {f"{instance}-0"}
    assert NODE in held[f"{instance}-0"]
    await in_phase(kube, launched, "user", "Succeeded")
    assert "opened" in await said(kube, launched, "user")
    await free(launched, instance)
    await is_offered(kube, f"akri.sh/{instance}", "akri.sh/cams")


async def test_without_a_launcher_the_only_taker_gets_its_device_and_who_asks_for_any_is_told_why_not(
    made: World, whole_node: WholeNode, kube: Api
) -> None:
    async with at_work(made):
        await made.configure(capacity=2, brokerSpec=None)
        await see(made, "cam-1", whole_node.device("camera"))
        instance = await instance_name(made)
        await is_offered(kube, f"akri.sh/{instance}", "akri.sh/cams")
    await run_pod(kube, made, "any", pod_spec("akri.sh/cams", "true"))
    refused = await in_phase(kube, made, "any", "Failed")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    assert "no broker launcher answers" in refused["status"]["message"]

    await run_pod(kube, made, "only", pod_spec(f"akri.sh/{instance}", f"{SAYS}exec sleep 3600"))
    await in_phase(kube, made, "only", "Running")
    assert await usage(made, instance) == {}
    async with at_work(made):

        async def told() -> bool:
            return NODE in (await usage(made, instance)).values()

        await until(told, "the launcher knows who has the slot")


async def test_a_pod_of_a_user_outlives_its_device_and_has_its_slot_again_when_that_is_back(
    launched: World, whole_node: WholeNode, kube: Api
) -> None:
    device = whole_node.device("camera")
    await launched.configure(capacity=1, brokerSpec=None)
    await see(launched, "cam-1", device)
    instance = await instance_name(launched)
    await is_offered(kube, f"akri.sh/{instance}", "akri.sh/cams")
    await run_pod(kube, launched, "user", pod_spec(f"akri.sh/{instance}", f"{SAYS}exec sleep 3600"))
    before = await in_phase(kube, launched, "user", "Running")
    await see(launched, "cam-1", change="disappeared")
    await launched.count(INSTANCE, 0)
    await is_offered(kube)

    await see(launched, "cam-1", device)
    assert await instance_name(launched) == instance

    async def claimed() -> bool:
        return await usage(launched, instance) == {f"{instance}-0": NODE}

    await until(claimed, "the slot is the node's again")
    await is_offered(kube, f"akri.sh/{instance}")
    assert containers(await in_phase(kube, launched, "user", "Running")) == containers(before)

"""What was seen to go wrong with Akri 0.13.26, on a real API server and with nodes that are played: here it must not.

The numbers are those of the list of defects that were reproduced; those that belong to the agent or to the device
plugin have their tests there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, POD, SERVICE
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube import pod_status
from tests.kube.api import Api
from tests.kube.control_plane import ControlPlane
from tests.kube.kubelet import Kubelets
from tests.launcher_kit import Object, World, world


@pytest.fixture
async def made(
    kube: Api, kube_namespace: str, controllers: None, nats_bus: NatsBus, tmp_path: Path
) -> AsyncIterator[World]:
    """A world on a real API server with its controllers."""
    access = from_files([kube.access.write(tmp_path / "kubeconfig")])
    async with KubernetesCluster(access) as cluster:
        await ensure(cluster, install=True)
        async with world(nats_bus, cluster, kube_namespace) as found:
            yield found


@pytest.fixture
async def nodes(kube: Api) -> AsyncIterator[Kubelets]:
    """Two nodes that take what is pinned to them."""
    async with Kubelets(kube, "node-a", "node-b", binds=True) as found:
        yield found


def all_run(count: int) -> Callable[[list[Object]], bool]:
    return lambda found: (
        len(found) == count
        and all(one["status"].get("phase") == "Running" and "deletionTimestamp" not in one["metadata"] for one in found)
    )


def uids(objects: list[Object]) -> dict[str, str]:
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in objects}


async def test_1_an_agent_that_restarts_takes_no_device_along(made: World, nodes: Kubelets) -> None:
    await made.configure()
    async with made.launcher() as parts:
        await made.live(epoch=1)
        await made.see(epoch=1)
        await made.until(POD, all_run(1))
        before = uids(await made.objects(INSTANCE)) | uids(await made.objects(POD))
        # A new agent has a new epoch; it tells all that it sees, and then that this was all.
        await made.live(epoch=1)
        await made.see(epoch=2)
        await made.live(epoch=2)
        await parts.queue.idle()
        await made.until(POD, all_run(1))
        assert uids(await made.objects(INSTANCE)) | uids(await made.objects(POD)) == before


@pytest.mark.parametrize("blip", [0, 0.01, 0.1, 0.5])
async def test_2_a_device_that_is_back_at_once_is_not_lost(made: World, nodes: Kubelets, blip: float) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(POD, all_run(1))
        await made.see(change="disappeared")
        await asyncio.sleep(blip)
        await made.see()
        await made.count(INSTANCE, 1)
        await made.until(POD, all_run(1))


async def test_3_a_node_that_is_back_gets_its_broker_back_and_a_free_slot(made: World, nodes: Kubelets) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(POD, all_run(1))
        await nodes.lost("node-a")
        await made.until(INSTANCE, lambda found: not found[0]["spec"].get("nodes"), "the node is out of the instance")
        await nodes.back("node-a")
        (instance,) = await made.until(INSTANCE, lambda found: found[0]["spec"].get("nodes") == ["node-a"])
        assert not instance["spec"].get("deviceUsage")
        await made.until(POD, all_run(1))


async def test_4_where_every_broker_fails_admission_few_are_made(made: World, nodes: Kubelets, kube: Api) -> None:
    nodes.decide = pod_status.refused
    await made.configure()
    seen: set[str] = set()
    async with made.launcher():
        await made.live()
        await made.see()
        for _ in range(60):
            seen |= set(uids(await made.objects(POD)).values())
            await asyncio.sleep(0.1)
        (instance,) = await made.until(INSTANCE, lambda found: found[0].get("status", {}).get("phase") == "Failed")
    assert 1 <= len(seen) <= 3, f"{len(seen)} pods in six seconds"
    assert "UnexpectedAdmissionError" in str(instance["status"])
    assert made.times("workload-failed") >= 1


async def test_7_a_bad_rule_is_told_on_the_configuration_and_harms_no_other(made: World, nodes: Kubelets) -> None:
    bad = {"name": "udev", "discoveryDetails": 'udevRules: [\'KERNEL=="x", RUN+="/bin/sh"\']\n'}
    await made.configure("bad", discoveryHandler=bad)
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(POD, all_run(1))
        found = await made.until(
            CONFIGURATION, lambda found: all("phase" in one.get("status", {}) for one in found), "both have a status"
        )
        phases = {one["metadata"]["name"]: one["status"]["phase"] for one in found}
        assert phases == {"bad": "Invalid", "cams": "Active"}
        said = next(one for one in found if one["metadata"]["name"] == "bad")["status"]["conditions"]
        assert "RUN" in next(one for one in said if one["type"] == "Valid")["message"]


async def test_8_a_broker_that_was_refused_once_is_tried_again(made: World, nodes: Kubelets, kube: Api) -> None:
    account = {"brokerPodSpec": {"serviceAccountName": "later", "containers": [{"name": "b", "image": "example/b"}]}}
    await made.configure(brokerSpec=account)
    async with made.launcher():
        await made.live()
        await made.see()
        (instance,) = await made.until(INSTANCE, lambda found: found and "later" in str(found[0].get("status")))
        assert instance["status"]["phase"] == "Failed"
        await kube.create(
            f"/api/v1/namespaces/{made.namespace}/serviceaccounts",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "later"}},
        )
        await made.until(POD, all_run(1), "the broker runs once it may")


async def test_the_capacity_is_a_hard_bound_and_a_place_that_is_free_is_taken(made: World, nodes: Kubelets) -> None:
    await made.configure(capacity=1)
    async with made.launcher():
        for node in ("node-a", "node-b"):
            await made.live(node)
            await made.see(shared=True, node=node)
        (pod,) = await made.until(POD, all_run(1))
        (instance,) = await made.count(INSTANCE, 1)
        assert instance["spec"]["nodes"] == ["node-a", "node-b"]
        node = pod["spec"]["nodeName"]
        other = {"node-a": "node-b", "node-b": "node-a"}[node]
        await made.see(shared=True, node=node, change="disappeared")
        await made.until(POD, lambda found: all_run(1)(found) and found[0]["spec"]["nodeName"] == other)


async def test_a_pod_that_somebody_deletes_comes_again(made: World, nodes: Kubelets) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        (pod,) = await made.until(POD, all_run(1))
        # What is gone before the launcher has seen it run was never told of.
        await made.hear("workload-launched")
        await made.cluster.delete(POD, made.namespace, pod["metadata"]["name"])
        await made.until(POD, lambda found: all_run(1)(found) and found[0]["metadata"]["uid"] != pod["metadata"]["uid"])
        await made.hear("workload-launched", "workload-stopped", "workload-launched")


async def test_an_edit_of_the_broker_rolls_out_one_pod_at_a_time(made: World, nodes: Kubelets) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        for number in range(4):
            await made.see(f"serial-{number}")
        before = await made.until(POD, all_run(4))
        watched = asyncio.create_task(fewest_that_run(made))
        await made.configure(brokerSpec={"brokerPodSpec": {"containers": [{"name": "b", "image": "example/b:2"}]}})
        await made.until(
            POD,
            lambda found: all_run(4)(found) and not set(uids(found).values()) & set(uids(before).values()),
        )
        watched.cancel()
        assert await asyncio.gather(watched, return_exceptions=True)
    assert watched.cancelled() or watched.result() >= 2


async def fewest_that_run(made: World) -> int:
    fewest = 4
    while True:
        found = await made.objects(POD)
        fewest = min(fewest, sum(all_run(1)([one]) for one in found))
        assert fewest >= 2, "more than one was replaced at a time"
        await asyncio.sleep(0.02)


async def test_a_deleted_configuration_takes_everything_along(made: World, nodes: Kubelets) -> None:
    await made.configure(instanceServiceSpec={"ports": [{"port": 80}]})
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(POD, all_run(1))
        await made.hear("workload-launched")
        await made.cluster.delete(CONFIGURATION, made.namespace, "cams")
        for kind in (INSTANCE, POD):
            await made.until(kind, lambda found: not found)
        await made.hear("instance-removed", "workload-stopped")


async def test_the_api_server_goes_and_comes_while_devices_do(
    made: World, nodes: Kubelets, control_plane: ControlPlane
) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see("serial-1")
        await made.until(POD, all_run(1))
        control_plane.apiserver.kill()
        await made.see("serial-1", change="disappeared")
        await made.see("serial-2")
        await made.see("serial-3")
        await asyncio.to_thread(control_plane.start_apiserver)
        await made.until(INSTANCE, lambda found: len(found) == 2)
        await made.until(POD, all_run(2))
        await made.hear(*["instance-added"] * 3, "instance-removed")
    assert made.times("instance-added") == 3


async def test_services_come_with_the_first_broker_and_go_after_the_last(made: World, nodes: Kubelets) -> None:
    spec = {"ports": [{"port": 80}]}
    await made.configure(instanceServiceSpec=spec, configurationServiceSpec=spec)
    async with made.launcher():
        await made.live()
        await made.see()
        (instance,) = await made.count(INSTANCE, 1)
        await made.until(POD, all_run(1))
        found = await made.count(SERVICE, 2)
        selectors = {one["metadata"]["name"]: one["spec"]["selector"] for one in found}
        name = instance["metadata"]["name"]
        assert selectors == {
            f"{name}-svc": {"controller": "akri.sh", "akri.sh/instance": name},
            "cams-svc": {"controller": "akri.sh", "akri.sh/configuration": "cams"},
        }
        await made.see(change="disappeared")
        await made.until(SERVICE, lambda found: not found)

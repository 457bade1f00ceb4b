"""From a Configuration to the pod that a cluster would get, as a user of the command line goes there."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ashore_broker_launcher.cluster import POD
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube.control_plane import Cluster
from tests.stack import Done, Running, ashore, running, until

pytestmark = pytest.mark.e2e

BUOYS = """\
apiVersion: akri.sh/v0
kind: Configuration
metadata: {name: buoys}
spec:
  discoveryHandler: {name: debugEcho, discoveryDetails: "descriptions: [buoy]"}
  brokerSpec:
    brokerPodSpec:
      containers: [{name: broker, image: example/broker, resources: {limits: {"{{PLACEHOLDER}}": "1"}}}]
"""
BAD = """\
---
apiVersion: akri.sh/v0
kind: Configuration
metadata: {name: bad}
spec:
  capacity: many
  discoveryHandler: {name: debugEcho, discoveryDetails: "descriptions: [buoy]"}
"""


async def read(stack: Running, *words: str) -> Any:
    """What a command says, as JSON."""
    done = await ashore(*words, "-o", "json", data=stack.folder)
    assert (done.code, done.error) == (0, "")
    return json.loads(done.out)


async def has(stack: Running, configuration: str, count: int) -> bool:
    """Whether a configuration has so many instances."""
    return len(await read(stack, "instance", "list", "--configuration", configuration)) == count


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "data") as stack:
        yield stack


async def test_of_a_file_what_can_be_used_is_applied_and_of_the_rest_each_fault_is_named(
    stack: Running, tmp_path: Path
) -> None:
    file = tmp_path / "buoys.yaml"
    file.write_text(BUOYS + BAD)
    explained = await ashore("configuration", "explain", file, "-o", "json", data=stack.folder)
    assert explained.code == 1, "one of the two cannot be used"
    first, second = json.loads(explained.out)
    assert (first["problems"], first["handed_out"]["handler"]) == ([], "debug-echo")
    assert (len(second["problems"]), second["devices"]) == (1, [])
    for result in ("created", "unchanged"):
        assert_applied(await ashore("configuration", "apply", file, "-o", "table", data=stack.folder), result)


async def test_a_configuration_that_is_applied_turns_a_device_into_an_instance_with_a_pod(
    stack: Running, tmp_path: Path
) -> None:
    file = tmp_path / "buoys.yaml"
    file.write_text(BUOYS)
    await ashore("configuration", "apply", file, data=stack.folder)
    await until(partial(has, stack, "buoys", 1))
    await until(partial(has, stack, "lights", 1))
    [instance] = await read(stack, "instance", "list", "--configuration", "buoys")
    detail = await read(stack, "instance", "show", instance["name"])
    assert detail["properties"] == {"DEBUG_ECHO_DESCRIPTION": "buoy"}
    [workload] = await read(stack, "workload", "list", "--configuration", "buoys")
    assert (workload["kind"], workload["stage"]) == ("Pod", "waiting")
    pods = await read(stack, "workload", "manifests", "--kind", "Pod")
    [pod] = [one for one in pods if one["metadata"]["name"] == workload["name"]]
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {f"akri.sh/{instance['name']}": "1"}
    for words in (("workload", "logs", workload["name"]), ("instance", "rerun", instance["name"])):
        refused = await ashore(*words, data=stack.folder)
        assert (refused.code, "to do: " in refused.error) == (1, True)
    await assert_well(stack, "2 configurations, 2 instances")
    deleted = await ashore("configuration", "delete", "default/buoys", data=stack.folder)
    assert deleted.code == 0, deleted.error
    await until(partial(has, stack, "buoys", 0))


async def assert_well(stack: Running, words: str) -> None:
    """The doctor finds nothing, and says this of the launcher."""
    doctor = await ashore("doctor", data=stack.folder)
    assert doctor.code == 0, doctor.out
    texts = [one["text"] for one in json.loads(doctor.out) if one["about"] == "broker-launcher"]
    assert any("dry run" in text and words in text for text in texts), texts


def assert_applied(done: Done, result: str) -> None:
    """The good one was applied, and the bad one named with its fault."""
    assert done.code == 1
    assert f"configuration default/buoys {result}" in done.out
    assert "configuration default/bad refused\n  spec.capacity: " in done.out


async def test_a_file_in_the_folder_is_enough_and_when_it_goes_all_goes(stack: Running) -> None:
    file = stack.stack.layout.configurations / "buoys.yaml"
    file.write_text(BUOYS)
    await until(partial(has, stack, "buoys", 1))
    file.unlink()
    await until(partial(has, stack, "buoys", 0))
    await until(partial(has, stack, "lights", 1))


async def test_instances_are_watched_as_they_come(stack: Running, tmp_path: Path) -> None:
    file = tmp_path / "buoys.yaml"
    file.write_text(BUOYS)
    watching = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ashore_cli", "instance", "watch", "--configuration", "buoys"),
        *("--data", str(stack.folder), "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert watching.stdout is not None
        line = asyncio.create_task(watching.stdout.readline())
        while not line.done():
            # Whoever watches hears what comes from then on, and nobody knows when that begins.
            await ashore("configuration", "apply", file, data=stack.folder)
            await until(partial(has, stack, "buoys", 1))
            await ashore("configuration", "delete", "buoys", data=stack.folder)
            await until(partial(has, stack, "buoys", 0))
        assert json.loads(line.result())["configuration"] == "buoys"
    finally:
        watching.kill()
        await watching.wait()


async def test_a_cluster_that_kubectl_would_use_is_not_touched_unless_it_is_asked_for(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\n")
    async with running(tmp_path / "data", {"broker-launcher": {"KUBECONFIG": str(kubeconfig)}}) as stack:
        assert (await stack.client.launcher.state()).launcher == "dry-run"


async def test_with_a_cluster_pods_are_applied_there_and_kept_there(
    tmp_path: Path, kube_cluster: Cluster, kube_namespace: str
) -> None:
    kubeconfig, place = kube_cluster.access.write(tmp_path / "kubeconfig"), kube_namespace
    own = {"KUBECONFIG": str(kubeconfig), "ASHORE_NAMESPACE": place, "ASHORE_LEASE_NAMESPACE": place}
    file = tmp_path / "buoys.yaml"
    file.write_text(BUOYS)
    async with KubernetesCluster(from_files([kubeconfig])) as cluster:
        await ensure(cluster, install=True)
        async with running(tmp_path / "data", {"broker-launcher": own}, kubernetes=True) as stack:
            applied = await ashore("configuration", "apply", file, "-n", place, "-o", "table", data=stack.folder)
            assert (applied.code, applied.out) == (0, f"configuration {place}/buoys created\n")
            await until(partial(has, stack, "buoys", 1))
            [workload] = await until_listed(stack, "workload", "list")
            nothing = await ashore("workload", "manifests", data=stack.folder)
            assert (nothing.code, "kubectl get" in nothing.error) == (1, True)
            doctor = await ashore("doctor", data=stack.folder)
            assert (doctor.code, "its cluster answers; 1 configuration," in doctor.out) == (0, True), doctor.out
        [pod] = await cluster.list(POD, namespace=place)
        assert pod["metadata"]["name"] == workload["name"]


async def until_listed(stack: Running, *words: str) -> list[Any]:
    """A list, as soon as there is something in it."""
    found: list[Any] = []

    async def is_some() -> bool:
        found[:] = await read(stack, *words)
        return bool(found)

    await until(is_some)
    return found

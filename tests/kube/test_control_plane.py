"""The control plane of the tests is a real one: what it does here, it does wherever the launcher is tested."""

import asyncio
import threading

import pytest

from tests.kube import binaries, pod_status
from tests.kube.api import Api, RefusedError, until
from tests.kube.control_plane import ControlPlane
from tests.kube.kubelet import Kubelets
from tests.kube.things import define
from tests.kube.users import account

THINGS = "/apis/tests.ashore.dev/v1/namespaces/{0}/things"
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "work"},
    "spec": {
        "backoffLimit": 1,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "one", "image": "none.example/none"}]}},
    },
}


def thing(size: int) -> dict[str, object]:
    return {"apiVersion": "tests.ashore.dev/v1", "kind": "Thing", "metadata": {"name": "one"}, "spec": {"size": size}}


@pytest.fixture
async def things(kube: Api, kube_namespace: str) -> str:
    """Define a kind; the path of its objects."""
    await define(kube, group="tests.ashore.dev", kind="Thing", plural="things")
    return THINGS.format(kube_namespace)


async def test_it_says_the_version_that_was_asked_for(control_plane: ControlPlane, kube: Api) -> None:
    said = await kube.get("/version")
    assert said["gitVersion"] == binaries.home().name.removeprefix("kubernetes-")


async def test_openapi_v2_is_whole_so_kubectl_can_apply(kube: Api) -> None:
    assert "paths" in await kube.get("/openapi/v2")


async def test_a_custom_resource_is_stored_and_a_rule_of_its_schema_is_held(kube: Api, things: str) -> None:
    stored = await kube.apply(f"{things}/one", thing(3))
    assert stored["spec"] == {"size": 3}
    assert stored["metadata"]["managedFields"][0]["operation"] == "Apply"
    with pytest.raises(RefusedError, match="too large"):
        await kube.apply(f"{things}/one", thing(30))


async def test_what_a_custom_resource_owns_goes_with_it(
    control_plane: ControlPlane, kube: Api, things: str, kube_namespace: str, controllers: None
) -> None:
    control_plane.restart_controllers()
    owner = await kube.apply(f"{things}/one", thing(1))
    reference = {"apiVersion": "tests.ashore.dev/v1", "kind": "Thing", "name": "one", "uid": owner["metadata"]["uid"]}
    maps = f"/api/v1/namespaces/{kube_namespace}/configmaps"
    owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "ownerReferences": [reference]}}
    await kube.apply(f"{maps}/owned", owned)
    await kube.delete(f"{things}/one", propagationPolicy="Background")
    await until(lambda: gone(kube, f"{maps}/owned"), "what was owned is collected")


async def test_a_job_gets_a_pod_on_a_node_and_succeeds(
    control_plane: ControlPlane, kube: Api, kube_namespace: str, controllers: None, scheduler: None
) -> None:
    jobs = f"/apis/batch/v1/namespaces/{kube_namespace}/jobs"
    async with Kubelets(kube, "node-a", decide=pod_status.succeeded):
        await kube.create(jobs, JOB)
        await until(lambda: complete(kube, f"{jobs}/work"), "the Job is complete")
        [pod] = await kube.items(f"/api/v1/namespaces/{kube_namespace}/pods")
        assert pod["spec"]["nodeName"] == "node-a"
        assert pod["status"]["phase"] == "Succeeded"
        await kube.delete(f"{jobs}/work", propagationPolicy="Background")
        await until(lambda: no_pods(kube, kube_namespace), "the Pod goes with its Job")


async def test_a_pod_that_is_deleted_ends_only_on_a_node_that_answers(
    control_plane: ControlPlane, kube: Api, kube_namespace: str
) -> None:
    pods = f"/api/v1/namespaces/{kube_namespace}/pods"
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "one", "image": "none.example/none"}]}}
    async with Kubelets(kube, "node-b", binds=True) as nodes:
        await kube.create(pods, pod)
        await until(lambda: phase(kube, f"{pods}/one", "Running"), "the Pod runs")
        await nodes.lost("node-b")
        await kube.delete(f"{pods}/one")
        assert (await kube.get(f"{pods}/one"))["metadata"]["deletionTimestamp"]
        await nodes.back("node-b")
        await until(lambda: gone(kube, f"{pods}/one"), "the Pod has ended")


async def test_the_api_server_comes_back_where_it_was_with_what_it_had(
    control_plane: ControlPlane, kube: Api, kube_namespace: str
) -> None:
    before = control_plane.apiserver.pid
    control_plane.apiserver.kill()
    assert control_plane.apiserver.pid == 0
    control_plane.start_apiserver()
    assert control_plane.apiserver.pid not in {0, before}
    async with Api(control_plane.access) as again:
        assert (await again.get(f"/api/v1/namespaces/{kube_namespace}"))["status"]["phase"] == "Active"


async def test_what_a_thread_has_started_outlives_the_thread(control_plane: ControlPlane) -> None:
    control_plane.apiserver.kill()
    thread = threading.Thread(target=control_plane.start_apiserver)
    thread.start()
    await asyncio.to_thread(thread.join)
    async with Api(control_plane.access) as again:
        assert await again.get("/version")
    assert control_plane.apiserver.pid


async def test_who_may_read_may_not_write(kube: Api, kube_namespace: str) -> None:
    reader = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    async with Api(await account(kube, kube_namespace, "reader", reader)) as somebody:
        maps = f"/api/v1/namespaces/{kube_namespace}/configmaps"
        assert await somebody.items(maps) is not None
        with pytest.raises(RefusedError, match="forbidden"):
            await somebody.create(maps, {"metadata": {"name": "one"}})


async def gone(kube: Api, path: str) -> bool:
    return not await kube.there(path)


async def complete(kube: Api, path: str) -> bool:
    return bool((await kube.get(path)).get("status", {}).get("succeeded"))


async def phase(kube: Api, path: str, wanted: str) -> bool:
    return (await kube.get(path))["status"]["phase"] == wanted


async def no_pods(kube: Api, namespace: str) -> bool:
    return not await kube.items(f"/api/v1/namespaces/{namespace}/pods")

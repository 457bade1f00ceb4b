"""The launcher's adapter against a real API server: what only that can show."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore_broker_launcher.cluster import CONFIG_MAP, POD, Change, JsonObject, Kind, NotFound, Reflection, Refused
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.reflector import Patience
from ashore_broker_launcher.objects import uid_of
from tests.kube import things
from tests.kube.api import Access, Api, RefusedError
from tests.kube.control_plane import Cluster, ControlPlane
from tests.kube.etcd import compact
from tests.kube.kubelet import Kubelets
from tests.kube.logs import Logs
from tests.kube.users import account

HASTY = Patience(first=0.05, most=0.5)
ROUND_TRIPS = 1_100
"""More than two pages."""


@pytest.fixture
async def cluster(kube_cluster: Cluster, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """Reach the cluster of the tests, as its admin."""
    async with reached(kube_cluster.access, tmp_path) as found:
        yield found


@asynccontextmanager
async def reached(access: Access, folder: Path) -> AsyncIterator[KubernetesCluster]:
    async with KubernetesCluster(from_files([access.write(folder / "kubeconfig")]), patience=HASTY) as found:
        yield found


async def test_a_list_of_several_pages_is_whole(cluster: KubernetesCluster, kube_namespace: str) -> None:
    await asyncio.gather(*(cluster.create(CONFIG_MAP, a_map(kube_namespace, f"m{n}")) for n in range(ROUND_TRIPS)))
    found = await cluster.list(CONFIG_MAP, namespace=kube_namespace, labels="mine=yes")
    assert {one["metadata"]["name"] for one in found} == {f"m{n}" for n in range(ROUND_TRIPS)}


async def test_a_reflection_survives_the_restart_of_the_api_server(
    control_plane: ControlPlane, cluster: KubernetesCluster, kube_namespace: str
) -> None:
    before = await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "before"))
    async with reflected(cluster, kube_namespace) as (reflection, changes):
        control_plane.apiserver.kill()
        control_plane.start_apiserver()
        async with Api(control_plane.access) as kube:
            await kube.delete(f"/api/v1/namespaces/{kube_namespace}/configmaps/before")
            await kube.apply(f"/api/v1/namespaces/{kube_namespace}/configmaps/after", a_map(kube_namespace, "after"))
        await until(lambda: names(reflection.objects) == {"after"})
        assert [told(change) for change in changes] == [(None, "before"), ("before", None), (None, "after")]
        assert changes[0].now == before


async def test_what_the_api_server_has_forgotten_is_listed_and_what_went_meanwhile_is_told(
    control_plane: ControlPlane, cluster: KubernetesCluster, kube_namespace: str
) -> None:
    for name in ("stays", "changes", "goes"):
        await cluster.apply(CONFIG_MAP, a_map(kube_namespace, name))
    reflection = cluster.reflect(CONFIG_MAP, namespace=kube_namespace, labels="mine=yes")
    async with running(reflection) as first:
        assert len(first) == 3
    await cluster.delete(CONFIG_MAP, kube_namespace, "goes")
    await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "changes", a="2"))
    await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "comes"))
    await asyncio.to_thread(compact, control_plane.etcd_url)
    # A new one has forgotten what its watches would have known.
    control_plane.apiserver.kill()
    control_plane.start_apiserver()
    async with running(reflection) as second:
        await until(lambda: len(second) == 3)
        assert {told(change) for change in second} == {("goes", None), ("changes", "changes"), (None, "comes")}
        assert names(reflection.objects) == {"stays", "changes", "comes"}


async def test_our_fields_are_ours_in_the_eyes_of_others(
    cluster: KubernetesCluster, kube: Api, kube_namespace: str
) -> None:
    await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "one", a="ours"))
    path = f"/api/v1/namespaces/{kube_namespace}/configmaps/one"
    theirs = a_map(kube_namespace, "one", a="theirs")
    with pytest.raises(RefusedError, match="ashore-broker-launcher"):
        await kube.patch(path, theirs, "apply", fieldManager="kubectl")
    await kube.patch(path, a_map(kube_namespace, "one", b="theirs"), "apply", fieldManager="kubectl")
    assert (await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "one", a="2")))["data"] == {"a": "2", "b": "theirs"}


async def test_whom_the_api_server_does_not_allow_it_is_told_what_is_missing(
    kube: Api, kube_namespace: str, tmp_path: Path
) -> None:
    nobody = await account(kube, kube_namespace, "nobody")
    async with reached(nobody, tmp_path) as cluster:
        with pytest.raises(Refused, match=r"cannot patch resource .configmaps.*ClusterRole") as refused:
            await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "one"))
        assert refused.value.status == 403


async def test_what_is_no_such_object_is_refused_with_the_reason(
    cluster: KubernetesCluster, kube_namespace: str
) -> None:
    pod = {"metadata": {"namespace": kube_namespace, "name": "one"}}
    with pytest.raises(Refused, match=r"spec.containers: Required value"):
        await cluster.apply(POD, {**pod, "spec": {"containers": []}})
    container = {"name": "one", "image": "none.example/none"}
    with pytest.raises(Refused, match=r"\.spec\.nodeNam: field not declared"):
        await cluster.apply(POD, {**pod, "spec": {"containers": [container], "nodeNam": "typing error"}})
    with pytest.raises(Refused, match="duplicate entries"):
        await cluster.apply(POD, {**pod, "spec": {"containers": [container, container]}})
    with pytest.raises(Refused, match="expected numeric"):
        await cluster.apply(POD, {**pod, "spec": {"containers": [container], "priority": "high"}})


async def test_what_other_objects_own_goes_with_its_owner(
    control_plane: ControlPlane, cluster: KubernetesCluster, kube_namespace: str, controllers: None
) -> None:
    owner = await cluster.apply(CONFIG_MAP, a_map(kube_namespace, "owner"))
    owned = a_map(kube_namespace, "owned")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid_of(owner)}
    owned["metadata"]["ownerReferences"] = [reference]
    await cluster.apply(CONFIG_MAP, owned)
    async with reflected(cluster, kube_namespace) as (reflection, _):
        await cluster.delete(CONFIG_MAP, kube_namespace, "owner", uid=uid_of(owner))
        await until(lambda: not reflection.objects)


async def test_the_last_lines_of_a_pods_log_are_read_and_never_more_than_a_few_kilobytes(
    control_plane: ControlPlane, cluster: KubernetesCluster, kube: Api, kube_namespace: str, tmp_path: Path
) -> None:
    body = {**a_map(kube_namespace, "one"), "kind": "Pod"}
    body["spec"] = {"containers": [{"name": "main", "image": "none.example/none"}]}
    del body["data"]
    async with Logs(tmp_path) as logs, Kubelets(kube, "node-l", binds=True, logs_port=logs.port):
        async with reflected(cluster, kube_namespace, POD) as (reflection, _):
            await cluster.create(POD, body)
            await until(lambda: [one["status"]["phase"] for one in reflection.objects.values()] == ["Running"])
        key = f"{kube_namespace}/one/main"
        logs.written[key] = b"".join(b"line %d\n" % n for n in range(100))
        assert await cluster.log(kube_namespace, "one", lines=2) == "line 98\nline 99\n"
        logs.written[key] = b"x" * 100_000 + b"\xff end"
        said = await cluster.log(kube_namespace, "one", container="main")
        assert said.endswith("x\ufffd end")
        assert len(said) == 8192
        with pytest.raises(Refused, match="not valid"):
            await cluster.log(kube_namespace, "one", container="another")


async def test_a_kind_that_is_defined_later_is_known_then(kube: Api, cluster: KubernetesCluster) -> None:
    later = {"group": "later.ashore.dev", "kind": "Later", "plural": "laters"}
    with pytest.raises(NotFound):
        await cluster.kind("later.ashore.dev/v1", "Later")
    await things.define(kube, **later)
    assert await cluster.kind("later.ashore.dev/v1", "Later") == Kind("later.ashore.dev/v1", "Later", "laters")
    await things.undefine(kube, "later.ashore.dev", "laters")


def a_map(place: str, name: str, **data: str) -> JsonObject:
    metadata = {"namespace": place, "name": name, "labels": {"mine": "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def names(objects: Mapping[tuple[str, str], JsonObject]) -> set[str]:
    return {name for _, name in objects}


def told(change: Change) -> tuple[str | None, str | None]:
    return (
        change.before["metadata"]["name"] if change.before else None,
        change.now["metadata"]["name"] if change.now else None,
    )


@asynccontextmanager
async def running(reflection: Reflection) -> AsyncIterator[list[Change]]:
    changes: list[Change] = []
    task = asyncio.create_task(reflection.run(changes.append))
    try:
        await asyncio.wait_for(reflection.synced.wait(), 30)
        yield changes
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def reflected(
    cluster: KubernetesCluster, place: str, kind: object = CONFIG_MAP
) -> AsyncIterator[tuple[Reflection, list[Change]]]:
    reflection = cluster.reflect(kind, namespace=place, labels="mine=yes")  # type: ignore[arg-type]
    async with running(reflection) as changes:
        yield reflection, changes


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.02)

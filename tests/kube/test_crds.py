"""The definitions of `akri.sh` in a real API server: what Akri's users have applies, and what cannot be is refused."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore_broker_launcher import crds, names
from ashore_broker_launcher.cluster import Cluster
from ashore_broker_launcher.crds.install import DefinitionsError, ensure
from tests.kube.adapter import adapter
from tests.kube.akri_samples import POD_BROKER, configuration, samples
from tests.kube.api import Api, RefusedError, until
from tests.kube.control_plane import Cluster as KubeCluster
from tests.kube.control_plane import ControlPlane
from tests.kube.users import account

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.fixture
async def cluster(kube_cluster: KubeCluster, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The launcher's port, as the admin."""
    async with adapter(kube_cluster.access, tmp_path) as found:
        yield found


@pytest.fixture
async def akri(kube: Api, cluster: Cluster, kube_namespace: str) -> str:
    """Have both definitions served, and the path of a namespace in them."""
    await ensure(cluster, install=True)
    base = f"/apis/akri.sh/v0/namespaces/{kube_namespace}"
    await until(lambda: kube.there(f"{base}/instances"), "akri.sh is served")
    return base


def namespace(akri: str) -> str:
    return akri.rpartition("/")[2]


async def strictly(kube: Api, path: str, body: dict) -> dict:
    return await kube._ask("POST", path, {"fieldValidation": "Strict"}, body)


async def refused(kube: Api, akri: str, **spec) -> str:
    with pytest.raises(RefusedError) as error:
        await strictly(kube, f"{akri}/configurations", configuration("cams", "onvif", namespace(akri), **spec))
    return str(error.value)


async def test_what_users_of_akri_have_applies_unchanged(kube: Api, akri: str) -> None:
    for sample in samples(namespace(akri)):
        stored = await strictly(kube, f"{akri}/configurations", sample)
        # Defaults are Akri's, and nothing that was written is lost.
        assert stored["spec"] == {"capacity": 1, "brokerProperties": {}, **with_defaults(sample["spec"])}


def with_defaults(spec: dict) -> dict:
    spec = copy.deepcopy(spec)
    for one in spec["discoveryHandler"].get("discoveryProperties", []):
        one["valueFrom"]["secretKeyRef"].setdefault("optional", False)
    return spec


async def test_short_names_category_and_columns_are_akris_with_a_phase(kube: Api, akri: str) -> None:
    found = {}
    for one in crds.definitions():
        stored = await kube.get(f"{DEFINITIONS}/{one['metadata']['name']}")
        accepted = stored["status"]["acceptedNames"]
        columns = [column["name"] for column in stored["spec"]["versions"][0]["additionalPrinterColumns"]]
        found[accepted["plural"]] = (accepted["shortNames"], accepted["categories"], columns)
    assert found == {
        "configurations": (["akric"], ["all"], ["Handler", "Capacity", "Phase", "Instances", "Ready", "Age"]),
        "instances": (["akrii"], ["all"], ["Config", "Shared", "Nodes", "Phase", "Age"]),
    }


async def test_a_table_shows_the_handler_and_the_phase(kube: Api, akri: str) -> None:
    await kube.create(f"{akri}/configurations", configuration("cams", "onvif", namespace(akri)))
    status = {"status": {"phase": "Watching", "instances": 3, "ready": 2}}
    await kube.patch(f"{akri}/configurations/cams/status", status)
    answer = await kube._client.get(f"{akri}/configurations", headers={"Accept": TABLE})
    assert answer.json()["rows"][0]["cells"][:6] == ["cams", "onvif", 1, "Watching", 3, 2]


async def test_a_status_is_a_subresource_and_the_spec_does_not_carry_it(kube: Api, akri: str) -> None:
    body = configuration("cams", "onvif", namespace(akri)) | {"status": {"phase": "Pretended"}}
    assert "status" not in await kube.create(f"{akri}/configurations", body)


async def test_what_akri_leaves_to_kubernetes_is_kept_word_for_word(kube: Api, akri: str) -> None:
    odd = {"containers": [{"name": "b", "futureField": {"a": [1, None, {"b": "c"}]}}]}
    spec = {"brokerSpec": {"brokerPodSpec": odd}, "instanceServiceSpec": {"newThing": 1}}
    stored = await kube.create(f"{akri}/configurations", configuration("cams", "onvif", namespace(akri), **spec))
    assert stored["spec"]["brokerSpec"] == spec["brokerSpec"]
    assert stored["spec"]["instanceServiceSpec"] == spec["instanceServiceSpec"]


async def test_a_field_that_does_not_exist_is_refused_by_whoever_asks_strictly(kube: Api, akri: str) -> None:
    assert 'unknown field \\"spec.capacitty\\"' in await refused(kube, akri, capacitty=2)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"brokerSpec": {}}, "exactly one of brokerPodSpec and brokerJobSpec"),
        ({"brokerSpec": {**POD_BROKER, "brokerJobSpec": {}}}, "exactly one of brokerPodSpec and brokerJobSpec"),
        ({"capacity": 0}, "greater than or equal to 1"),
        ({"identity": ["name"]}, "Unsupported value"),
        ({"nodes": [""]}, "should be at least 1 chars long"),
        ({"departure": {"grace": -1}}, "greater than or equal to 0"),
        ({"brokerManifests": [{"kind": "ConfigMap"}]}, "apiVersion: Required value"),
        ({"brokerManifests": [{"apiVersion": "v1", "kind": "Pod"}] * 33}, "must have at most 32 items"),
        ({"rollout": {"maintenanceWindow": {"from": "22:00", "until": "22:00"}}}, "never open"),
        ({"rollout": {"maintenanceWindow": {"from": "25:00", "until": "06:00"}}}, "should match"),
        ({"rollout": {"maintenanceWindow": {"from": "22:00", "until": "06:00", "days": ["monday"]}}}, "Unsupported"),
        ({"rollout": {"maxUnavailable": 0}}, "greater than or equal to 1"),
    ],
)
async def test_what_cannot_be_is_refused(kube: Api, akri: str, spec: dict, says: str) -> None:
    assert says in await refused(kube, akri, **spec)


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ([{"name": "a b", "value": "x"}], "should match"),
        ([{"name": "a", "value": "x"}, {"name": "a", "value": "y"}], "Duplicate value"),
        ([{"name": "a", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s"}}}], "a value or a valueFrom"),
        ([{"name": "a", "valueFrom": {}}], "exactly one of secretKeyRef and configMapKeyRef"),
        ([{"name": "a", "valueFrom": {"secretKeyRef": {"key": "k"}}}], "name: Required value"),
    ],
)
async def test_a_property_that_cannot_be_is_refused(kube: Api, akri: str, properties: list, says: str) -> None:
    handler = {"name": "onvif", "discoveryProperties": properties}
    assert says in await refused(kube, akri, discoveryHandler=handler)


async def test_a_name_that_would_make_names_of_instances_too_long_is_refused(kube: Api, akri: str) -> None:
    longest = "a" * names.LONGEST_CONFIGURATION
    await kube.create(f"{akri}/configurations", configuration(longest, "onvif", namespace(akri)))
    with pytest.raises(RefusedError, match="more than 46 characters"):
        await kube.create(f"{akri}/configurations", configuration(longest + "a", "onvif", namespace(akri)))


async def test_the_handler_lasts_and_its_details_may_change(kube: Api, akri: str) -> None:
    await kube.create(f"{akri}/configurations", configuration("cams", "onvif", namespace(akri)))
    path = f"{akri}/configurations/cams"
    changed = await kube.patch(path, {"spec": {"discoveryHandler": {"discoveryDetails": "uuids: {}"}}})
    assert changed["metadata"]["generation"] == 2
    with pytest.raises(RefusedError, match="the handler cannot be changed"):
        await kube.patch(path, {"spec": {"discoveryHandler": {"name": "udev"}}})


async def test_nodes_of_an_instance_are_a_set_that_several_may_write(kube: Api, akri: str) -> None:
    spec = {"configurationName": "cams", "cdiName": "akri.sh/cams=4294ea", "capacity": 2}
    body = {"apiVersion": "akri.sh/v0", "kind": "Instance", "metadata": {"name": "cams-4294ea"}, "spec": spec}
    for node in ("node-a", "node-b"):
        stored = await kube.apply(f"{akri}/instances/cams-4294ea", {**body, "spec": {**spec, "nodes": [node]}}, node)
    assert stored["spec"]["nodes"] == ["node-a", "node-b"]
    assert (stored["spec"]["shared"], stored["spec"]["deviceUsage"]) == (False, {})


def without(definition: dict, *fields: str, label: bool = True) -> dict:
    """The definition as another release, or Akri, would have it."""
    other = copy.deepcopy(definition)
    for field in fields:
        del crds.schema(other)["properties"]["spec"]["properties"][field]
    if not label:
        del other["metadata"]["labels"]
    return other


@pytest.fixture
async def empty(bare: ControlPlane, tmp_path: Path) -> AsyncIterator[tuple[Api, Cluster]]:
    """A cluster that knows nothing of Akri."""
    async with Api(bare.access) as api, adapter(bare.access, tmp_path) as port:
        for one in crds.definitions():
            path = f"{DEFINITIONS}/{one['metadata']['name']}"
            if await api.there(path):
                await api.delete(path)
            await until(lambda path=path: gone(api, path), f"{path} is gone")
        yield api, port


async def gone(api: Api, path: str) -> bool:
    return not await api.there(path)


async def fields(api: Api) -> dict:
    stored = await api.get(f"{DEFINITIONS}/configurations.akri.sh")
    return crds.schema(stored)["properties"]["spec"]["properties"]


async def test_definitions_are_installed_only_when_told_to(empty: tuple[Api, Cluster]) -> None:
    _, cluster = empty
    with pytest.raises(DefinitionsError, match=r"does not know configurations.akri.sh: `kubectl apply"):
        await ensure(cluster, install=False)
    await ensure(cluster, install=True)
    await ensure(cluster, install=False)


async def test_definitions_of_akri_itself_are_left_alone(empty: tuple[Api, Cluster]) -> None:
    api, cluster = empty
    await api.create(DEFINITIONS, without(crds.definitions()[0], "brokerManifests", "match", label=False))
    with pytest.raises(DefinitionsError, match=r"not ashore's .*lacks spec.brokerManifests, spec.match"):
        await ensure(cluster, install=True)
    assert "match" not in await fields(api)


async def test_definitions_of_an_older_release_are_brought_up_to_date(empty: tuple[Api, Cluster]) -> None:
    api, cluster = empty
    await api.create(DEFINITIONS, without(crds.definitions()[0], "rollout"))
    with pytest.raises(DefinitionsError, match=r"of another release and lacks spec.rollout"):
        await ensure(cluster, install=False)
    await ensure(cluster, install=True)
    assert "rollout" in await fields(api)


async def test_who_may_not_install_them_is_told_who_may(empty: tuple[Api, Cluster], tmp_path: Path) -> None:
    api, _ = empty
    await api.create("/api/v1/namespaces", {"metadata": {"name": "poor"}})
    look = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["get"]}
    access = await account(api, "poor", "poor", look, everywhere=True)
    async with adapter(access, tmp_path) as port:
        with pytest.raises(DefinitionsError, match=r"cannot be installed: .*ask an administrator to `kubectl apply"):
            await ensure(port, install=True)

"""The manifests of deploy/kubernetes on a real API server: each applies, and rights are enough and no more."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ashore.bus.nats import NatsBus
from ashore.slots import CLAIM, Claim, ClaimAnswer, subject
from ashore_broker_launcher.admission.certificate import WEBHOOK_NAME, WEBHOOKS, WebhookCertificate
from ashore_broker_launcher.admission.trial import try_broker
from ashore_broker_launcher.cluster import (
    CONFIG_MAP,
    CONFIGURATION,
    EVENT,
    INSTANCE,
    JOB,
    LEASE,
    NODE,
    POD,
    SERVICE,
    Kind,
    NotFound,
)
from ashore_broker_launcher.config import MANIFEST_KINDS, BrokerLauncherSettings
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.opening import LEASE_NAME
from tests.kube.adapter import adapter
from tests.kube.akri_samples import POD_BROKER, configuration
from tests.kube.api import Api, Object, RefusedError
from tests.kube.control_plane import ControlPlane
from tests.kube.manifests import FOLDER, NAMESPACE, OPTIONAL, PLACE, applied, deployed, documents, path_of
from tests.kube.users import token
from tests.launcher_kit import World, world

LAUNCHER = "ashore-broker-launcher"
SPEC = {"containers": [{"name": "one", "image": "none.example/none"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": SPEC}
JOB_SPEC = {"template": {"spec": {**SPEC, "restartPolicy": "Never"}}}
SPECS: dict[str, Object] = {
    "ConfigMap": {"data": {"a": "b"}},
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "Pod": {"spec": SPEC},
    "Deployment": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}},
    "StatefulSet": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "serviceName": "a", "template": TEMPLATE}},
    "Job": {"spec": JOB_SPEC},
    "CronJob": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": JOB_SPEC}}},
}


@pytest.fixture
async def api(bare: ControlPlane) -> AsyncIterator[Api]:
    """The admin of a cluster to which everything has been applied, without the webhook: no launcher runs."""
    async with deployed(bare) as found:
        yield found


@pytest.fixture
async def launcher(api: Api, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """The port, with the rights of the launcher."""
    access = api.access.as_user(await token(api, NAMESPACE, LAUNCHER))
    async with adapter(access, tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[Api]:
    """Whoever has got hold of the launcher's token."""
    async with Api(api.access.as_user(await token(api, NAMESPACE, LAUNCHER))) as found:
        yield found


async def test_every_manifest_applies_and_has_no_unknown_field(api: Api) -> None:
    found = list(documents(FOLDER))
    assert len(found) == 17
    for body in found:
        how = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict", "dryRun": "All"}
        await api.patch(path_of(body), body, "apply", **how)


async def test_the_overlay_of_the_manual_changes_manifests_that_there_are_into_manifests_that_apply(api: Api) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    overlay, bodies = yaml.safe_load(text), list(documents(FOLDER))
    for patch in overlay["patches"]:
        named = [one for one in bodies if patch["target"].items() <= {"kind": one["kind"], **one["metadata"]}.items()]
        assert named, patch["target"]
        operations = yaml.safe_load(patch["patch"])
        for body in named if isinstance(operations, list) else []:
            for operation in operations:
                add(body, *operation["path"].split("/")[1:], value=operation["value"])
            how = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict", "dryRun": "All"}
            await api.patch(path_of(body), body, "apply", **how)
    templates = [one["spec"]["template"] for one in bodies if one["kind"] in {"Deployment", "DaemonSet"}]
    images = {container["image"] for template in templates for container in template["spec"]["containers"]}
    assert {one["name"] for one in overlay["images"]} == images


def add(body: Any, first: str, *rest: str, value: object) -> None:
    """Add something at a place within this (RFC 6902)."""
    key = int(first) if first.isdigit() else first
    if rest:
        add(body[key], *rest, value=value)
    elif first == "-":
        body.append(value)
    else:
        body[key] = value


def test_every_file_is_part_of_the_kustomization() -> None:
    named = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    files = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml", "README.md"}
    assert files == {*named, OPTIONAL.name}


def test_settings_of_the_manifests_exist() -> None:
    [launcher] = [one for one in documents(FOLDER) if one["kind"] == "Deployment"]
    [container] = launcher["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one.get("value", "") for one in container["env"]}
    [shared] = [one for one in documents(FOLDER) if one["kind"] == "ConfigMap"]
    assert BrokerLauncherSettings.warnings({**given, **shared["data"]}) == []
    values = {name: value for name, value in given.items() if not name.endswith("_FILE")}
    settings = BrokerLauncherSettings.load({**values, "ASHORE_LEASE_NAMESPACE": NAMESPACE})
    assert settings.webhook_host == f"{LAUNCHER}.{NAMESPACE}.svc"


def test_agents_have_neither_rights_nor_a_token() -> None:
    bound = [one for one in documents(FOLDER) if one["kind"].endswith("Binding")]
    assert {subject["name"] for one in bound for subject in one["subjects"]} == {LAUNCHER}
    [agents] = [one for one in documents(FOLDER) if one["kind"] == "DaemonSet"]
    assert agents["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def an(kind: Kind, name: str = "one", namespace: str = PLACE, **more: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if kind.namespaced else {})}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **more}


async def test_the_launcher_sees_what_it_must(api: Api, launcher: KubernetesCluster) -> None:
    await api.create("/api/v1/nodes", {"metadata": {"name": "node-a"}})
    for kind in (CONFIGURATION, INSTANCE, POD, JOB, SERVICE, NODE, CONFIG_MAP):
        await launcher.list(kind)
        reflection = launcher.reflect(kind)
        running = asyncio.create_task(reflection.run(lambda _: None))
        await asyncio.wait_for(reflection.synced.wait(), 30)
        running.cancel()
    await ensure(launcher, install=False)
    await api.delete("/api/v1/nodes/node-a")


async def test_the_launcher_writes_instances_and_how_all_fares(api: Api, launcher: KubernetesCluster) -> None:
    path = f"/apis/akri.sh/v0/namespaces/{PLACE}/configurations"
    owner = await api.create(path, configuration("cams", "onvif", PLACE))
    reference = {"apiVersion": "akri.sh/v0", "kind": "Configuration", "name": "cams", "uid": owner["metadata"]["uid"]}
    reference |= {"controller": True, "blockOwnerDeletion": True}
    spec = {"configurationName": "cams", "cdiName": "akri.sh/cams=4294ea", "capacity": 1}
    instance = an(INSTANCE, "cams-4294ea", spec=spec)
    instance["metadata"]["ownerReferences"] = [reference]
    made = await launcher.create(INSTANCE, instance)
    await launcher.replace(INSTANCE, {**made, "spec": {**spec, "deviceUsage": {"cams-4294ea-0": "node-a"}}})
    await launcher.apply_status(INSTANCE, an(INSTANCE, "cams-4294ea", status={"phase": "Ready"}))
    await launcher.apply_status(CONFIGURATION, an(CONFIGURATION, "cams", status={"phase": "Active"}))
    involved = {"kind": "Configuration", "namespace": PLACE, "name": "cams"}
    await launcher.create(EVENT, an(EVENT, involvedObject=involved, reason="Test", type="Normal"))
    await launcher.delete(INSTANCE, PLACE, "cams-4294ea")
    await api.delete(f"{path}/cams")


async def test_a_launcher_at_work_needs_no_more_than_its_rights(
    api: Api, launcher: KubernetesCluster, nats_bus: NatsBus, tmp_path: Path
) -> None:
    async with adapter(api.access, tmp_path) as people, world(nats_bus, people, PLACE) as made:
        await made.configure()
        async with World(nats_bus, launcher, PLACE).launcher():
            await made.live()
            await made.see()
            await made.count(POD, 1)
            await made.see(properties={"A": "b"})
            [one] = await made.until(
                INSTANCE, lambda found: [one["spec"]["brokerProperties"] for one in found] == [{"A": "b"}]
            )
            wanted = Claim(namespace=PLACE, instance=one["metadata"]["name"], node="node-a", slot=0)
            answer = await nats_bus.request(subject(CLAIM, "site"), msgspec.json.encode(wanted), timeout=5)
            assert msgspec.json.decode(answer, type=ClaimAnswer).granted, answer
            await made.see(change="disappeared")
            await made.count(INSTANCE, 0)
            await made.count(POD, 0)
        await people.delete(CONFIGURATION, PLACE, "cams")


@pytest.mark.parametrize("name", MANIFEST_KINDS)
async def test_the_launcher_makes_each_kind_of_broker(launcher: KubernetesCluster, name: str) -> None:
    api_version, _, kind_name = name.rpartition("/")
    kind = await launcher.kind(api_version, kind_name)
    await launcher.check(kind, an(kind, **SPECS[kind.name]))
    with pytest.raises(NotFound):
        # It was for a trial.
        await launcher.get(kind, PLACE, "one")
    await launcher.apply(kind, an(kind, **SPECS[kind.name]))
    await launcher.get(kind, PLACE, "one")
    await launcher.delete(kind, PLACE, "one")


async def test_the_launcher_reads_what_a_broker_has_written(launcher: KubernetesCluster) -> None:
    await launcher.apply(POD, an(POD, "two", spec=SPEC))
    assert not await launcher.log(PLACE, "two")


async def test_the_launcher_leads_by_its_lease(launcher: KubernetesCluster) -> None:
    lease = await launcher.create(LEASE, an(LEASE, LEASE_NAME, NAMESPACE, spec={"holderIdentity": "one"}))
    await launcher.replace(LEASE, {**lease, "spec": {"holderIdentity": "two"}})
    assert (await launcher.get(LEASE, NAMESPACE, LEASE_NAME))["spec"]["holderIdentity"] == "two"


async def test_the_launcher_keeps_the_webhooks_certificate(
    api: Api, launcher: KubernetesCluster, tmp_path: Path
) -> None:
    [webhook] = [one for one in documents(FOLDER) if one["kind"] == WEBHOOKS.name]
    await applied(api, webhook)
    certificate = WebhookCertificate(launcher, tmp_path / "tls", namespace=NAMESPACE, hosts=[f"{LAUNCHER}.ashore.svc"])
    await certificate.keep()
    assert await certificate.announce()
    assert not await certificate.announce()
    stored = await launcher.get(WEBHOOKS, "", WEBHOOK_NAME)
    # To apply the manifest once more takes nothing away.
    await applied(api, webhook)
    assert (await launcher.get(WEBHOOKS, "", WEBHOOK_NAME))["webhooks"] == stored["webhooks"]
    with pytest.raises(RefusedError, match="failed calling webhook"):
        await api.create(f"/apis/akri.sh/v0/namespaces/{PLACE}/configurations", configuration("a", "onvif", PLACE))
    await api.delete(path_of(webhook))


SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
AKRI = f"/apis/akri.sh/v0/namespaces/{PLACE}/configurations"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
HOOKS = "/apis/admissionregistration.k8s.io/v1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/secrets"),
        ("GET", SECRETS),
        ("GET", f"{SECRETS}/ashore-nats"),
        ("GET", f"/api/v1/namespaces/{PLACE}/secrets/any"),
        ("POST", f"/api/v1/namespaces/{PLACE}/secrets"),
        ("DELETE", f"{SECRETS}/ashore-broker-launcher-webhook"),
        ("POST", f"{RBAC}/clusterroles"),
        ("POST", f"{RBAC}/namespaces/{NAMESPACE}/rolebindings"),
        ("PATCH", f"{RBAC}/clusterroles/{LAUNCHER}"),
        ("POST", AKRI),
        ("PATCH", f"{AKRI}/cams"),
        ("DELETE", f"{AKRI}/cams"),
        ("PATCH", f"{DEFINITIONS}/configurations.akri.sh"),
        ("GET", DEFINITIONS),
        ("GET", f"{HOOKS}/validatingwebhookconfigurations"),
        ("PUT", f"{HOOKS}/validatingwebhookconfigurations/another"),
        ("DELETE", f"{HOOKS}/validatingwebhookconfigurations/{LAUNCHER}"),
        ("POST", f"{HOOKS}/mutatingwebhookconfigurations"),
        ("PATCH", "/api/v1/nodes/node-a"),
        ("DELETE", "/api/v1/nodes/node-a"),
        ("PATCH", f"/api/v1/namespaces/{PLACE}/pods/one/status"),
        ("POST", f"/api/v1/namespaces/{PLACE}/pods/one/exec"),
        ("POST", f"/api/v1/namespaces/{PLACE}/serviceaccounts/default/token"),
        ("POST", "/api/v1/namespaces"),
        ("PUT", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/another"),
        ("POST", f"/apis/coordination.k8s.io/v1/namespaces/{PLACE}/leases"),
        ("POST", f"/apis/apps/v1/namespaces/{PLACE}/daemonsets"),
    ],
)
async def test_whoever_has_the_launchers_token_may_do_no_more(stranger: Api, method: str, path: str) -> None:
    with pytest.raises(RefusedError) as error:
        await stranger._ask(method, path, {}, {} if method != "GET" else None)
    # RBAC has the first word, whatever is asked.
    assert error.value.code == 403


async def test_an_agents_account_may_do_nothing(api: Api) -> None:
    async with Api(api.access.as_user(await token(api, NAMESPACE, "ashore-agent"))) as agent:
        for path in ("/api/v1/nodes", f"/api/v1/namespaces/{NAMESPACE}/pods", AKRI, SECRETS):
            with pytest.raises(RefusedError) as error:
                await agent.get(path)
            assert error.value.code == 403


async def test_a_broker_of_a_sample_passes_as_the_launcher_tries_it(launcher: KubernetesCluster) -> None:
    body = configuration("cams", "onvif", PLACE, brokerSpec=POD_BROKER)
    verdict = await try_broker(launcher, body)
    assert (verdict.problems, verdict.warnings) == ([], [])

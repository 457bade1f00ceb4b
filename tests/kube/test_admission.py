"""A real API server asks the real webhook, over TLS on loopback, by a certificate that the webhook has made."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from cryptography import x509

from ashore.bus.memory import MemoryBus
from ashore.http.health import Check
from ashore.http.server import bind
from ashore.service import Context
from ashore.supervise import Supervisor
from ashore.telemetry import Metrics
from ashore_broker_launcher.admission.certificate import (
    SECRET_NAME,
    WEBHOOK_NAME,
    WEBHOOKS,
    WebhookCertificate,
)
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.admission.serving import Webhook
from ashore_broker_launcher.admission.webhook import WebhookApi
from ashore_broker_launcher.app import build
from ashore_broker_launcher.cluster import ClusterError
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube.adapter import adapter
from tests.kube.akri_samples import BROKER, POD_BROKER, configuration, samples
from tests.kube.api import Api, RefusedError, until
from tests.kube.control_plane import Cluster as KubeCluster
from tests.kube.control_plane import ControlPlane

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
KINDS = ["v1/ConfigMap", "apps/v1/Deployment"]


@asynccontextmanager
async def webhook(cluster: KubernetesCluster, folder: Path, namespace: str, number: int = 0) -> AsyncIterator[int]:
    """A webhook as the launcher runs it; the port that it listens on."""
    listener = bind("127.0.0.1", number)
    certificate = WebhookCertificate(cluster, folder, namespace=namespace, hosts=["a.b.svc"])
    running = Webhook(WebhookApi(Rules(manifest_kinds=KINDS), cluster), certificate, listener)
    tasks = [asyncio.create_task(running.look_after()), asyncio.create_task(running.serve())]
    try:
        await until(lambda: passes(running.check), "the webhook has a certificate")
        yield listener.getsockname()[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def webhook_configuration(namespace: str, port: int) -> dict[str, Any]:
    """As deploy/kubernetes has it, with an address on loopback and for one namespace."""
    return {
        "apiVersion": WEBHOOKS.api_version,
        "kind": WEBHOOKS.name,
        "metadata": {"name": WEBHOOK_NAME},
        "webhooks": [
            {
                "name": "configurations.akri.sh",
                "clientConfig": {"url": f"https://127.0.0.1:{port}/validate"},
                "rules": [
                    {
                        "apiGroups": ["akri.sh"],
                        "apiVersions": ["v0"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["configurations"],
                        "scope": "Namespaced",
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


@pytest.fixture
async def cluster(kube_cluster: KubeCluster, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """The launcher's port, as the admin."""
    async with adapter(kube_cluster.access, tmp_path) as found:
        yield found


@pytest.fixture
async def akri(
    control_plane: ControlPlane, kube: Api, cluster: KubernetesCluster, kube_namespace: str, tmp_path: Path
) -> AsyncIterator[str]:
    """Have Configurations of a namespace pass through the webhook; their path."""
    await ensure(cluster, install=True)
    listener = bind("127.0.0.1", 0)
    number = listener.getsockname()[1]
    listener.close()
    await kube.create(HOOKS, webhook_configuration(kube_namespace, number))
    try:
        async with webhook(cluster, tmp_path / "webhook", kube_namespace, number):
            await until(lambda: is_told(kube), "the API server knows the authority")
            yield f"/apis/akri.sh/v0/namespaces/{kube_namespace}/configurations"
    finally:
        await kube.delete(f"{HOOKS}/{WEBHOOK_NAME}")


async def is_told(kube: Api) -> bool:
    stored = await kube.get(f"{HOOKS}/{WEBHOOK_NAME}")
    return bool(stored["webhooks"][0]["clientConfig"].get("caBundle"))


def space(akri: str) -> str:
    return akri.split("/")[-2]


async def works(kube: Api, akri: str) -> None:
    """An API server begins to use a changed webhook when it has heard of it."""
    probe = configuration("probe", "debugEcho", space(akri))
    await until(lambda: accepted(kube, akri, probe), "the API server reaches the webhook")
    wrong = configuration("probe", "debugEcho", space(akri))
    wrong["spec"]["discoveryHandler"]["discoveryDetails"] = "nonsense: 1"
    await until(lambda: denied(kube, akri, wrong), "the API server asks the webhook")


async def accepted(kube: Api, akri: str, body: dict[str, Any]) -> bool:
    try:
        await kube._ask("POST", akri, {"dryRun": "All"}, body)
    except RefusedError as error:
        if "failed calling webhook" not in str(error):
            raise
        return False
    return True


async def denied(kube: Api, akri: str, body: dict[str, Any]) -> bool:
    try:
        await kube._ask("POST", akri, {"dryRun": "All"}, body)
    except RefusedError as error:
        return "denied the request" in str(error)
    return False


async def refusal(kube: Api, akri: str, body: dict[str, Any]) -> str:
    with pytest.raises(RefusedError) as error:
        await kube.create(akri, body)
    assert "denied the request" in str(error.value)
    return str(error.value)


async def test_samples_of_akri_pass(kube: Api, akri: str) -> None:
    await works(kube, akri)
    for sample in samples(space(akri)):
        await kube.create(akri, sample)


async def test_the_handlers_details_are_checked(kube: Api, akri: str) -> None:
    await works(kube, akri)
    body = configuration("tty", "udev", space(akri))
    body["spec"]["discoveryHandler"]["discoveryDetails"] = "udevRules: ['KERNEL==\"tty*\"']\npermissions: rwx"
    said = await refusal(kube, akri, body)
    assert "Invalid udev discovery details device permissions" in said
    assert "discoveryDetails.permissions must be one of" in said


@pytest.mark.parametrize(
    ("pod", "says"),
    [
        ({"containers": [BROKER], "imagePullSecret": []}, 'unknown field \\"spec.brokerSpec.brokerPodSpec.imagePullSe'),
        (
            {"containers": [{**BROKER, "volumeMount": []}]},
            'unknown field \\"spec.brokerSpec.brokerPodSpec.containers[0',
        ),
        ({"containers": [{**BROKER, "image": 5}]}, "spec.brokerSpec.brokerPodSpec.containers.image of type string"),
        ({"containers": [{"name": "no image"}]}, "spec.brokerSpec.brokerPodSpec.containers[0].name: Invalid value"),
        ({"containers": [BROKER], "restartPolicy": "Sometimes"}, "spec.brokerSpec.brokerPodSpec.restartPolicy"),
    ],
)
async def test_the_api_server_itself_is_asked_about_the_broker(kube: Api, akri: str, pod: dict, says: str) -> None:
    await works(kube, akri)
    said = await refusal(kube, akri, configuration("cams", "onvif", space(akri), brokerSpec={"brokerPodSpec": pod}))
    assert says in said


async def test_fields_of_jobs_are_known_as_well(kube: Api, akri: str) -> None:
    await works(kube, akri)
    pod = {"containers": [{"name": "broker", "image": "none.example/none"}], "restartPolicy": "Always"}
    job = {"backoffLimit": 1, "template": {"spec": pod}}
    said = await refusal(kube, akri, configuration("cams", "onvif", space(akri), brokerSpec={"brokerJobSpec": job}))
    assert "spec.brokerSpec.brokerJobSpec.template.spec.restartPolicy" in said


async def test_fields_of_services_are_known_as_well_and_ports_that_are_taken_are_no_mistake(
    kube: Api, akri: str
) -> None:
    await works(kube, akri)
    service = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 31234}]}
    body = configuration("cams", "onvif", space(akri), instanceServiceSpec={**service, "selektor": {}})
    assert 'unknown field \\"spec.instanceServiceSpec.selektor' in await refusal(kube, akri, body)
    taken = {"metadata": {"name": "taken"}, "spec": service}
    await kube.create(f"/api/v1/namespaces/{space(akri)}/services", taken)
    await kube.create(akri, configuration("cams", "onvif", space(akri), instanceServiceSpec=service))


async def test_what_may_be_there_tomorrow_is_a_warning(kube: Api, akri: str) -> None:
    await works(kube, akri)
    pod = {"containers": [BROKER], "serviceAccountName": "later"}
    body = configuration("cams", "home-made", space(akri), brokerSpec={"brokerPodSpec": pod})
    answer = await kube._client.post(akri, json=body)
    assert answer.status_code == 201
    warnings = " ".join(answer.headers.get_list("warning"))
    assert "ashore has no handler 'home-made'" in warnings
    assert "its broker could not be started now" in warnings


async def test_an_object_from_before_the_webhook_can_be_labelled_and_deleted(
    kube: Api, akri: str, kube_namespace: str
) -> None:
    await works(kube, akri)
    body = configuration("old", "udev", kube_namespace, brokerSpec=POD_BROKER)
    await kube.create(akri, body)
    # As if it had come in without the webhook: a rule of ours that it does not fulfil.
    scope = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    stored = await kube.get(f"{HOOKS}/{WEBHOOK_NAME}")
    stored["webhooks"][0] |= scope
    await kube._ask("PUT", f"{HOOKS}/{WEBHOOK_NAME}", {}, stored)
    wrong = {"spec": {"discoveryHandler": {"discoveryDetails": "nonsense: 1"}}}
    await until(lambda: done(kube.patch(f"{akri}/old", wrong)), "the webhook is out of the way")
    stored = await kube.get(f"{HOOKS}/{WEBHOOK_NAME}")
    stored["webhooks"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] = kube_namespace
    await kube._ask("PUT", f"{HOOKS}/{WEBHOOK_NAME}", {}, stored)
    await works(kube, akri)
    await kube.patch(f"{akri}/old", {"metadata": {"labels": {"a": "b"}, "finalizers": ["ashore.test/one"]}})
    await kube.delete(f"{akri}/old")
    await kube.patch(f"{akri}/old", {"metadata": {"finalizers": []}})
    assert not await kube.there(f"{akri}/old")


async def done(asking: Any) -> bool:
    try:
        await asking
    except RefusedError:
        return False
    return True


async def test_replicas_share_one_certificate_that_the_secret_keeps(
    kube: Api, cluster: KubernetesCluster, kube_namespace: str, tmp_path: Path
) -> None:
    made = [
        WebhookCertificate(cluster, tmp_path / name, namespace=kube_namespace, hosts=["a.b.svc"])
        for name in ("one", "two")
    ]
    await asyncio.gather(*(one.keep() for one in made))
    assert (tmp_path / "one/webhook.pem").read_bytes() == (tmp_path / "two/webhook.pem").read_bytes()
    secret = await kube.get(f"/api/v1/namespaces/{kube_namespace}/secrets/{SECRET_NAME}")
    assert base64.b64decode(secret["data"]["webhook.pem"]) == (tmp_path / "one/webhook.pem").read_bytes()
    assert not await made[0].keep()


async def test_a_certificate_is_renewed_while_the_server_runs(
    cluster: KubernetesCluster, kube_namespace: str, tmp_path: Path
) -> None:
    now = [datetime.now(UTC) - timedelta(days=300)]
    certificate = WebhookCertificate(
        cluster, tmp_path, namespace=kube_namespace, hosts=["a.b.svc"], clock=lambda: now[0]
    )
    await certificate.keep()
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=certificate.context)
    async with server:
        before = await shown(server, tmp_path)
        now[0] += timedelta(days=300)
        assert await certificate.keep()
        after = await shown(server, tmp_path)
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert after.issuer == before.issuer
    assert "a.b.svc" in after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    )


async def shown(server: asyncio.Server, folder: Path) -> x509.Certificate:
    context = ssl.create_default_context(cadata=(folder / "ca.pem").read_text())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    address = server.sockets[0].getsockname()
    _, writer = await asyncio.open_connection(*address[:2], ssl=context, server_hostname="localhost")
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der)


async def test_a_damaged_secret_is_told_and_made_anew_when_it_is_gone(
    kube: Api, cluster: KubernetesCluster, kube_namespace: str, tmp_path: Path
) -> None:
    certificate = WebhookCertificate(cluster, tmp_path, namespace=kube_namespace, hosts=["a.b.svc"])
    path = f"/api/v1/namespaces/{kube_namespace}/secrets"
    damaged = {"metadata": {"name": SECRET_NAME}, "data": {"ca.pem": base64.b64encode(b"nonsense").decode()}}
    await kube.create(path, damaged)
    with pytest.raises(ClusterError, match="holds no usable authority: delete it"):
        await certificate.keep()
    await kube.delete(f"{path}/{SECRET_NAME}")
    assert await certificate.keep()


async def test_nobody_is_served_without_tls(cluster: KubernetesCluster, kube_namespace: str, tmp_path: Path) -> None:
    async with webhook(cluster, tmp_path, kube_namespace) as port, httpx.AsyncClient() as client:
        with pytest.raises(httpx.HTTPError):
            await client.post(f"http://127.0.0.1:{port}/validate", content=b"{}")


async def test_the_launcher_as_a_whole_waits_for_its_definitions_and_answers(
    bare: ControlPlane, tmp_path: Path
) -> None:
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    environment = {
        "ASHORE_DATA_DIR": str(tmp_path / "data"),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_LAUNCHER": "kubernetes",
        "ASHORE_KUBECONFIG": str(bare.access.write(tmp_path / "kubeconfig")),
        "ASHORE_WEBHOOK_PORT": str(port),
        "ASHORE_WEBHOOK_HOST": "launcher.default.svc",
    }
    settings, metrics = BrokerLauncherSettings.load(environment), Metrics()
    context = Context(settings=settings, bus=MemoryBus(), replica="one", metrics=metrics, log=structlog.get_logger())
    async with build(context) as app:
        supervisor = Supervisor(metrics)
        for task in app.tasks:
            supervisor.start(task)
        try:
            await until(lambda: passes(app.checks["webhook"]), "the webhook has a certificate")
            with pytest.raises(ClusterError, match="does not know configurations"):
                await until(lambda: told(app.checks["cluster"]), "the launcher misses its definitions")
            trust = ssl.create_default_context(cafile=str(tmp_path / "data/webhook/ca.pem"))
            async with httpx.AsyncClient(verify=trust) as client:
                answer = await client.post(f"https://127.0.0.1:{port}/validate", content=b"{}")
            assert answer.status_code == 400
            async with adapter(bare.access, tmp_path) as cluster:
                await ensure(cluster, install=True)
            await until(lambda: passes(app.checks["cluster"]), "the launcher has its definitions")
        finally:
            await supervisor.stop()


async def passes(check: Check) -> bool:
    try:
        await check()
    except Exception:  # noqa: BLE001 - whatever is said, it is not ready
        return False
    return True


async def told(check: Check) -> None:
    """Raise what the check says once it is more than that nothing has been looked at."""
    try:
        await check()
    except ClusterError as error:
        if "asked yet" not in str(error):
            raise

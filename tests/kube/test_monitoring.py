"""The PodMonitors of deploy/kubernetes: whom they ask is there, and answers with its numbers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore.config import Settings
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_device_plugin.config import DevicePluginSettings
from ashore_discovery.config import DiscoverySettings
from tests.kube.api import Api, Object
from tests.kube.control_plane import ControlPlane, free_ports
from tests.kube.manifests import FOLDER, NAMESPACE, OPTIONAL, deployed, documents
from tests.kube.processes import Program
from tests.kube.users import token

TEMPLATES = [one["spec"]["template"] for one in documents(FOLDER) if one["kind"] in {"Deployment", "DaemonSet"}]
MONITORS = list(documents(OPTIONAL))
SETTINGS: dict[str, type[Settings]] = {
    "broker-launcher": BrokerLauncherSettings,
    "discovery": DiscoverySettings,
    "device-plugin": DevicePluginSettings,
}
NUMBERS = {
    "broker-launcher": "ashore_instance_seconds",
    "discovery": "ashore_discovery_devices",
    "device-plugin": "ashore_device_plugin_resources",
}


@pytest.fixture
async def api(bare: ControlPlane) -> AsyncIterator[Api]:
    """Apply everything to a cluster."""
    async with deployed(bare) as found:
        yield found


def chosen(monitor: Object) -> list[Object]:
    """The pod templates whose pods a monitor watches."""
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    return [one for one in TEMPLATES if wanted <= one["metadata"]["labels"].items()]


class Watched(NamedTuple):
    """A container that a monitor asks, and where it does."""

    container: Object
    port: int
    path: str


def watched(monitor: Object) -> Iterator[Watched]:
    """All that a monitor asks."""
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        for container in (one for template in chosen(monitor) for one in template["spec"]["containers"]):
            ports = [port["containerPort"] for port in container["ports"] if port["name"] == endpoint["port"]]
            yield from (Watched(container, port, endpoint["path"]) for port in ports)


WATCHED = [one for monitor in MONITORS for one in watched(monitor)]


def test_every_container_is_watched_at_one_port_and_every_endpoint_is_one() -> None:
    containers = [one["name"] for template in TEMPLATES for one in template["spec"]["containers"]]
    assert sorted(one.container["name"] for one in WATCHED) == sorted(containers)
    assert sum(len(one["spec"]["podMetricsEndpoints"]) for one in MONITORS) == len(WATCHED)
    assert {one["metadata"]["namespace"] for one in MONITORS} == {NAMESPACE}


def environment(container: Object) -> dict[str, str]:
    """What the manifests tell it, but for what stands in Secrets or in fields of the Pod."""
    [shared] = [one["data"] for one in documents(FOLDER) if one["kind"] == "ConfigMap"]
    own = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    return {name: value for name, value in {**shared, **own}.items() if not name.endswith("_FILE")}


@contextmanager
def running(container: Object, url: str, server: EmbeddedServer, folder: Path, **more: str) -> Iterator[Program]:
    """The service of a container as its image runs it, with the bus of the tests, and folders of its own."""
    environ = {
        **environment(container),
        "PATH": os.environ["PATH"],
        "ASHORE_NODE": "n1",
        "ASHORE_DATA_DIR": str(folder / "data"),
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file(container["name"])),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": url.rpartition(":")[2],
        **more,
    }
    told = [f"{name}={value}" for name, value in environ.items()]
    module = container["image"].replace("-", "_")
    command = ["env", "--ignore-environment", *told, sys.executable, "-m", module]
    program = Program(container["name"], command, folder / "log")
    program.start()
    try:
        yield program
    finally:
        program.stop()


@pytest.mark.parametrize("who", WATCHED, ids=[one.container["name"] for one in WATCHED])
async def test_each_that_is_watched_answers_with_its_numbers_at_that_port(
    api: Api, nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, who: Watched
) -> None:
    name = who.container["name"]
    assert SETTINGS[name].load(environment(who.container)).port == who.port
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    access = api.access.as_user(await token(api, NAMESPACE, "ashore-broker-launcher"))
    folders = {
        "broker-launcher": {
            "ASHORE_KUBECONFIG": str(access.write(tmp_path / "kubeconfig")),
            "ASHORE_LEASE_NAMESPACE": NAMESPACE,
            "ASHORE_WEBHOOK_PORT": "0",
        },
        "discovery": {"ASHORE_SECRETS_DIR": str(tmp_path)},
        "device-plugin": {
            "ASHORE_KUBELET_DIR": str(tmp_path),
            "ASHORE_POD_RESOURCES_SOCKET": str(tmp_path / "pod-resources.sock"),
        },
    }
    with running(who.container, url, nats_server, tmp_path, **folders[name]) as program:
        text = await numbers(program, url + who.path)
    assert any(line.startswith(NUMBERS[name]) for line in text.splitlines()), text


async def numbers(program: Program, url: str) -> str:
    """What it answers, once it listens."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            assert program.pid, program.said()
            try:
                answer = await client.get(url)
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
                continue
            assert answer.status_code == httpx.codes.OK, answer.text
            return answer.text

"""compose.yaml as users run it: built, started, a device brought ashore, scaled, and taken down again.

It builds images and needs a Docker Engine, so it runs only when asked: ASHORE_TEST_COMPOSE=1. ASHORE_COMPOSE names the
command where it is not `docker compose`, and ASHORE_BUILD_CA the PEM bundle of a network with its own authority.
`tests/e2e/compose/` has what a bare machine needs.
"""

import json
import os
import re
import secrets
import shlex
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.environ.get("ASHORE_TEST_COMPOSE") != "1",
        reason="it builds images and needs a Docker Engine: set ASHORE_TEST_COMPOSE=1",
    ),
]

_ROOT = Path(__file__).parents[2]
# Another address of loopback, so that whatever runs on this machine already keeps its ports.
_ADDRESS = "127.0.8.39"


class Project:
    """The containers of compose.yaml, under a name of their own."""

    def __init__(self) -> None:
        files = ["compose.yaml", *(["tests/e2e/compose/own-ca.yaml"] if os.environ.get("ASHORE_BUILD_CA") else [])]
        self.settings = {"ASHORE_BIND": _ADDRESS, "ASHORE_BUS_BIND": _ADDRESS}
        self._command = [
            *shlex.split(os.environ.get("ASHORE_COMPOSE", "docker compose")),
            "--ansi=never",
            "--progress=plain",
            f"--project-name=ashore-test-{secrets.token_hex(3)}",
            *(f"--file={_ROOT / file}" for file in files),
        ]

    def run(self, *arguments: str) -> str:
        """Run a command of compose; what it prints is the answer."""
        done = subprocess.run(
            [*self._command, *arguments],
            env={**os.environ, **self.settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"compose {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, *arguments: str) -> None:
        """Start everything and wait until it is healthy."""
        try:
            self.run("up", "--detach", "--wait", *arguments)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.run('logs', '--no-color')}") from None

    def states(self) -> dict[str, str]:
        """The health of every container that runs, by its name."""
        lines = self.run("ps", "--format=json").splitlines()
        return {(each := json.loads(line))["Name"]: each["Health"] for line in lines}

    def bring_a_device_ashore(self) -> str:
        """Run the service `device`; what it tells of its way."""
        return self.run("run", "--rm", "device")

    def close(self) -> None:
        """Take everything down."""
        self.run("--profile=tools", "down", "--volumes", "--remove-orphans", "--timeout=20")


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    project = Project()
    try:
        project.run("build")
        project.start()
        yield project
    finally:
        project.close()


def test_every_service_is_healthy(project: Project) -> None:
    states = project.states()
    assert len(states) == 6, states
    assert set(states.values()) == {"healthy"}


def test_a_device_comes_ashore(project: Project) -> None:
    assert '"state": "onboarded"' in project.bring_a_device_ashore()
    told = project.run("run", "--rm", "cli", "events", "--since", "1h")
    facts = ("voucher-issued", "voucher-extended", "owner-registered", "device-redirected", "device-onboarded")
    places = [told.index(f'"subject":"{fact}.') for fact in facts]
    assert places == sorted(places), told


def test_the_agent_sees_its_words_and_its_image_holds_nothing_that_it_does_not_need(project: Project) -> None:
    found = json.loads(project.run("run", "--rm", "cli", "discovery", "list", "-o", "json"))
    assert {"lighthouse", "buoy"} <= {one["facts"].get("description") for one in found}
    packages = project.run("exec", "-T", "discovery", "ls", "/opt/ashore/lib/python3.11/site-packages")
    assert not re.search(r"^(aiohttp|sqlalchemy|cryptography|starlette|httpx)$", packages, re.MULTILINE), packages


def test_a_device_becomes_an_instance_and_the_pod_that_a_cluster_would_get_is_shown(project: Project) -> None:
    [instance] = json.loads(project.run("run", "--rm", "cli", "instance", "list", "-o", "json"))
    assert (instance["configuration"], instance["nodes"]) == ("lights", ["compose"])
    [pod] = json.loads(project.run("run", "--rm", "cli", "workload", "manifests", "--kind", "Pod", "-o", "json"))
    assert pod["metadata"]["labels"]["akri.sh/instance"] == instance["name"]


def test_no_container_can_write_outside_its_volume(project: Project) -> None:
    for service in ("manufacturer", "rendezvous", "owner"):
        seen = project.run("exec", "-T", service, "sh", "-c", "id -u; touch /x /opt/ashore/x 2>&1; ls /data /data/keys")
        assert seen.startswith("10001\n")
        assert seen.count("Read-only file system") == 2
        others = {"manufacturer", "owner"} - {service}
        assert not any(re.search(rf"^{other}-", seen, re.MULTILINE) for other in others), seen


def test_devices_come_ashore_over_two_replicas_of_the_rendezvous(project: Project) -> None:
    project.start("--scale", "rendezvous=2")
    assert len(project.states()) == 7
    for _ in range(5):
        assert '"state": "onboarded"' in project.bring_a_device_ashore()
    for port in (8040, 8041):
        assert _onboarding_messages(port) > 0


@pytest.mark.parametrize("port", [4222, 8883])
def test_nats_and_mqtt_speak_tls_with_a_certificate_of_the_first_start(project: Project, port: int) -> None:
    authority = project.run("exec", "-T", "owner", "cat", "/data/ca.pem")
    assert _greeted(port, ssl.create_default_context(cadata=authority)) in ("TLSv1.2", "TLSv1.3")
    with pytest.raises(ssl.SSLCertVerificationError):
        _greeted(port, ssl.create_default_context())


def _greeted(port: int, context: ssl.SSLContext) -> str | None:
    """The version of TLS that NATS speaks with a client."""
    with socket.create_connection((_ADDRESS, port), 10) as plain:
        if port == 4222:
            assert json.loads(plain.recv(65_536).removeprefix(b"INFO "))["tls_required"] is True
        with context.wrap_socket(plain, server_hostname="nats") as secure:
            return secure.version()


def test_private_keys_are_where_they_are_needed_and_nowhere_else(project: Project) -> None:
    for service in ("manufacturer", "rendezvous", "owner", "nats"):
        seen = project.run("exec", "-T", service, "sh", "-c", "cd /data && ls -l tls.pem && grep -rl 'PRIVATE KEY' .")
        assert seen.startswith("-rw------- ")
        # The authority's own key stays in the volume that only `init` sees.
        assert "ca.pem" not in seen


def test_services_speak_tls_where_it_is_asked_for(project: Project) -> None:
    project.settings["ASHORE_TLS"] = "on"
    try:
        project.start()
        assert set(project.states().values()) == {"healthy"}
        assert '"state": "onboarded"' in project.bring_a_device_ashore()
        doctor = project.run("run", "--rm", "cli", "doctor", "-o", "json")
        assert sum("TLS certificate for" in each["text"] for each in json.loads(doctor)) == 5
        url = f"https://{_ADDRESS}:8042/healthz"
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url, timeout=10)
    finally:
        del project.settings["ASHORE_TLS"]


def _onboarding_messages(port: int) -> float:
    """How many messages of TO1 a replica of the rendezvous has answered."""
    with urllib.request.urlopen(f"http://{_ADDRESS}:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counted = re.compile(r'ashore_fdo_messages_total\{.*protocol="to1",result="ok"\} (\S+)')
    return sum(float(found[1]) for line in lines if (found := counted.fullmatch(line)))

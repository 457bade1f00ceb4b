"""A k3s server in a container, for the length of a test run: an API server, controllers and scheduler in one process.

It runs without its agent: there is no node, no kubelet and nothing that k3s installs by itself, since
`tests.kube.kubelet` plays the nodes. Such a server needs no privileges, which testcontainers' own class for k3s would
give it; that one also waits for a node. Where the tests are killed, testcontainers' second container, Ryuk, ends it.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from docker.errors import DockerException, NotFound
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from tests.kube.api import Access, from_kubeconfig
from tests.kube.binaries import ToolMissingError, release
from tests.kube.control_plane import answers
from tests.kube.images import lacking

IMAGE: Final = f"rancher/k3s:{release()}-k3s1"
_PORT: Final = 6443
_LOOPBACK: Final = {"localhost", "127.0.0.1"}
_CONFIG: Final = "/etc/rancher/k3s/k3s.yaml"
_SERVER: Final = (
    "server",
    "--disable-agent",
    "--disable=traefik,servicelb,metrics-server,local-storage,coredns",
    # Where it is on, the scheduler waits until it has welcomed a node of its own.
    "--disable-cloud-controller",
    "--disable-helm-controller",
    "--disable-network-policy",
    "--flannel-backend=none",
    # Nobody is at the other end of tunnels to nodes.
    "--egress-selector-mode=disabled",
    "--kube-controller-manager-arg=node-monitor-grace-period=15s",
)
# Together they fit into the time that one test has, the first.
_PULL_SECONDS: Final = 40.0
_READY_SECONDS: Final = 50.0
_ASK_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.3


class K3s:
    """A cluster within a block; raise ToolMissingError where it cannot be, in good time, and leave nothing behind."""

    access: Access

    def __init__(self, folder: Path, image: str = IMAGE) -> None:
        self._folder = folder
        self._image = image
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        reason = lacking(self._needed(), os.environ, _PULL_SECONDS)
        if reason:
            raise ToolMissingError(reason)
        try:
            self._begin()
        except (DockerException, OSError, RuntimeError) as error:
            raise ToolMissingError(f"{self._image} did not start: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def run_controllers(self) -> str:
        """It runs them always."""
        return ""

    def run_scheduler(self) -> str:
        """It runs it always."""
        return ""

    def _needed(self) -> list[str]:
        settings = testcontainers_config
        wanted = [self._image] if settings.ryuk_disabled else [self._image, settings.ryuk_image]
        return [f"{settings.hub_image_name_prefix}{one}" for one in wanted]

    def _begin(self) -> None:
        with ExitStack() as undo:
            container = DockerContainer(self._image, {"timeout": _ASK_SECONDS})
            undo.callback(container.stop)
            client = container.get_docker_client()
            container.with_command([*_SERVER, f"--tls-san={client.host()}"])
            near = client.host() in _LOOPBACK and client.get_connection_mode() is ConnectionMode.docker_host
            # An engine on this machine shows it to nobody else; of another one's addresses nothing is known.
            container.ports[str(_PORT)] = ("127.0.0.1",) if near else None
            container.start()
            self._wait(container)
            self._ending = undo.pop_all()

    def _wait(self, container: DockerContainer) -> None:
        end = time.monotonic() + _READY_SECONDS
        while not (self._runs(container) and self._ready(container)):
            if time.monotonic() > end:
                raise RuntimeError(f"it is not ready after {_READY_SECONDS:.0f} s, and says {self._said(container)}")
            time.sleep(_POLL_SECONDS)

    def _runs(self, container: DockerContainer) -> bool:
        container.reload()
        if container.status != "running":
            raise RuntimeError(f"it ended, and said {self._said(container)}")
        return True

    def _ready(self, container: DockerContainer) -> bool:
        config = self._folder / "k3s.yaml"
        config.touch(mode=0o600)
        try:
            container.copy_from_container(_CONFIG, config)
        except NotFound:
            return False
        if not config.stat().st_size:
            return False
        url = f"https://{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}"
        self.access = from_kubeconfig(config)._replace(url=url)
        return answers(f"{url}/readyz", self.access)

    def _said(self, container: DockerContainer) -> str:
        log = self._folder / "k3s.log"
        log.write_bytes(b"".join(container.get_logs()))
        lines = log.read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "nothing")
        return f"{last!r} (more in {log})"

"""A real control plane on loopback, for the length of a test run: etcd, kube-apiserver and, when asked, the rest.

`ControlPlane` starts them on free ports with data of their own, can kill and restart the API server under a test's feet
(same port, same data), and ends everything by process id; what it started also dies with whoever started it. What each
said is in its folder, and is shown where one does not start. `Given` is the cluster that KUBECONFIG names. Another
`Cluster` is in `tests.kube.k3s`.

There is no kubelet: `tests.kube.kubelet` plays nodes and what happens to Pods.
"""

import shutil
import socket
import ssl
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol, Self

from tests.kube import keys
from tests.kube.api import Access
from tests.kube.binaries import Binaries
from tests.kube.processes import Program

ADMIN: Final = "token-of-the-admin-of-a-test"
_CONTROLLERS: Final = (
    "cronjob-controller,daemonset-controller,deployment-controller,endpoints-controller,endpointslice-controller,"
    "garbage-collector-controller,job-controller,namespace-controller,node-lifecycle-controller,"
    "pod-garbage-collector-controller,replicaset-controller,root-ca-certificate-publisher-controller,"
    "serviceaccount-controller,statefulset-controller,taint-eviction-controller,ttl-after-finished-controller"
)


class Cluster(Protocol):
    """A cluster for tests, whoever runs it."""

    access: Access
    """As its admin."""

    def run_controllers(self) -> str:
        """Have garbage collected, Jobs run and so on; the answer is why that cannot be."""
        ...

    def run_scheduler(self) -> str:
        """Have Pods bound to nodes; the answer is why that cannot be."""
        ...


class Given:
    """A cluster that was there before, and that nobody here starts or stops."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def run_controllers(self) -> str:
        """It has its own."""
        return ""

    def run_scheduler(self) -> str:
        """It has its own."""
        return ""


class ControlPlane:
    """etcd and an API server within a block; controllers and scheduler from when they are first wanted."""

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        self.binaries, self._folder = binaries, folder
        self._port, client, peer = free_ports(3)
        self.etcd_url = f"http://127.0.0.1:{client}"
        self.etcd = Program("etcd", self._etcd(f"http://127.0.0.1:{peer}"), folder / "etcd.log")
        self.apiserver = Program("kube-apiserver", self._apiserver(), folder / "kube-apiserver.log")
        self.controllers: Program | None = None
        self.scheduler: Program | None = None
        self._ending = ExitStack()

    @property
    def access(self) -> Access:
        """As its admin."""
        return Access(f"https://127.0.0.1:{self._port}", (self._folder / "apiserver.crt").read_text(), ADMIN)

    @property
    def clients_authority(self) -> Path:
        """Who certifies the API server's name to kubelets."""
        return self._folder / "client-ca.crt"

    @property
    def access_by_certificate(self) -> Access:
        """As another admin, who has no token."""
        return self.access._replace(token="", certificate=(self._folder / "client.pem").read_text())

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._write_keys()
            undo.callback(self.etcd.kill)
            self.etcd.start()
            self.etcd.wait(lambda: answers(f"{self.etcd_url}/health"))
            undo.callback(self.apiserver.stop)
            self.start_apiserver()
            self._ending = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()
        shutil.rmtree(self._folder / "etcd", ignore_errors=True)

    def start_apiserver(self) -> None:
        """Start it, the first time or again, and wait until it is ready."""
        self.apiserver.start()
        self.apiserver.wait(self._ready)

    def run_controllers(self) -> str:
        """Start kube-controller-manager, once."""
        if self.binaries.controllers is None:
            return "KUBEBUILDER_ASSETS holds no kube-controller-manager"
        if self.controllers is None:
            key = f"--service-account-private-key-file={self._folder / 'sa.key'}"
            authority = f"--root-ca-file={self._folder / 'apiserver.crt'}"
            more = [key, authority, f"--controllers={_CONTROLLERS}", "--node-monitor-grace-period=15s"]
            self.controllers = self._client(self.binaries.controllers, more)
        return ""

    def run_scheduler(self) -> str:
        """Start kube-scheduler, once."""
        if self.binaries.scheduler is None:
            return "KUBEBUILDER_ASSETS holds no kube-scheduler"
        if self.scheduler is None:
            self.scheduler = self._client(self.binaries.scheduler, [])
        return ""

    def restart_controllers(self) -> None:
        """Have them look at all kinds at once: else they see a new custom resource within half a minute."""
        assert self.controllers is not None
        self.controllers.stop()
        self.controllers.start()

    def _client(self, program: Path, more: list[str]) -> Program:
        config = self.access.write(self._folder / "admin.kubeconfig")
        command = [str(program), f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0", *more]
        started = Program(program.name, command, self._folder / f"{program.name}.log")
        self._ending.callback(started.stop)
        started.start()
        return started

    def _ready(self) -> bool:
        certificate = self._folder / "apiserver.crt"
        return certificate.exists() and answers(f"{self.access.url}/readyz", self.access)

    def _write_keys(self) -> None:
        keys.write_token_key(self._folder)
        keys.write_client_certificates(self._folder)
        (self._folder / "tokens.csv").write_text(f'{ADMIN},admin,admin,"system:masters"\n')

    def _etcd(self, peer: str) -> list[str]:
        own = ["--advertise-client-urls", self.etcd_url, "--listen-client-urls", self.etcd_url]
        peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        # A test's data need not outlive a power cut.
        more = ["--initial-cluster", f"default={peer}", "--data-dir", str(self._folder / "etcd"), "--unsafe-no-fsync"]
        return [str(self.binaries.etcd), *own, *peers, *more]

    def _apiserver(self) -> list[str]:
        folder = self._folder
        return [
            str(self.binaries.apiserver),
            f"--etcd-servers={self.etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={folder}",
            f"--client-ca-file={folder / 'client-ca.crt'}",
            # By this it asks kubelets for logs.
            f"--kubelet-client-certificate={folder / 'client.pem'}",
            f"--kubelet-client-key={folder / 'client.pem'}",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--api-audiences=api",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--service-cluster-ip-range=10.96.0.0/24",
        ]


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nobody has now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def answers(url: str, access: Access | None = None) -> bool:
    """Whether somebody is there, and well."""
    headers = {"Authorization": f"Bearer {access.token}"} if access and access.token else {}
    context = access.verified() if access else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5, context=context) as answer:
            return bool(answer.status == 200)
    except (OSError, ssl.SSLError):
        return False

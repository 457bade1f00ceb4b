"""go-fdo-server, unmodified, in its three roles on loopback: what the tests need to drive it."""

import asyncio
import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests import fdo_kit as kit

PEM = "application/x-pem-file"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(folder: Path, name: str, kind: str) -> None:
    """A key in DER and its self-signed certificate in PEM, as the server's guide makes them with openssl."""
    key = kit.private_key(kind)
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(encoded)
    der = kit.certificate(name, key.public_key(), name, key)
    (folder / f"{name}.crt").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


class GoServers:
    """Manufacturer, rendezvous and owner as three processes; end them with `stop`."""

    def __init__(self, binary: str, folder: Path, kind: str, fsims: Sequence[object] = (), *, reuse: bool = False):
        self._binary, self._folder = binary, folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.ports = {role: free_port() for role in ("manufacturing", "rendezvous", "owner")}
        for name in ("manufacturer", "owner", "device_ca"):
            make_key(folder, name, kind)
        config = {
            "db": {"type": "sqlite", "dsn": f"file:{folder}/owner.db"},
            "http": {"ip": "127.0.0.1", "port": str(self.ports["owner"])},
            "device_ca": {"cert": str(folder / "device_ca.crt")},
            "owner": {
                "key": str(folder / "owner.key"),
                "reuse_credentials": reuse,
                "service_info": {"fsims": list(fsims)},
            },
        }
        # JSON is YAML too.
        (folder / "owner.yaml").write_text(json.dumps(config))

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    async def start(self) -> None:
        self._run(
            "manufacturing",
            f"--manufacturing-key={self._folder}/manufacturer.key",
            f"--owner-cert={self._folder}/owner.crt",
            f"--device-ca-cert={self._folder}/device_ca.crt",
            f"--device-ca-key={self._folder}/device_ca.key",
        )
        self._run("rendezvous")
        self._run("owner", f"--config={self._folder}/owner.yaml")
        for role in self.ports:
            await self._healthy(role)
        await self._connect()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)

    def log(self, role: str) -> str:
        return (self._folder / f"{role}.log").read_text()

    async def sell(self, guid: str) -> None:
        """Carry a voucher from the manufacturer, who extended it, to the owner."""
        voucher = await self.call("GET", "manufacturing", f"/api/v1/vouchers/{guid}")
        await self.call("POST", "owner", "/api/v1/owner/vouchers", voucher, PEM)

    async def devices(self) -> list[dict[str, object]]:
        return json.loads(await self.call("GET", "owner", "/api/v1/owner/devices"))

    async def call(
        self, method: str, role: str, path: str, body: bytes | None = None, kind: str = "text/plain"
    ) -> bytes:
        """One management call; the server answers 429 above a few per second."""
        request = urllib.request.Request(self.url(role) + path, body, {"Content-Type": kind}, method=method)
        for _ in range(100):
            try:
                return await asyncio.to_thread(_read, request)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 429:
                        raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from error
                await asyncio.sleep(0.3)
        raise AssertionError(f"{method} {path}: too many requests")

    def _run(self, role: str, *arguments: str) -> None:
        command = [self._binary, role, f"127.0.0.1:{self.ports[role]}", "--log-level=debug", *arguments]
        if role != "owner":
            command += ["--db-type", "sqlite", "--db-dsn", f"file:{self._folder}/{role}.db"]
        with (self._folder / f"{role}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder))

    async def _healthy(self, role: str) -> None:
        for _ in range(200):
            try:
                await self.call("GET", role, "/health")
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return
        raise AssertionError(f"{role} did not start: {self.log(role)}")

    async def _connect(self) -> None:
        rendezvous = {
            "dns": "localhost",
            "ip": "127.0.0.1",
            "device_port": str(self.ports["rendezvous"]),
            "owner_port": str(self.ports["rendezvous"]),
            "protocol": "http",
            "delay_seconds": 2,
        }
        await self.call(
            "POST", "manufacturing", "/api/v1/rvinfo", json.dumps([rendezvous]).encode(), "application/json"
        )
        await self.call("POST", "rendezvous", "/api/v1/device-ca", (self._folder / "device_ca.crt").read_bytes(), PEM)
        address = {"dns": "localhost", "ip": "127.0.0.1", "port": str(self.ports["owner"]), "protocol": "http"}
        await self.call("POST", "owner", "/api/v1/owner/redirect", json.dumps([address]).encode())


def _read(request: urllib.request.Request) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
        return answer.read()

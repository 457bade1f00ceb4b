"""go-fdo-server, unmodified, as its users run it: three roles, SQLite by default.

ASHORE_GO_FDO_SERVER names the binary. Nothing of it is part of this project.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks import lean_device
from benchmarks.ports import free_port

SCHEDULER_SECONDS = 10
"""How often its owner looks for vouchers to register."""


class GoTarget:
    """`async with GoTarget(kind) as target`."""

    name = "go-fdo-server"
    keeps_unsold = False

    def __init__(self, kind: str) -> None:
        self._binary = os.environ["ASHORE_GO_FDO_SERVER"]
        self._curve = lean_device.CURVES[kind][0]
        self._folder = tempfile.TemporaryDirectory(prefix="go-bench-")
        self._data = Path(self._folder.name)
        self._ports = {name: free_port() for name in ("manufacturer", "rendezvous", "owner")}
        self.manufacturer, self.rendezvous, self.owner = (f"http://127.0.0.1:{port}" for port in self._ports.values())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The roles' processes."""
        return {name: process.pid for name, process in self._processes.items()}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.terminate()
            process.wait()
        self._folder.cleanup()

    async def sell_and_register(self, devices: Sequence[lean_device.Device]) -> None:
        """It extends every voucher to one owner by itself; they are carried over one by one."""

        def carry() -> None:
            for device in devices:
                voucher = _http("GET", f"{self.manufacturer}/api/v1/vouchers/{device.credential.guid.hex()}")
                _http("POST", f"{self.owner}/api/v1/owner/vouchers", voucher, "application/x-pem-file")

        await asyncio.to_thread(carry)
        await asyncio.sleep(SCHEDULER_SECONDS + 1)
        async with asyncio.timeout(120):
            while not await self._is_registered(devices[-1]):
                await asyncio.sleep(1)

    async def _is_registered(self, device: lean_device.Device) -> bool:
        try:
            await lean_device.redirect(self.rendezvous, device)
        except RuntimeError:
            return False
        return True

    def _start(self) -> None:
        for name in ("manufacturer", "owner", "device_ca"):
            self._certificate(name)
        folder = self._data
        self._launch(
            "manufacturer",
            "manufacturing",
            f"--manufacturing-key={folder}/manufacturer.key",
            f"--owner-cert={folder}/owner.crt",
            f"--device-ca-cert={folder}/device_ca.crt",
            f"--device-ca-key={folder}/device_ca.key",
        )
        self._launch("rendezvous", "rendezvous")
        self._launch("owner", "owner", f"--owner-key={folder}/owner.key", f"--device-ca-cert={folder}/device_ca.crt")
        port = str(self._ports["rendezvous"])
        directive = {"ip": "127.0.0.1", "device_port": port, "owner_port": port, "protocol": "http"}
        _http("POST", f"{self.manufacturer}/api/v1/rvinfo", json.dumps([directive]).encode())
        authority = (folder / "device_ca.crt").read_bytes()
        _http("POST", f"{self.rendezvous}/api/v1/device-ca", authority, "application/x-pem-file")
        address = {"ip": "127.0.0.1", "port": str(self._ports["owner"]), "protocol": "http"}
        _http("POST", f"{self.owner}/api/v1/owner/redirect", json.dumps([address]).encode(), "text/plain")

    def _launch(self, name: str, role: str, *arguments: str) -> None:
        command = [
            self._binary,
            role,
            f"127.0.0.1:{self._ports[name]}",
            "--db-type",
            "sqlite",
            "--db-dsn",
            f"file:{self._data}/{name}.db",
            "--log-level=error",
            *arguments,
        ]
        with (self._data / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._data)
        for _ in range(200):
            try:
                _http("GET", f"http://127.0.0.1:{self._ports[name]}/health")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"go-fdo-server {role} did not start: {(self._data / f'{name}.log').read_text()[-500:]}")

    def _certificate(self, name: str) -> None:
        key = ec.generate_private_key(self._curve)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        (self._data / f"{name}.key").write_bytes(der)
        (self._data / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))


def _http(method: str, url: str, data: bytes | None = None, kind: str = "application/json") -> bytes:
    """Ask; its management API answers 429 above a few requests a second."""
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})
    for _ in range(200):
        try:
            return urllib.request.urlopen(request, timeout=20).read()
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise RuntimeError(f"{method} {url}: {error.code} {error.read()[:300]!r}") from error
            time.sleep(0.3)
    raise RuntimeError(f"{method} {url} is refused again and again")

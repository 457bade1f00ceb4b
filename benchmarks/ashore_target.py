"""ashore as it runs in production, on free ports: a NATS server and the three services, each a process."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self, get_args

from ashore import bundles
from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer
from ashore.keys import FileKeyStore, KeyKind
from benchmarks import lean_device
from benchmarks.ports import free_port

START_SECONDS = 20
REGISTER_SECONDS = 120
SOLD = "sold-"
"""How the serial numbers begin of devices that are sold by rule."""


class AshoreTarget:
    """`async with AshoreTarget(kind) as target`."""

    name = "ashore"
    keeps_unsold = True

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="ashore-bench-")
        self._data = Path(self._folder.name)
        self._nats = EmbeddedServer(self._data / "nats", port=0, monitor_port=0)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = {name: free_port() for name in ("manufacturer", "rendezvous", "owner")}
        self._urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.manufacturer, self.rendezvous, self.owner = self._urls.values()
        self.start_seconds: dict[str, float] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The services' processes."""
        return {name: process.pid for name, process in self._processes.items()}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._nats.start)
        admin = await connect(self._nats.url, name="admin", seed_file=str(self._nats.seed_file("admin")))
        await admin.declare()
        await admin.close()
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()
        self._nats.stop()
        self._folder.cleanup()

    async def sell_and_register(self, devices: Sequence[lean_device.Device]) -> None:
        """The manufacturer sold them by rule; wait until the rendezvous knows them all."""
        async with asyncio.timeout(REGISTER_SECONDS):
            for device in devices[:: max(1, len(devices) // 20)]:
                while not await self._is_registered(device):
                    await asyncio.sleep(0.2)
            while not all([await self._is_registered(device) for device in devices[-40:]]):
                await asyncio.sleep(0.2)

    async def _is_registered(self, device: lean_device.Device) -> bool:
        request = urllib.request.Request(
            f"{self.owner}/api/v1/devices/{device.credential.guid.hex()}",
            headers={"Authorization": f"Bearer {self._token('owner')}"},
        )

        def ask() -> bool:
            try:
                return b'"state":"owned"' not in urllib.request.urlopen(request, timeout=10).read()
            except urllib.error.HTTPError:
                return False

        return await asyncio.to_thread(ask)

    def _token(self, service: str) -> str:
        return (self._data / service / "admin-token").read_text().strip()

    def _start(self) -> None:
        self._bundle("owner")
        self._bundle("manufacturer")
        self._launch("manufacturer", RENDEZVOUS_URLS=self.rendezvous)
        self._sell()
        self._launch("rendezvous", TRUSTED_KEYS=self._data / "manufacturer.pem")
        self._launch("owner", ADVERTISE=self.owner, TO0_PARALLEL=8)

    def _bundle(self, role: str) -> None:
        keys = FileKeyStore(self._data / role / "keys")
        text = "".join(bundles.to_pem(keys.signer(role, kind).public_key) for kind in get_args(KeyKind))
        (self._data / f"{role}.pem").write_text(text)

    def _sell(self) -> None:
        rule = {"serial": f"{SOLD}*", "owner_keys": (self._data / "owner.pem").read_text()}
        request = urllib.request.Request(
            f"{self.manufacturer}/api/v1/sale-rules",
            data=json.dumps([rule]).encode(),
            method="PUT",
            headers={"Authorization": f"Bearer {self._token('manufacturer')}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def _launch(self, service: str, **settings: object) -> None:
        environment = os.environ | {
            "ASHORE_DATA_DIR": str(self._data / service),
            "ASHORE_HOST": "127.0.0.1",
            "ASHORE_PORT": self._urls[service].rsplit(":", 1)[1],
            "ASHORE_NATS_URL": self._nats.url,
            "ASHORE_NATS_SEED_FILE": str(self._nats.seed_file(service)),
            "ASHORE_RATE_LIMIT": "0",
            "ASHORE_LOG_FORMAT": "json",
            "PYTHONOPTIMIZE": "2",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment |= {f"ASHORE_{name}": str(value) for name, value in settings.items()}
        log = (self._data / f"{service}.log").open("wb")
        command = [sys.executable, "-m", f"ashore_{service}"]
        self._processes[service] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._await_ready(service)

    def _await_ready(self, service: str) -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < START_SECONDS:
            try:
                urllib.request.urlopen(f"{self._urls[service]}/readyz", timeout=2)
            except OSError:
                time.sleep(0.02)
            else:
                self.start_seconds[service] = time.perf_counter() - began
                return
        log = (self._data / f"{service}.log").read_text()[-2000:]
        raise RuntimeError(f"{service} was not ready after {START_SECONDS} s:\n{log}")

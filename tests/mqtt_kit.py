"""Brokers of a test's own: mosquitto, and nats-server with its MQTT listener; they can be killed and started again."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ashore.bus.server import ServerFailed, find_binary

ROOT = Path(__file__).parent.parent
MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")


class Broker:
    """A broker on loopback."""

    def __init__(self, kind: str, folder: Path, port: int, keys: Path | None) -> None:
        self.kind, self.folder, self.port, self.keys = kind, folder, port, keys
        folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        command = self._mosquitto() if self.kind == "mosquitto" else self._nats()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220 - it is at once
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self.process.poll() is None, (self.folder / "log").read_text()
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _mosquitto(self) -> list[str]:
        path = self.folder / "mosquitto.conf"
        path.write_text(f"listener {self.port} 127.0.0.1\n{self._access()}")
        assert MOSQUITTO is not None
        return [MOSQUITTO, "-c", str(path)]

    def _access(self) -> str:
        """For everybody; or, with keys, by TLS with a certificate, and by the password `right` of `agent`."""
        if self.keys is None:
            return "allow_anonymous true\n"
        passwords = self.folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "agent", "right"], check=True)
        certificate, key = self.keys / "broker.pem", self.keys / "broker.key"
        # It gives up the rights of root, and the keys with them.
        return (
            f"user root\nallow_anonymous false\npassword_file {passwords}\ncafile {certificate}\n"
            f"certfile {certificate}\nkeyfile {key}\nrequire_certificate true\n"
        )

    def _nats(self) -> list[str]:
        config: dict[str, Any] = {
            "server_name": "test",
            "host": "127.0.0.1",
            "port": -1,
            "jetstream": {"store_dir": str(self.folder / "jetstream")},
            "mqtt": {"host": "127.0.0.1", "port": self.port},
        }
        path = self.folder / "nats.conf"
        path.write_bytes(msgspec.json.encode(config))
        return [str(find_binary()), "-c", str(path)]


@asynccontextmanager
async def broker(kind: str, folder: Path, port: int, *, keys: Path | None = None) -> AsyncIterator[Broker]:
    """One of `mosquitto` and `nats`; the test is skipped where it is not installed."""
    if kind == "mosquitto" and MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (apt: mosquitto)")
    if kind == "nats":
        try:
            find_binary()
        except ServerFailed as error:
            pytest.skip(str(error))
    found = Broker(kind, folder, port, keys)
    try:
        await found.start()
        yield found
    finally:
        found.kill()


@asynccontextmanager
async def device(port: int, name: str, boot: str, **more: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A device of our own scheme, as a process that can be killed."""
    order = msgspec.json.encode({"port": port, "name": name, "boot": boot, **more}).decode()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.discovery.mqtt_device", order, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()

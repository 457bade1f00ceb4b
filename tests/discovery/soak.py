"""`python -m tests.discovery.soak SECONDS [PERCENT]`: devices that stay, over a network that loses packets.

A whole agent on one host, real responders on another (zeroconf for `mdns`, minidlna for `ssdp`, where they are there),
and so many percent of what arrives at either is dropped. A removal that is told meanwhile is a false one. At the end
the responders are killed, and that must be told: an agent that has gone deaf removes nothing either.
"""

import asyncio
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.discovery.namespaces import Host, lan, running

SERVICES = 10
_APPEAR_SECONDS = 40.0
_GONE_SECONDS = 60.0
_UDN = "4d696e69-444c-164e-9d41-0123456789ab"
_MINIDLNA = shutil.which("minidlnad") or shutil.which("minidlnad", path="/usr/sbin:/sbin")
_CONFIGURATIONS = {
    "mdns": {"name": "pages", "handler": "mdns", "details": {"services": ["_http._tcp"]}},
    "ssdp": {"name": "shelves", "handler": "ssdp", "details": {}},
}


class Soaked(NamedTuple):
    """What came of it."""

    devices: int
    removals: list[str]
    """What was told of devices that were there all the time."""
    lost: int
    """Packets that were dropped."""
    left: int
    """Devices whose departure was told in the end."""


def handlers() -> list[str]:
    """The handlers of networks that are installed, and have a peer here."""
    installed = {entry.name for entry in importlib.metadata.entry_points(group="ashore.discovery.handlers")}
    return [name for name in _CONFIGURATIONS if name in installed and (name != "ssdp" or _MINIDLNA is not None)]


class Loss:
    """Drops a part of what arrives at a host, with `tc netem` where the kernel has it, else with nftables."""

    def __init__(self, percent: float) -> None:
        self._percent = percent

    @contextmanager
    def at(self, hosts: list[Host]) -> Iterator[None]:
        for host in hosts:
            netem = ["tc", "-n", host.name, "qdisc", "add", "dev", "eth0", "root", "netem", "loss", f"{self._percent}%"]
            if subprocess.run(netem, check=False, capture_output=True).returncode:
                rule = f"add rule inet soak drops numgen random mod 10000 < {round(self._percent * 100)} counter drop"
                hook = "add chain inet soak drops { type filter hook input priority 0 ; }"
                # What comes over the loopback crosses no network.
                loopback = 'add rule inet soak drops iif "lo" accept'
                words = f"add table inet soak\n{hook}\n{loopback}\n{rule}"
                subprocess.run([*host.inside, "nft", "-f", "-"], input=words, check=True, text=True)
        yield

    def lost(self, hosts: list[Host]) -> int:
        """How many packets so far."""
        return sum(map(_lost, hosts))


def _lost(host: Host) -> int:
    table = subprocess.run(
        [*host.inside, "nft", "-j", "list", "table", "inet", "soak"], check=False, capture_output=True
    )
    if table.returncode:
        shown = subprocess.run(["tc", "-n", host.name, "-s", "-j", "qdisc"], check=True, capture_output=True)
        return sum(int(one.get("drops", 0)) for one in json.loads(shown.stdout))
    rules = [one["rule"] for one in json.loads(table.stdout)["nftables"] if "rule" in one]
    return sum(part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part)


class Ledger:
    """Which devices the agent has told of, and what it told of their departure."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.there: set[str] = set()
        self.removals: list[str] = []
        self._process = process

    async def read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._note(json.loads(line))

    def _note(self, told: dict[str, Any]) -> None:
        if told["what"] == "appeared":
            self.there.add(told["key"])
        elif told["what"] == "disappeared" or told.get("state") in ("absent", "unknown"):
            self.there.discard(told["key"])
            self.removals.append(f"{told['what']} {told['key']} {told['state']}: {told['cause']}")
        elif told.get("state") == "present":
            self.there.add(told["key"])

    async def until(self, count: int, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while len(self.there) != count:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _agent(host: Host, folder: Path, names: list[str]) -> AsyncIterator[Ledger]:
    order = json.dumps({"configurations": [_CONFIGURATIONS[name] for name in names]})
    pipes: Any = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.DEVNULL}
    async with running(await host.python("tests.discovery.whole", str(folder), order, **pipes)) as process:
        ledger = Ledger(process)
        reading = asyncio.create_task(ledger.read())
        try:
            yield ledger
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _peers(names: list[str], host: Host, folder: Path) -> tuple[int, list[asyncio.subprocess.Process]]:
    from tests.discovery.responders import zeroconf

    count, started = 0, []
    if "mdns" in names:
        started.append(await zeroconf(host, SERVICES))
        count += SERVICES
    if "ssdp" in names:
        (folder / "media").mkdir()
        (folder / "minidlna.conf").write_text(
            f"media_dir={folder}/media\ndb_dir={folder}\nlog_dir={folder}\nnetwork_interface=eth0\nport=8200\n"
            f"friendly_name=The shelf\nuuid={_UDN}\nnotify_interval=60\ninotify=no\n"
        )
        command = (str(_MINIDLNA), "-S", "-f", f"{folder}/minidlna.conf", "-P", f"{folder}/pid")
        silent: Any = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.DEVNULL}
        started.append(await host.start(*command, **silent))
        count += 1
    return count, started


async def soak(seconds: float, percent: float = 1.0) -> Soaked:
    """Let it run; nothing of it is left afterwards."""
    names = handlers()
    with tempfile.TemporaryDirectory(prefix="ashore-soak-") as name:
        folder = Path(name)
        async with lan(2) as hosts, _agent(hosts[0], folder, names) as ledger, AsyncExitStack() as stack:
            count, peers = await _peers(names, hosts[1], folder)
            for peer in peers:
                await stack.enter_async_context(running(peer))
            await ledger.until(count, _APPEAR_SECONDS)
            loss = Loss(percent)
            with loss.at(list(hosts)):
                ledger.removals.clear()
                await asyncio.sleep(seconds)
                removals, lost = list(ledger.removals), loss.lost(list(hosts))
                for peer in peers:
                    peer.kill()
                await ledger.until(0, _GONE_SECONDS)
            return Soaked(count, removals, lost, len(ledger.removals) - len(removals))


if __name__ == "__main__":
    began = time.monotonic()
    found = asyncio.run(soak(float(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 1.0))
    print(f"{found.devices} devices of {', '.join(handlers())}, {time.monotonic() - began:.0f} s, {found.lost} lost")
    print("\n".join(found.removals) or "no false removal")
    sys.exit(bool(found.removals))

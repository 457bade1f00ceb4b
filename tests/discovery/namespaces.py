"""Hosts of a test's own: network namespaces on one bridge, so that what crosses a network really does.

`async with lan(2) as (one, two)`: the two see each other's multicast; `two.unplug()` is what a pulled plug is. Needs
root and `ip` (iproute2); where they are missing the test is skipped, and says so.
"""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import pytest

NEEDS_NAMESPACES = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="it makes network namespaces: needs root and iproute2"
)


class Host(NamedTuple):
    """A namespace with one interface, `eth0`, and its loopback."""

    name: str
    address: str
    """IPv4."""

    @property
    def inside(self) -> list[str]:
        """What stands before a command, so that it runs there."""
        return ["ip", "netns", "exec", self.name]

    async def start(self, *command: str, **options: object) -> asyncio.subprocess.Process:
        """Start a program there; whoever starts it stops it."""
        return await asyncio.create_subprocess_exec(*self.inside, *command, **options)  # type: ignore[arg-type]

    async def python(self, module: str, *arguments: str, **options: object) -> asyncio.subprocess.Process:
        """Start a module of ours there."""
        return await self.start(sys.executable, "-m", module, *arguments, **options)

    def plug(self) -> None:
        """Put the plug in."""
        _ip("-n", self.name, "link", "set", "eth0", "up")

    def unplug(self) -> None:
        """Pull the plug."""
        _ip("-n", self.name, "link", "set", "eth0", "down")


@asynccontextmanager
async def lan(count: int) -> AsyncIterator[Sequence[Host]]:
    """So many hosts on one bridge, which is in a namespace of its own; all is gone afterwards."""
    tag = secrets.token_hex(3)
    switch = f"ash-{tag}-sw"
    hosts = [Host(f"ash-{tag}-{number}", f"10.77.0.{number}") for number in range(1, count + 1)]
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        for number, host in enumerate(hosts, 1):
            _join(host, switch, f"port{number}")
        yield hosts
    finally:
        for name in (*(host.name for host in hosts), switch):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)


@asynccontextmanager
async def running(process: asyncio.subprocess.Process) -> AsyncIterator[asyncio.subprocess.Process]:
    """Stop a process at the end of the block."""
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _join(host: Host, switch: str, port: str) -> None:
    _ip("netns", "add", host.name)
    _ip("-n", host.name, "link", "set", "lo", "up")
    _ip("-n", host.name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
    _ip("-n", switch, "link", "set", port, "master", "br0", "up")
    _ip("-n", host.name, "link", "set", "eth0", "up", "multicast", "on")
    _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.name, "route", "add", "default", "dev", "eth0")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

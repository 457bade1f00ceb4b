"""Who has just got an address by DHCP, from the file of leases of a server on this node: dnsmasq, Kea or ISC.

Frames of ARP tell the same, but only of the network that the node is in; a server's file also tells of those behind
relays. A lease is only a reason to look at once at an address that is looked at anyway.
"""

import asyncio
import ipaddress
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 1.0
_MOST_BYTES: Final = 4 * 1024 * 1024
_FIRST: Final = 3
"""Within so many words of a line is its address: Kea has it first, ISC second, dnsmasq third."""
_BETWEEN: Final = re.compile(r"[\s,{};]+")

Leases = dict[str, tuple[str, ...]]
"""By address: the lines that begin with it. When it is given anew another line is there, or one more."""


def read(text: str) -> Leases:
    """The leases in a file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = _BETWEEN.split(line.strip()[:256], maxsplit=_FIRST)[:_FIRST]
        address = next(filter(None, map(_address, words)), None)
        if address and not line.lstrip().startswith("#"):
            found.setdefault(address, []).append(line.strip())
    return {address: tuple(lines) for address, lines in found.items()}


class LeaseFile:
    """A file, and what it held when it was looked at last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._known: Leases = {}
        self.news()

    def changed(self) -> bool:
        """Whether it is another one than before."""
        return self._now() != self._stamp

    def news(self) -> list[str]:
        """Addresses that were given, or given anew, since it was looked at last."""
        self._stamp = self._now()
        before, self._known = self._known, self._read()
        return [address for address, lines in self._known.items() if before.get(address) != lines]

    def _read(self) -> Leases:
        try:
            with self._path.open("rb") as file:
                return read(file.read(_MOST_BYTES).decode("utf-8", "replace"))
        except OSError:
            return {}

    def _now(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


async def granted(file: LeaseFile) -> AsyncGenerator[str, None]:
    """Addresses that are given from now on; without end, also while there is no file."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if file.changed():
            for address in await asyncio.to_thread(file.news):
                yield address


def _address(word: str) -> str | None:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return None

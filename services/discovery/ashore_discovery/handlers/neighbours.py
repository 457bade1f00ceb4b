"""The kernel's table of neighbours: which hardware address an address on this network has.

What the kernel says comes over netlink, in the same form when it is asked and when it tells of changes.
"""

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

NEW: Final = 28
_GET: Final = 30
_DUMP: Final = 0x301
"""NLM_F_REQUEST, NLM_F_ROOT, NLM_F_MATCH."""
_MESSAGE: Final = struct.Struct("=IHHII")
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_ATTRIBUTE: Final = struct.Struct("=HH")
_DESTINATION, _HARDWARE = 1, 2
_USABLE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
"""REACHABLE, STALE, DELAY, PROBE, PERMANENT."""
_MAC_BYTES: Final = 6
_ADDRESS_BYTES: Final = frozenset({4, 16})
_LARGEST: Final = 65_536
_MOST_PARTS: Final = 256
_SECONDS: Final = 0.2


class Neighbour(NamedTuple):
    """Somebody on the network."""

    address: str
    mac: str
    """Empty where there is none."""


class Neighbours:
    """The table, looked at again when what is known of it is older than `old_seconds`."""

    def __init__(self, clock: Callable[[], float], *, old_seconds: float = 1.0) -> None:
        self._clock = clock
        self._old_seconds = old_seconds
        self._table: dict[str, str] = {}
        self._at = float("-inf")

    def mac(self, address: str) -> str | None:
        """The hardware address, where it is known; a machine behind a router has none of its own here."""
        now = self._clock()
        if not 0 <= now - self._at < self._old_seconds:
            self._table, self._at = {one.address: one.mac for one in _dump() if one.mac}, now
        return self._table.get(address.partition("%")[0])


def read(data: bytes) -> Iterator[Neighbour]:
    """The neighbours that can be reached, from messages of the kernel."""
    while len(data) >= _MESSAGE.size:
        length, kind, *_ = _MESSAGE.unpack_from(data)
        body, data = data[_MESSAGE.size : length], data[max((length + 3) & ~3, _MESSAGE.size) :]
        if kind == NEW and len(body) >= _NEIGHBOUR.size:
            _family, _interface, state, _flags, _type = _NEIGHBOUR.unpack_from(body)
            said = dict(_attributes(body[_NEIGHBOUR.size :]))
            address, mac = said.get(_DESTINATION, b""), said.get(_HARDWARE, b"")
            if state & _USABLE and len(address) in _ADDRESS_BYTES:
                yield Neighbour(str(ipaddress.ip_address(address)), mac.hex(":") if len(mac) == _MAC_BYTES else "")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[max((length + 3) & ~3, _ATTRIBUTE.size) :]


def _dump() -> Iterator[Neighbour]:
    question = _NEIGHBOUR.pack(0, 0, 0, 0, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
            # The kernel answers at once; where something is in its way, nobody waits for it.
            link.settimeout(_SECONDS)
            link.send(_MESSAGE.pack(_MESSAGE.size + len(question), _GET, _DUMP, 1, 0) + question)
            for _ in range(_MOST_PARTS):
                data = link.recv(_LARGEST)
                yield from read(data)
                if len(data) < _MESSAGE.size or _MESSAGE.unpack_from(data)[1] != NEW:
                    return
    except OSError:
        return

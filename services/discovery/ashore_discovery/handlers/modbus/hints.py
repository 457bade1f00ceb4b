"""Addresses that have just been heard of on the network: who joins it asks for somebody, or says his own address.

Two sources, beside the leases of DHCP servers. The kernel's table of neighbours tells its changes to everybody, but
knows only whom this node has spoken with. Frames of ARP tell of everybody, also of who has just got his address by
DHCP, since he first asks whether it is free; to see them takes CAP_NET_RAW. A hint is only a reason to look at once at
an address that is looked at anyway.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from ashore_discovery.handler import uncounted
from ashore_discovery.handlers import neighbours

_ARP: Final = 0x0806
_ARP_FRAME: Final = struct.Struct("!HHBBH6s4s6s4s")
_ARP_START: Final = (1, 0x0800, 6, 4)
_NEIGHBOURS: Final = 0x4
"""RTMGRP_NEIGH."""
_LARGEST: Final = 65_536
_MOST_WAITING: Final = 256


def from_arp(frame: bytes) -> str | None:
    """The address that a frame is about, without the head of Ethernet."""
    if len(frame) < _ARP_FRAME.size:
        return None
    *start, _operation, _mac, sender, _other, target = _ARP_FRAME.unpack_from(frame)
    if tuple(start) != _ARP_START:
        return None
    # Who wants to know whether an address is free does not have it yet, and leaves out his own.
    address = sender if any(sender) else target
    return socket.inet_ntoa(address)


class Hints:
    """Both sources, as far as they can be had."""

    def __init__(self, wanted: Callable[[str], bool], dropped: Callable[[str], None] = uncounted) -> None:
        self._wanted = wanted
        self._count = dropped
        self._queue: asyncio.Queue[str] = asyncio.Queue(_MOST_WAITING)
        self._open = ExitStack()

    def open(self) -> str:
        """Listen from now on; the answer is what cannot be heard, and why."""
        reasons: list[str] = []
        for name, opened in (("ARP", _arp_socket), ("neighbours", _kernel_socket)):
            try:
                made = self._open.enter_context(opened())
            except OSError as error:
                reasons.append(f"no hints from {name}: {error.strerror}")
                continue
            loop = asyncio.get_running_loop()
            loop.add_reader(made, self._read, made, name == "ARP")
            self._open.callback(loop.remove_reader, made)
        return "; ".join(reasons)

    def close(self) -> None:
        """End it."""
        self._open.close()

    def hear(self, address: str) -> None:
        """Somebody with this address has been heard of."""
        if self._queue.full():
            self._count(f"hint at {address}: {_MOST_WAITING} wait already")
        elif self._wanted(address):
            self._queue.put_nowait(address)

    async def get(self) -> str:
        """The next address that is wanted."""
        return await self._queue.get()

    def _read(self, made: socket.socket, is_frame: bool) -> None:  # noqa: FBT001 - which of the two sockets it is
        try:
            data = made.recv(_LARGEST)
        except OSError:
            return
        found = [from_arp(data)] if is_frame else [one.address for one in neighbours.read(data)]
        for address in filter(None, found):
            self.hear(address)


def _arp_socket() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ARP))


def _kernel_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    made.bind((0, _NEIGHBOURS))
    return made

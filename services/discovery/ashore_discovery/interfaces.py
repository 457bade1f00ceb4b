"""The network interfaces of this machine that are up, and when that changes.

A node with a thousand interfaces, most of them of containers, has many changes and much to look at for each: so changes
that come together are looked at once, and no more of the time is spent on it than a twentieth.
"""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Final

_LINK_AND_ADDRESSES: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_SETTLE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 5.0
_PAUSES: Final = 20
"""So many times longer than a look takes is the pause before the next."""
_UP: Final = ("up", "unknown")
"""Interfaces without a carrier of their own, tunnels say, are `unknown` for ever."""


def interfaces_up() -> list[str]:
    """Names of the interfaces that can carry something, without the loopback."""
    return sorted(name for _, name in socket.if_nameindex() if name != "lo" and _state(name) in _UP)


def exists(name: str) -> bool:
    """Whether there is such an interface, up or down."""
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False


def _state(name: str) -> str:
    try:
        return Path(f"/sys/class/net/{name}/operstate").read_text("ascii").strip()
    except OSError:
        # A container may see interfaces without seeing /sys.
        return "unknown"


async def interface_changes() -> AsyncGenerator[list[str], None]:
    """Yield the interfaces that are up whenever they may have changed, at first at once."""
    yield interfaces_up()
    took = 0.0
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as link:
        link.bind((0, _LINK_AND_ADDRESSES))
        while True:
            # A message that was lost is made up for by looking from time to time.
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await loop.sock_recv(link, 65_536)
                await asyncio.sleep(max(_SETTLE_SECONDS, _PAUSES * took))
                while link.recv(65_536):
                    pass
            began = time.monotonic()
            found = interfaces_up()
            took = time.monotonic() - began
            yield found

"""Limits for whoever speaks to strangers: which addresses, and how fast."""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

NEARBY: Final = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)
"""Networks of plants and homes: where devices are, and where no URL leads out to the internet."""


MOST_SENDERS: Final = 1024


class Network:
    """The networks in which devices may be asked."""

    def __init__(self, networks: Sequence[str] = NEARBY) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def allows(self, address: str) -> bool:
        """Whether the address, with or without a scope, lies in one of them. A name never does: resolve it first."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._networks)

    def allows_url(self, url: str) -> bool:
        """Whether the URL's host is an address that is allowed."""
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return False
        return host is not None and self.allows(host)


class Pace:
    """A token bucket to wait at."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self) -> bool:
        """Take one if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def __call__(self) -> None:
        """Wait until it is our turn."""
        while not self.take():  # noqa: ASYNC110 - what is waited for is the time itself
            await asyncio.sleep(1 / self._per_second)


class PerSender:
    """A token bucket for each of those who were heard lately."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float]) -> None:
        self._new = partial(Pace, per_second, burst, clock)
        self._paces: OrderedDict[str, Pace] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paces)

    def take(self, sender: str) -> bool:
        """Take one of this sender's if there is one."""
        pace = self._paces.get(sender)
        if pace is None:
            pace = self._paces[sender] = self._new()
        self._paces.move_to_end(sender)
        if len(self._paces) > MOST_SENDERS:
            self._paces.popitem(last=False)
        return pace.take()

"""Who is asking, and how often: client addresses, and a bounded token bucket for each.

An address counts as the client's own unless it is a trusted proxy's, in which case `X-Forwarded-For` is read from the
right until an address that is not trusted. IPv6 clients are counted by their /64, since each of them has 2**64
addresses to hide behind.
"""

import functools
import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

CAPACITY: Final = 10_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask of the FDO endpoint; a rate of 0 is unlimited."""

    body: int = 65_535
    rate: float = 200.0
    burst: int = 1_000
    trusted_proxies: Sequence[str] = ()


class RateLimiter:
    """A token bucket per client; where there are too many clients, the longest silent one is forgotten."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._capacity = capacity
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, client: str) -> bool:
        """Whether this client may send one more request now."""
        if not self._rate:
            return True
        key, now = (_network(client) if ":" in client else client), self._clock()
        tokens, since = self._buckets.get(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        admitted = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if admitted else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return admitted


class Clients:
    """Finds the address of a request's client."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in trusted_proxies]
        self._trusts = functools.lru_cache(maxsize=1024)(self._is_trusted)

    def address(self, peer: str, forwarded: bytes | None) -> str:
        """The address that the request came from, as far as it can be believed."""
        if not self._networks or forwarded is None or not self._trusts(peer):
            return peer
        for part in reversed(forwarded.decode("latin-1").split(",")):
            address = part.strip()
            if not _is_address(address):
                return peer
            peer = address
            if not self._trusts(peer):
                return peer
        return peer

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


@functools.lru_cache(maxsize=4096)
def _network(client: str) -> str:
    try:
        return str(ipaddress.ip_network((client.partition("%")[0], 64), strict=False))
    except ValueError:
        return client


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

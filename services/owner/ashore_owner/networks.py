"""Where this service may send requests: files that profiles name, and the rendezvous of vouchers. Pure.

An address is judged by all that it means: an IPv6 one may be another way to write an IPv4 one, or a tunnel to it. Who
connects asks about the very address that it connects to, since a name may mean another one a moment later
(`fetching`, `rendezvous`).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

PUBLIC: Final = "public"
NONE: Final = "none"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_PATTERN: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NEVER: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("an address that no host has", ("0.0.0.0/8", "::/128")),
    ("a link-local address, as metadata services of clouds have it", ("169.254.0.0/16", "fe80::/10")),
    ("a multicast address", ("224.0.0.0/4", "ff00::/8")),
    ("a reserved or broadcast address", ("240.0.0.0/4",)),
    # Alibaba, Azure, Oracle; AWS and Google over IPv6. They hand out credentials to whoever asks from within.
    (
        "the metadata service of a cloud",
        ("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128"),
    ),
)
"""Where no rendezvous of a remote device can be. Loopback is not among them: where all is on one machine the rendezvous
is there, and a machine may know its own name by a loopback address (Debian's 127.0.1.1)."""
_OFF_LIMITS: Final = [(what, [ipaddress.ip_network(name) for name in names]) for what, names in _NEVER]


class Networks:
    """Where files may come from: `public` is every address of the open internet, else networks by their numbers."""

    def __init__(self, names: Sequence[str] = (PUBLIC,)) -> None:
        """Raise ValueError for what is none of these."""
        self._public = PUBLIC in names
        self._others = [ipaddress.ip_network(name, strict=False) for name in names if name not in (PUBLIC, NONE)]

    def allow(self, text: str) -> bool:
        """Whether a connection to this address is in order."""
        # A tunnel must be allowed, and so must its end.
        return all(self._allow(one) for one in _meanings(text))

    def _allow(self, address: Address) -> bool:
        if _within(address, self._others):
            return True
        return self._public and address.is_global and not address.is_multicast and not address.is_reserved


class Contacts:
    """Which rendezvous may be contacted: by name, by network, or, where none is named, every one that can be one."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Raise ValueError for what is neither a name nor a network."""
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for name in names:
            try:
                self._networks.append(ipaddress.ip_network(name, strict=False))
            except ValueError:
                self._hosts.add(_pattern(name))

    def look_up(self, host: str) -> bool:
        """Whether it makes sense to ask for the host's addresses; that alone tells its name server that we are here."""
        return not self._hosts or bool(self._networks) or self._named(host)

    def allow(self, host: str, address: str) -> bool:
        """Whether the list has the host by its name, or this address of it."""
        if not self._hosts and not self._networks:
            return True
        return self._named(host) or all(_within(one, self._networks) for one in _meanings(address))

    def _named(self, host: str) -> bool:
        name = _folded(host)
        return name in self._hosts or f"*.{name.partition('.')[2]}" in self._hosts


def off_limits(address: str) -> str | None:
    """What an address is, where that is nothing that a rendezvous could have, whatever the list says."""
    meanings = _meanings(address)
    return next((what for what, never in _OFF_LIMITS if any(_within(one, never) for one in meanings)), None)


def _meanings(text: str) -> list[Address]:
    address = _plain(ipaddress.ip_address(text))
    return [address, *_tunnel_ends(address)]


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one is only another way to write."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address


def _tunnel_ends(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    return [end for end in (address.sixtofour, *(address.teredo or ())) if end is not None]


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _pattern(name: str) -> str:
    star, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    pattern = star + _folded(rest)
    # A last label of digits is a mistyped address.
    if not _PATTERN.fullmatch(pattern) or pattern.rpartition(".")[2].isdigit():
        raise ValueError(f"{name!r} is neither a host name nor a network")
    return pattern


def _folded(host: str) -> str:
    """A name as the resolver asks for it; empty for what cannot be one."""
    try:
        return host.encode("idna").decode("ascii").lower().removesuffix(".")
    except ValueError:
        return ""

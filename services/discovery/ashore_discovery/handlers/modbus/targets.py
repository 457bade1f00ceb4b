"""Which addresses may be asked: what configurations name, and not one more."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

MOST_ADDRESSES: Final = 4096


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some addresses."""

    addresses: Annotated[str, Meta(max_length=64, description="An address, or a network: `10.1.2.0/26`")]
    port: Annotated[int, Meta(ge=1, le=65535, description="The port")] = 502
    units: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=255)], ...],
        Meta(min_length=1, max_length=64, description="Unit ids; behind a gateway there are several"),
    ] = (1,)

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        try:
            network = ipaddress.ip_network(self.addresses, strict=False)
        except ValueError:
            yield f"'{self.addresses}' is neither an address nor a network: write 10.1.2.3 or 10.1.2.0/26"
            return
        if network.num_addresses > MOST_ADDRESSES:
            yield f"'{self.addresses}' has {network.num_addresses} addresses, and {MOST_ADDRESSES} are asked at most"


class Server(NamedTuple):
    """Where somebody may listen."""

    address: str
    port: int


Servers = dict[Server, tuple[int, ...]]
"""With the unit ids to ask for."""


def servers(targets: Iterable[Target]) -> Servers:
    """All of them."""
    found: dict[Server, set[int]] = {}
    for target in targets:
        for address in _hosts(target):
            if len(found) < MOST_ADDRESSES:
                found.setdefault(Server(address, target.port), set()).update(target.units)
    return {server: tuple(sorted(units)) for server, units in found.items()}


def names(target: Target, server: Server, unit: int) -> bool:
    """Whether the target has this address, port and unit id."""
    if server.port != target.port or unit not in target.units or list(target.problems()):
        return False
    return ipaddress.ip_address(server.address) in ipaddress.ip_network(target.addresses, strict=False)


def _hosts(target: Target) -> Iterator[str]:
    if not list(target.problems()):
        yield from map(str, ipaddress.ip_network(target.addresses, strict=False).hosts())

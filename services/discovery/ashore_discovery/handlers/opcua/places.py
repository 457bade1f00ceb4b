"""Where servers are, out of what discovery servers write: URLs of strangers, with names that may mean anything.

A server may announce itself under `localhost`, `0.0.0.0` or a placeholder, and means the host that it runs on. That is
never this node's own loopback, unless the discovery server was asked there: nobody makes us speak to ourselves.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ashore_discovery.handlers.addresses import is_loopback, with_port
from ashore_discovery.model import LONGEST_ID

DEFAULT_PORT: Final = 4840
MOST_URLS: Final = 16
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\.?")
_PLACEHOLDER: Final = re.compile(r"opc\.tcp://[^/:]*(?P<rest>(:[0-9]+)?(/.*)?)", re.IGNORECASE | re.DOTALL)


class Target(NamedTuple):
    """Whom to ask: an address that has been checked, and the URL that the server is told."""

    address: str
    port: int
    url: str


class Place(NamedTuple):
    """A URL of OPC UA over TCP, in parts."""

    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """In its one spelling."""
        return self.at(self.host)

    def at(self, host: str) -> str:
        """The same on another host."""
        return f"opc.tcp://{with_port(host, self.port)}{self.path}"

    @property
    def means_itself(self) -> bool:
        """Whether the host is what only the server itself can mean."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return is_loopback(self.host)
        except ValueError:
            return False


def parse(url: str) -> Place | None:
    """The URL in parts; None where it is not one of OPC UA over TCP, or too long to be a name."""
    if len(url) > LONGEST_ID or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    path = parts.path if parts.path != "/" else ""
    place = Place(host, DEFAULT_PORT if port is None else port, path)
    good = parts.scheme == "opc.tcp" and place.port and "@" not in parts.netloc and _is_host(host)
    return place if good and len(place.url) <= LONGEST_ID else None


def announced(urls: Sequence[str], asked: Place) -> Place | None:
    """Where a server is that announces these URLs at a discovery server; None where it says nothing of use."""
    for url in urls[:MOST_URLS]:
        place = parse(url)
        if place is None and (unknown := _PLACEHOLDER.fullmatch(url[: LONGEST_ID + 1])):
            # `opc.tcp://%FQDN%:4840`: the port is the server's, and the host can only be the discovery server's.
            place = parse(f"opc.tcp://placeholder{unknown['rest']}")
            place = place._replace(host=asked.host) if place else None
        if place is not None:
            return place._replace(host=asked.host) if place.means_itself else place
    return None


def is_address(host: str) -> bool:
    """Whether it is an address and not a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_host(host: str) -> bool:
    return is_address(host) or bool(_NAME.fullmatch(host))

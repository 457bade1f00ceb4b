"""What is known of each server: what it says itself, and what a directory says of it."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from ashore_discovery.handlers.addresses import with_port
from ashore_discovery.handlers.coap.links import Link
from ashore_discovery.handlers.coap.messages import PORT
from ashore_discovery.model import Facts, Identity, Sighting

_MOST_SERVERS: Final = 4096
_MOST_WORDS: Final = 64
_UUID: Final = re.compile(r"urn:uuid:([0-9a-f-]{36})", re.IGNORECASE)


class Peer(NamedTuple):
    """Where a server is."""

    address: str
    """With a scope, where it is only known on one interface."""
    port: int

    @property
    def name(self) -> str:
        """The handler's name for it."""
        return with_port(self.address, self.port)


class Registered(NamedTuple):
    """What a directory says."""

    endpoint: str
    sector: str
    directory: str
    links: tuple[Link, ...]


class Server(msgspec.Struct, kw_only=True):
    """One server."""

    peer: Peer
    mac: str | None = None
    own: list[Link] | None = None
    """What it has said itself."""
    registered: Registered | None = None

    def sighting(self, cause: str, wire_at: float) -> Sighting:
        """As the layers above want it."""
        links = [*(self.own or ()), *(self.registered.links if self.registered else ())]
        facts: Facts = {"host": self.peer.address.partition("%")[0], "port": self.peer.port}
        for name in ("rt", "if", "ct"):
            words = _few(word for link in links for word in link.words(name))
            if words:
                facts[name] = words
        facts["resources"] = _few(_path(link.target) for link in links)
        identity: Identity = {"address": self.peer.name}
        if self.mac is not None:
            facts["mac"] = self.mac
            if self.peer.port == PORT:
                # It is what makes its answers over IPv4 and over IPv6 one; other ports may be of others' servers.
                identity["mac"] = self.mac
        if self.registered is not None:
            said = {"endpoint": self.registered.endpoint, "sector": self.registered.sector}
            facts |= {name: text for name, text in said.items() if text} | {"directory": self.registered.directory}
            found = _UUID.fullmatch(self.registered.endpoint)
            if found is not None:
                identity["uuid"] = found[1]
            identity["client"] = f"coap/{self.registered.sector}/{self.registered.endpoint}"
        return Sighting(
            id=self.peer.name,
            cause=cause,
            facts=facts,
            identity=identity,
            endpoints=[f"coap://{self.peer.name}"],
            wire_at=wire_at,
        )


class Book:
    """All servers of one listener."""

    def __init__(self, mac: Callable[[str], str | None] = lambda _: None) -> None:
        self._mac = mac
        self.servers: dict[str, Server] = {}

    def answered(self, peer: Peer, links: list[Link], cause: str, now: float) -> Sighting | None:
        """A server has said what it has; None where there are too many to be true."""
        server = self._server(peer)
        if server is None:
            return None
        server.own = links
        return server.sighting(cause, now)

    def listed(self, peer: Peer, registered: Registered, now: float) -> Sighting | None:
        """A directory has it."""
        server = self._server(peer)
        if server is None:
            return None
        server.registered = registered
        return server.sighting("registered", now)

    def unlisted(self, name: str, now: float) -> Sighting | None:
        """A directory does not have it any more. Who has been heard himself shall be asked himself."""
        server = self.servers.get(name)
        if server is None or server.registered is None:
            return None
        server.registered = None
        if server.own is None:
            del self.servers[name]
            return Sighting(id=name, kind="bye", cause="deregistered", wire_at=now)
        return server.sighting("deregistered", now)

    def listed_by(self, directory: str) -> list[str]:
        """All that a directory has."""
        return [name for name, one in self.servers.items() if one.registered and one.registered.directory == directory]

    def forget(self, name: str) -> None:
        """It does not answer."""
        self.servers.pop(name, None)

    def _server(self, peer: Peer) -> Server | None:
        if peer.name not in self.servers and len(self.servers) >= _MOST_SERVERS:
            return None
        server = self.servers.setdefault(peer.name, Server(peer=peer))
        server.mac = self._mac(peer.address) or server.mac
        return server


def peer_of(url: str) -> Peer | None:
    """Where `coap://10.1.2.3:5683` is; None where that is no address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        return None
    return Peer(host, port) if parts.scheme == "coap" and host else None


def _few(words: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(word for word in words if word))[:_MOST_WORDS]


def _path(target: str) -> str:
    try:
        return urlsplit(target).path or "/"
    except ValueError:
        return ""

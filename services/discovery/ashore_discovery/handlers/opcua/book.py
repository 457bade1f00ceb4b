"""The servers that are known: who has named them, and whether they answer.

A server that no list names any more stays as long as it answers. One that does not answer is told to be missing once,
and again whenever a discovery server that names it has been heard of: what the core makes of that is its own affair.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from ashore_discovery.handlers.opcua.hello import Answer
from ashore_discovery.handlers.opcua.places import Place, Target
from ashore_discovery.model import Facts, Identity, Sighting

_SERVERS: Final = ("Server", "ClientAndServer")
_LONGEST: Final = 1024


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """An application, as a discovery server describes it."""

    uri: str = ""
    product: str = ""
    name: str = ""
    kind: str = ""
    urls: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it is a server that does something; Akri leaves out those that are clients, too."""
        return self.kind in _SERVERS


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One way to speak with a server, as the server says it."""

    url: str
    policy: str
    mode: str
    tokens: tuple[str, ...]
    certificate: bytes
    server: Described


class Known(msgspec.Struct, kw_only=True):
    """A server that somebody has named."""

    place: Place
    server: Described
    asked: Place
    """The discovery server that has named it first: its host, where the server's own name means nothing to us."""
    found_by: set[str] = set()
    network_by: set[str] = set()
    target: Target | None = None
    """Where it was reached last."""
    alive: bool = False
    tried: bool = False

    def sources(self) -> set[str]:
        """All who have named it."""
        return self.found_by | self.network_by

    def named_by(self) -> list["Key"]:
        """The same, and how."""
        registered = [Key(url, network=False) for url in self.found_by]
        return registered + [Key(url, network=True) for url in self.network_by]


class Key(NamedTuple):
    """By what a discovery server names a server: it was registered there, or heard of by multicast."""

    url: str
    network: bool


class Book:
    """All known servers, by their URLs."""

    def __init__(self) -> None:
        self.servers: dict[str, Known] = {}
        self.answering: set[str] = set()
        """The discovery servers that have answered when they were asked last."""

    def named(self, by: Key, asked: Place, found: Iterable[tuple[Place, Described]]) -> list[Known]:
        """A discovery server has said its whole list, and it is the answer; the dead not on it are forgotten."""
        named = []
        for place, server in found:
            known = self.servers.setdefault(place.url, Known(place=place, server=server, asked=asked))
            # A list heard of by multicast has names only, which are no news.
            known.server = server if server.uri or not known.server.uri else known.server
            (known.network_by if by.network else known.found_by).add(by.url)
            named.append(known)
        ids = {known.place.url for known in named}
        for url, known in list(self.servers.items()):
            if url not in ids and not known.alive:
                self._unname(known, by)
        return named

    def keep(self, keys: set[Key]) -> list[Known]:
        """Only these are asked from now on; the answer is who is not looked for any more."""
        self.answering &= {key.url for key in keys}
        before = list(self.servers.values())
        for known in before:
            for by in known.named_by():
                if by not in keys:
                    self._unname(known, by)
        return [known for known in before if not known.sources()]

    def checked(self, known: Known, reached: Target | None, now: float, fresh: bool) -> Sighting | None:  # noqa: FBT001
        """What there is to say after a question; `fresh`: who names the server has been heard of just now."""
        was, known.alive, known.tried = known.alive, reached is not None, True
        if reached is None:
            return Sighting(id=known.place.url, kind="missed", cause="no-answer") if was or fresh else None
        known.target = reached
        return Sighting(
            id=known.place.url,
            cause="answers",
            facts=facts(known, reached),
            identity=identity(known, reached),
            endpoints=[reached.url],
            wire_at=now,
        )

    def witnessed(self, sources: Iterable[str], itself: Callable[[str], bool]) -> bool:
        """Whether silence of a server says something: nobody else names it, or one who does can be heard."""
        others = [url for url in sources if not itself(url)]
        return not others or any(url in self.answering for url in others)

    def _unname(self, known: Known, by: Key) -> None:
        (known.network_by if by.network else known.found_by).discard(by.url)
        if not known.sources():
            self.servers.pop(known.place.url, None)


def facts(known: Known, reached: Target) -> Facts:
    """What is told of a server."""
    server = known.server
    found: Facts = {
        "url": reached.url,
        "address": reached.address,
        "port": reached.port,
        "host": known.place.host,
        "found_by": sorted(known.found_by),
        "found_on_network_by": sorted(known.network_by),
        "application_name": server.name,
        "application_uri": server.uri,
        "application_type": server.kind,
        "product_uri": server.product,
    }
    return {name: value for name, value in found.items() if value not in ("", [])}


def identity(known: Known, reached: Target) -> Identity:
    """What it is recognised by. Thousands share the ApplicationUri of their library, so its host belongs to it."""
    found: Identity = {"address": f"{reached.address}:{reached.port}"}
    if known.server.uri:
        found["application"] = f"{known.server.uri[:384]}@{known.place.host[:120]}"
    return found


def says_alive(answer: Answer, *, witnessed: bool) -> bool | None:
    """What an answer to a Hello says of a server; None where nothing can be told.

    Its host says itself that nobody listens, or that something else does. Silence may be our own link's, as long as
    nobody who names the server can be heard.
    """
    if answer == "answers":
        return True
    if answer == "unreachable":
        return None
    return False if answer in ("refuses", "foreign") or witnessed else None


def clipped(value: object, longest: int = _LONGEST) -> str:
    """A text of a stranger's."""
    return str(value or "")[:longest]

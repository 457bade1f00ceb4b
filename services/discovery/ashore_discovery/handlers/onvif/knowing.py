"""What is known of one device: its words over IPv4 and IPv6, and its answers, made into one sighting. Pure."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

import msgspec

from ashore_discovery.handlers.addresses import is_loopback
from ashore_discovery.handlers.http import Place, place
from ashore_discovery.handlers.onvif.camera import Told
from ashore_discovery.handlers.onvif.wsdiscovery import MOST_SCOPES, Target, Version
from ashore_discovery.limits import Network
from ashore_discovery.model import Facet, Facts, Identity, Learnt, Sighting

_SCOPES: Final = "onvif://www.onvif.org/"
_NAMED: Final = ("name", "hardware", "location")
_LONGEST: Final = 512
_URN: Final = "urn:uuid:"


class Known(msgspec.Struct, kw_only=True):
    """A device that somebody has told of."""

    epr: str
    version: Version
    said: dict[int, Target] = {}
    """Its last words, by the version of IP that they came over: a device has other addresses there."""
    senders: dict[int, str] = {}
    told: Told | None = None
    neighbour: str = ""
    """The hardware address that the kernel has for it: good enough for a filter, too weak to recognise it by."""
    heard_at: float = 0.0
    due: float = 0.0
    """When it is asked next whether it is there."""
    proven: bool = False
    """Whether it has ever answered; what was only announced may be forged."""
    mute: bool = False
    """Whether it answers the group and nobody else, so that only looks around can find it missing."""
    misses: int = 0
    leaving: bool = False
    asked_at: float = float("-inf")
    late: bool = False
    """Whether its answers came when the tracker did not ask, so that sightings must carry them."""
    enriched: bool = False
    """Whether the tracker was ever given its answers."""

    @property
    def address(self) -> str:
        """Where its words come from."""
        return self.senders.get(4) or next(iter(self.senders.values()), "")

    @property
    def target(self) -> Target:
        """All its words as one."""
        said = [self.said[version] for version in sorted(self.said)]
        return Target(
            epr=self.epr,
            types=_united((one.types for one in said), MOST_SCOPES),
            scopes=_united((one.scopes for one in said), MOST_SCOPES),
            xaddrs=_united((one.xaddrs for one in said), 16),
        )

    def hear(self, target: Target, sender: str, at: float) -> None:
        """It has said something; what it leaves out this time still holds."""
        version = 6 if ":" in sender else 4
        was = self.said.get(version, target)
        self.said[version] = msgspec.structs.replace(
            target,
            types=target.types or was.types,
            scopes=target.scopes or was.scopes,
            xaddrs=target.xaddrs or was.xaddrs,
        )
        self.senders[version] = sender
        self.heard_at, self.misses, self.leaving = at, 0, False


def places(known: Known, network: Network, interface: str | None) -> dict[str, Place]:
    """Its URLs that may be asked, the best first: where it spoke from, then IPv4."""
    senders = set(known.senders.values())
    found: dict[str, Place] = {}
    for url in known.target.xaddrs:
        where = place(url, interface)
        if where and network.allows(where.host) and (not is_loopback(where.host) or where.host in senders):
            found[url] = where
    return dict(
        sorted(found.items(), key=lambda one: (one[1].host.partition("%")[0] not in senders, ":" in one[1].host))
    )


def from_facet(facet: Facet, version: Version = "2005/04") -> Known:
    """A device that an earlier run of the agent has known."""
    types, scopes, ip = (facet.facts.get(name) for name in ("types", "scopes", "ip"))
    known = Known(epr=facet.id, version=version)
    target = Target(
        epr=facet.id,
        types=[str(one) for one in types] if isinstance(types, list) else [],
        scopes=[str(one) for one in scopes] if isinstance(scopes, list) else [],
        xaddrs=list(facet.endpoints),
    )
    known.hear(target, ip if isinstance(ip, str) else "", 0.0)
    return known


def learnt(known: Known) -> Learnt:
    """What its answers have added."""
    facts: Facts = dict(known.told.facts) if known.told else {}
    identity: Identity = {}
    if known.told and known.told.credentials:
        facts["credentials"] = known.told.credentials
    macs = known.told.macs if known.told else []
    if macs or known.neighbour:
        facts["mac"] = macs[0] if macs else known.neighbour
    if macs:
        identity["mac"] = macs
    if facts.get("serial"):
        identity["serial"] = "/".join(str(facts.get(name, "")) for name in ("vendor", "model", "serial"))[:_LONGEST]
    return Learnt(facts=facts, identity=identity)


def sighting(known: Known, urls: dict[str, Place], cause: str, at: float) -> Sighting:
    """The device as the layers above see it."""
    answers = learnt(known) if known.late else Learnt()
    # A device that returns must get the key that it had, and that was made from its words alone.
    recognised: Identity = {} if known.enriched else answers.identity
    target = known.target
    where = next(iter(urls.values()), None)
    ip = where.host.partition("%")[0] if where else known.address
    facts: Facts = {"epr": known.epr, "types": target.types, "scopes": target.scopes, "ip": ip}
    facts["addresses"] = list(dict.fromkeys([ip, *(one.host.partition("%")[0] for one in urls.values())]))
    if known.epr.startswith(_URN):
        facts["uuid"] = known.epr.removeprefix(_URN)
    if urls:
        facts["url"] = next(iter(urls))
    identity: Identity = {"uuid": known.epr, "address": f"{ip}:{where.port if where else 3702}"}
    return Sighting(
        id=known.epr,
        cause=cause,
        facts={**facts, **_scoped(target.scopes), **answers.facts},
        identity={**identity, **recognised},
        endpoints=list(urls),
        wire_at=at,
    )


def _scoped(scopes: list[str]) -> Facts:
    """What scopes say, each by its name."""
    found: Facts = {}
    profiles: list[str] = []
    for scope in scopes:
        kind, _, value = scope.removeprefix(_SCOPES).partition("/") if scope.startswith(_SCOPES) else ("", "", "")
        if kind.lower() in _NAMED and value:
            found.setdefault(kind.lower(), unquote(value)[:_LONGEST])
        elif kind == "Profile" and value:
            profiles.append(unquote(value)[:_LONGEST])
    if profiles:
        found["profiles"] = sorted(set(profiles))
    return found


def _united(lists: Iterable[list[str]], most: int) -> list[str]:
    return list(dict.fromkeys(one for values in lists for one in values))[:most]

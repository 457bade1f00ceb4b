"""All devices, and by what they are found. Two that turn out to be one are merged; one that is two is split.

Merge: a strong fact agrees, and none disagrees. Split: two facets with the same "unique" fact are alive at once at
different addresses; then that fact identifies nobody any more, and says so in `demoted`. What people say goes first.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from ashore_discovery.tracking import identity
from ashore_discovery.tracking.device import MOST_ALIASES, Device, names_of
from ashore_discovery.tracking.presence import Presence
from ashore_discovery.tracking.rulings import SAID, Rulings

MOST_DEMOTED: Final = 4096


class Registry:
    """Devices by key, by facet and by name."""

    def __init__(self, node: str) -> None:
        self._node = node
        self.devices: dict[str, Device] = {}
        self.counts: Counter[str] = Counter()
        """How many facets each listener has reported."""
        self.demoted: dict[str, None] = {}
        """The latest of them: whoever makes up names and lives beside them could make up any number."""
        self.rulings = Rulings()
        self._by_facet: dict[tuple[str, str], Device] = {}
        self._by_name: dict[str, Device] = {}
        self._owned: dict[str, set[str]] = {}
        """By key: the names under which a device is found, so that nobody has to look through all."""

    def find(self, source: str, id: str) -> tuple[Device, Presence] | None:  # noqa: A002 - a sighting's own word
        """The facet that this listener has reported under this name."""
        device = self._by_facet.get((source, id))
        if device is None:
            return None
        return device, next(one for one in device.presences if (one.facet.source, one.facet.id) == (source, id))

    def of_source(self, source: str, within: str = "") -> Iterator[tuple[Device, Presence]]:
        """Every facet that this listener has reported, and whose name begins so."""
        for device in list(self.devices.values()):
            for presence in list(device.presences):
                if presence.facet.source == source and presence.facet.id.startswith(within):
                    yield device, presence

    def sources(self) -> list[str]:
        """All listeners that have reported something that is still there."""
        return sorted(source for source, count in self.counts.items() if count)

    def by_name(self, text: str) -> Device | None:
        """The device with this key, or that had it, that people call so, or that is recognised by this."""
        named = (one for one in self.devices.values() if text in (*one.aliases, one.given))
        return self.devices.get(text) or self._by_name.get(text) or next(named, None)

    def known(self, presence: Presence) -> Device | None:
        """The device that this new facet is another side of."""
        names = self.names_of(presence)
        for name in self._recognised(names):
            device = self._by_name.get(name)
            if device and _merges(name) and not self._contradict(names, device.names(self.demoted)):
                return device
        return None

    def names_of(self, presence: Presence) -> list[str]:
        """Everything by which a facet is recognised, the strongest first."""
        return names_of(presence, self.demoted)

    def make(self, presence: Presence) -> Device:
        """A new device for a new facet."""
        shared = presence.manners.shared
        keys = [identity.key_of(name, node=self._node, shared=shared) for name in names_of(presence, self.demoted)]
        # Where the strongest is taken, by a device that contradicts, the next one names it.
        key = next((key for key in keys if key not in self.devices), keys[-1])
        device = Device(key=key, handler=presence.facet.handler, shared=shared)
        self.devices[key] = device
        self.join(device, presence)
        return device

    def join(self, device: Device, presence: Presence) -> None:
        """One more facet of a device; a fact that two of them claim at two addresses makes them rivals."""
        for other in device.live(presence.facet.handler):
            theirs, ours = self.names_of(other), self.names_of(presence)
            if self.rulings.unite(theirs, ours):
                continue
            strong = [name for name in {*theirs} & {*ours} if identity.kind_of(name) in identity.MERGING]
            if strong and other.facet.id != presence.facet.id and _elsewhere(other, presence):
                other.rival = presence.rival = strong[0]
                other.rival_since = presence.rival_since = presence.heard_at
        device.presences.append(presence)
        self._by_facet[presence.facet.source, presence.facet.id] = device
        self.counts[presence.facet.source] += 1
        self.index(device)

    def index(self, device: Device) -> None:
        """Its facts have changed."""
        owned = self._owned.setdefault(device.key, set())
        names = device.names(self.demoted)
        device.given = self.rulings.given(names)
        for name in self._recognised(names):
            if name in owned and self._by_name.get(name) is device:
                continue
            if self._by_name.setdefault(name, device) is device:
                owned.add(name)
            if identity.kind_of(name) == SAID:
                continue
            alias = identity.key_of(name, node=self._node, shared=device.shared)
            if alias != device.key and alias not in device.aliases:
                device.aliases = [*device.aliases, alias][-MOST_ALIASES:]

    def twin(self, device: Device) -> Device | None:
        """Another device that turns out to be the same."""
        names = device.names(self.demoted)
        for name in self._recognised(names):
            other = self._by_name.get(name)
            if other is None or other is device or identity.kind_of(name) not in (*identity.MERGING, SAID):
                continue
            if not self._contradict(names, other.names(self.demoted)):
                return other
        return None

    def rule(self, rulings: Rulings) -> list[Device]:
        """People say this from now on; the answer is the devices that it may concern."""
        touched = self.rulings.named() | rulings.named()
        self.rulings = rulings
        for name in [name for name in self._by_name if identity.kind_of(name) == SAID]:
            self._owned[self._by_name.pop(name).key].discard(name)
        found = [one for one in self.devices.values() if touched & {*one.names(self.demoted)}]
        for device in found:
            self.index(device)
        return found

    def strangers(self, device: Device) -> list[Presence]:
        """Facets of the device that nothing holds to its first one, or that are said to be none of it."""
        own, rest = device.presences[:1], device.presences[1:]
        while joining := [one for one in rest if self._belongs(one, own)]:
            own.append(joining[0])
            rest.remove(joining[0])
        return rest

    def merge(self, survivor: Device, other: Device) -> None:
        """Two were one: the survivor gets the other's facets, and its keys as aliases."""
        self.remove(other)
        survivor.aliases = list(dict.fromkeys([*survivor.aliases, other.key, *other.aliases]))[-MOST_ALIASES:]
        for presence in other.presences:
            self.join(survivor, presence)

    def split(self, device: Device, presence: Presence, name: str) -> Presence:
        """One was two: the fact identifies nobody any more, and this facet leaves for a device of its own."""
        self.demoted[name] = None
        if len(self.demoted) > MOST_DEMOTED:
            del self.demoted[next(iter(self.demoted))]
        self._by_name.pop(name, None)
        self.leave(device, presence)
        for one in (*device.presences, presence):
            one.rival = None
        return presence

    def leave(self, device: Device, presence: Presence) -> None:
        """A facet is no longer one of the device."""
        device.presences.remove(presence)
        self._drop(presence)
        kept = set(self._recognised(device.names(self.demoted)))
        for name in self._recognised(self.names_of(presence)):
            if name not in kept and self._by_name.get(name) is device:
                del self._by_name[name]

    def remove(self, device: Device) -> None:
        """It is gone."""
        self.devices.pop(device.key, None)
        for presence in device.presences:
            self._drop(presence)
        for name in self._owned.pop(device.key, ()):
            if self._by_name.get(name) is device:
                del self._by_name[name]

    def _recognised(self, names: list[str]) -> list[str]:
        """These names, and before them those that it has by ruling."""
        return [*self.rulings.said(names), *names]

    def _contradict(self, one: list[str], other: list[str]) -> bool:
        if self.rulings.part(one, other):
            return True
        return not self.rulings.unite(one, other) and identity.contradict(one, other)

    def _belongs(self, presence: Presence, others: list[Presence]) -> bool:
        names = self.names_of(presence)
        theirs = [name for one in others for name in self.names_of(one)]
        shared = {*self._recognised(names)} & {*self._recognised(theirs)}
        return any(map(_merges, shared)) and not self._contradict(names, theirs)

    def _drop(self, presence: Presence) -> None:
        source = presence.facet.source
        if self._by_facet.pop((source, presence.facet.id), None) is not None:
            self.counts[source] -= 1


def _merges(name: str) -> bool:
    return identity.kind_of(name) in (*identity.MERGING, SAID, "id")


def _elsewhere(one: Presence, other: Presence) -> bool:
    first, second = one.facet.identity.get("address"), other.facet.identity.get("address")
    return bool(first and second and first != second)

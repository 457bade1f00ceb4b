"""Sightings in; changes of devices, and questions to handlers, out. Nothing here waits, asks or looks at a clock.

Whoever owns a Tracker calls `pass_time` when `due` says so, carries every Ask out, and brings its answer back.
"""

import heapq
from typing import Final, Literal

from ashore_discovery.handler import Limits
from ashore_discovery.model import Facet, Learnt, Sighting
from ashore_discovery.tracking.admission import Quarantine
from ashore_discovery.tracking.device import Device
from ashore_discovery.tracking.outcomes import Ask, Desk, Outcomes
from ashore_discovery.tracking.presence import Manners, Presence
from ashore_discovery.tracking.registry import Registry
from ashore_discovery.tracking.rulings import Rulings
from ashore_discovery.tracking.telling import Teller

VERIFY_SECONDS: Final = 15.0
"""After a restart of the agent, what nobody has looked at for so long is told to be unknown."""


class Tracker:
    """All devices of a node."""

    def __init__(self, node: str, desk: Desk, *, everything: bool = False) -> None:
        self.registry = Registry(node)
        self.teller = Teller(self.registry, desk, everything=everything)
        self.quarantines: dict[str, Quarantine] = {}
        self._alarms: list[tuple[float, str]] = []
        self._now = 0.0

    def open(self, source: str, limits: Limits) -> None:
        """A listener may now be heard."""
        self.quarantines.setdefault(source, Quarantine(limits, lambda: self._now))

    def see(self, source: str, manners: Manners, sighting: Sighting, now: float) -> Outcomes:
        """A handler has seen something."""
        self._now = now
        found = self.registry.find(source, sighting.id)
        if found is None:
            if sighting.kind == "seen":
                return self._arrive(source, manners, sighting, now)
            if source in self.quarantines:
                self.quarantines[source].held.pop(sighting.id, None)
            return []
        device, presence = found
        presence.manners = manners
        if sighting.kind != "seen":
            presence.depart(sighting.kind, sighting.cause, now)
            return self._after(device, presence, now, sighting.wire_at)
        was = presence.state
        presence.cause = sighting.cause
        if not presence.hear(sighting, now):
            self._watch(device)
            return self._contested(device, presence, now) if presence.rival else []
        self.registry.index(device)
        asks: Outcomes = [self._enrich(device, presence)] if was in ("unknown", "leaving") and manners.enriches else []
        contested = self._contested(device, presence, now)
        # Who says hello right after goodbye has restarted, and that is news even if nothing else is different.
        told = self._after(device, presence, now, sighting.wire_at, again=was == "leaving")
        return contested + told + asks

    def swept(self, source: str, begun: float, now: float, *, within: str = "") -> Outcomes:
        """A listener has said all that it can see: what it has not heard of since then is missing."""
        outcomes: Outcomes = []
        for device, presence in self.registry.of_source(source, within):
            if presence.heard_at < begun and presence.state != "leaving":
                kind: Literal["gone", "missed"] = "gone" if presence.manners.exhaustive else "missed"
                presence.depart(kind, "missing", now)
                outcomes += self._after(device, presence, now)
        return outcomes

    def lost(self, source: str, cause: str, now: float, *, within: str = "") -> Outcomes:
        """Nobody listens there any more."""
        outcomes: Outcomes = []
        if source in self.quarantines:
            self.quarantines[source].forget(within)
        for device, presence in self.registry.of_source(source, within):
            if not device.quiet:
                presence.lose(cause)
                outcomes += self._after(device, presence, now)
        return outcomes

    def closed(self, source: str, now: float) -> Outcomes:
        """No configuration asks for this listener any more, so what only it has seen is no longer told."""
        outcomes: Outcomes = []
        for device, presence in self.registry.of_source(source):
            presence.depart("gone", "not-looked-for", now)
            outcomes += self._after(device, presence, now)
        self.quarantines.pop(source, None)
        return outcomes

    def probed(self, facet: Facet, alive: bool | None, now: float) -> Outcomes:  # noqa: FBT001 - the answer
        """What came of a probe."""
        found = self.registry.find(facet.source, facet.id)
        if found is None:
            return self._proven(facet, alive, now)
        device, presence = found
        presence.hear_probe(alive, now)
        contested = self._contested(device, presence, now) if alive else []
        return contested + self._after(device, presence, now)

    def _proven(self, facet: Facet, alive: bool | None, now: float) -> Outcomes:  # noqa: FBT001 - as above
        """One of whom nobody was told has been asked whether it is there."""
        gate = self.quarantines.get(facet.source)
        if gate is None or (alive is False and gate.again(facet.id)):
            return [Ask("prove", facet)] if gate else []
        self._now = now
        held = gate.release(facet.id, now, alive=bool(alive))
        return self._arrive(facet.source, held.manners, held.sighting, now, proven=True) if held else []

    def enriched(self, facet: Facet, learnt: Learnt | None, now: float) -> Outcomes:
        """What the device has told when it was asked."""
        found = self.registry.find(facet.source, facet.id)
        if found is None or learnt is None:
            return []
        device, presence = found
        presence.learnt, presence.cause = learnt, "enriched"
        self.registry.index(device)
        return self._after(device, presence, now)

    def rematch(self, now: float) -> Outcomes:
        """The configurations are different."""
        outcomes: Outcomes = []
        for device in list(self.registry.devices.values()):
            outcomes += self._settle(device, "configured", now)
        return outcomes

    def rule(self, rulings: Rulings, now: float) -> Outcomes:
        """People say something else of identities: what was one may be two, and what was two may be one."""
        outcomes: Outcomes = []
        for device in self.registry.rule(rulings):
            if device.key not in self.registry.devices:
                # One of those before it has turned out to be the same.
                continue
            for presence in self.registry.strangers(device):
                outcomes += self._part(device, presence, now)
            self.registry.index(device)
            first = device.presences[0]
            first.cause, first.rival = "ruled", None
            outcomes += self._after(device, first, now)
        return outcomes

    def _part(self, device: Device, presence: Presence, now: float) -> Outcomes:
        """A facet is not of this device, but of another, or of one of its own."""
        self.registry.leave(device, presence)
        presence.cause, presence.rival = "ruled", None
        other = self.registry.known(presence)
        if other is None:
            other = self.registry.make(presence)
            self.teller.remember(other, now)
        else:
            self.registry.join(other, presence)
        return self._after(other, presence, now)

    def restore(self, device: Device, now: float) -> None:
        """A device that an earlier run of the agent has told of. Nothing is told before somebody has looked."""
        device.quiet = True
        self.registry.devices[device.key] = device
        presences, device.presences = device.presences, []
        for presence in presences:
            presence.lose("agent-restarted")
            presence.deadline = now + VERIFY_SECONDS
            self.registry.join(device, presence)
        self._watch(device)

    def due(self) -> float | None:
        """When time must pass."""
        return self._alarms[0][0] if self._alarms else None

    def pass_time(self, now: float) -> Outcomes:
        """Do what is due."""
        outcomes: Outcomes = []
        while self._alarms and self._alarms[0][0] <= now:
            _, key = heapq.heappop(self._alarms)
            device = self.registry.devices.get(key)
            if device is None or device.alarm is None or device.alarm > now:
                continue
            device.alarm = None
            for presence in list(device.presences):
                if presence.state == "unknown" and device.quiet and presence.deadline and presence.deadline <= now:
                    device.quiet, presence.deadline = False, None
                outcomes += self._after(device, presence, now)
            outcomes += self._settle(device, device.cause, now)
        return outcomes

    def _arrive(
        self, source: str, manners: Manners, sighting: Sighting, now: float, *, proven: bool = False
    ) -> Outcomes:
        facet = Facet(
            source=source,
            handler=manners.handler,
            id=sighting.id,
            facts=sighting.facts,
            identity=sighting.identity,
            endpoints=sighting.endpoints,
            record=sighting.record,
        )
        presence = Presence(facet=facet, manners=manners, cause=sighting.cause, heard_at=now, ttl=sighting.ttl)
        presence.deadline = now + sighting.ttl if sighting.ttl else None
        device = self.registry.known(presence)
        gate = self.quarantines.get(source)
        if device is None:
            if gate and not proven and not gate.believes(manners, sighting.id):
                return [Ask("prove", facet)] if gate.holds(manners, sighting, now) else []
            if gate and not gate.admits(sighting.id, self.registry.counts[source], now):
                return []
            device = self.registry.make(presence)
            self.teller.remember(device, now)
        else:
            if gate:
                gate.held.pop(sighting.id, None)
            self.registry.join(device, presence)
        asks = [self._enrich(device, presence)] if manners.enriches else []
        rivals = self._doubt_rivals(device, presence, now)
        return self._after(device, presence, now, sighting.wire_at) + rivals + asks

    def _doubt_rivals(self, device: Device, presence: Presence, now: float) -> Outcomes:
        """Another facet claims the same fact at another address: has it moved here, or are they two? Ask the other."""
        outcomes: Outcomes = []
        for other in device.presences:
            if other is not presence and other.rival and other.rival == presence.rival and other.manners.probes:
                other.doubt("rival", now)
                outcomes += self._after(device, other, now)
        return outcomes

    def _contested(self, device: Device, presence: Presence, now: float) -> Outcomes:
        """One facet lives. If another that claims the same fact lives, too, they are two devices."""
        if presence.rival is None:
            return []
        rivals = [
            one
            for one in device.presences
            # Only who was heard since the other is there is known to be alive beside it.
            if one is not presence and one.rival == presence.rival and one.state == "present" and one.proven
        ]
        if not rivals:
            return []
        newer = max([presence, *rivals], key=device.presences.index)
        moved = self.registry.split(device, newer, presence.rival)
        other = self.registry.make(moved)
        self.teller.remember(other, now)
        moved.cause = "split"
        return self._after(other, moved, now) + self._settle(device, "split", now)

    def _after(
        self, device: Device, presence: Presence, now: float, wire_at: float = 0.0, *, again: bool = False
    ) -> Outcomes:
        """A facet may have changed: look at its time, at twins, and tell."""
        asks: Outcomes = [Ask("probe", device.merged(presence))] if presence.pass_time(now) else []
        if presence.state == "gone" and presence in device.presences:
            last = len(device.presences) == 1
            if not last:
                self.registry.leave(device, presence)
        twin = self.registry.twin(device) if presence.state == "present" else None
        merged = self._merge(device, twin, now) if twin else []
        owner = twin if twin and device.key not in self.registry.devices else device
        return asks + merged + self._settle(owner, presence.cause, now, wire_at, again=again)

    def _merge(self, device: Device, twin: Device, now: float) -> Outcomes:
        """Who was there first keeps its key."""
        survivor, other = sorted((device, twin), key=lambda one: (one.told is None, one.appeared_at))
        self.registry.merge(survivor, other)
        return self.teller.merged(other, survivor, now)

    def _enrich(self, device: Device, presence: Presence) -> Ask:
        return Ask("enrich", device.merged(presence))

    def _settle(self, device: Device, cause: str, now: float, wire_at: float = 0.0, *, again: bool = False) -> Outcomes:
        outcomes = self.teller.settle(device, cause, now, wire_at, again=again)
        self._watch(device)
        return outcomes

    def _watch(self, device: Device) -> None:
        """Be woken when the device must be looked at again."""
        at = device.next_deadline()
        if at is not None and (device.alarm is None or at < device.alarm):
            device.alarm = at
            heapq.heappush(self._alarms, (at, device.key))

"""What the agents of a site see, from the last event about each device and each agent.

Events may come twice, late, and in any order: of two about the same device from the same node the one with the larger
epoch and revision holds. A device that its agent has not told again in its last complete snapshot is gone, and one that
is `unknown`, or whose agent is lost, stays: nobody has said that it went.
"""

import msgspec

from ashore.events import AgentAlive, DeviceSeen, Match

LOST_AFTER = 3
"""An agent that is silent for so many of its intervals is lost."""
_PRESENT = frozenset({"present", "suspect", "absent", "unknown"})
"""`absent` is within its grace: the agent still says who wants it."""

Place = tuple[str, str]
"""A node and a device's key."""


class Sighting(msgspec.Struct, frozen=True):
    """A device that a configuration wants, as one node sees it."""

    seen: DeviceSeen
    match: Match

    @property
    def node(self) -> str:
        """The node, as its agent calls itself."""
        return self.seen.node


class _Agent(msgspec.Struct):
    epoch: int = 0
    interval: float = 10.0
    heard_at: float = 0.0


class Presence:
    """The table of what is there. What it answers is which configurations have to be looked at again."""

    def __init__(self) -> None:
        self._seen: dict[Place, DeviceSeen] = {}
        self._by_configuration: dict[str, dict[str, dict[str, Sighting]]] = {}
        """By configuration, device and node."""
        self._matched: dict[Place, frozenset[str]] = {}
        self._agents: dict[str, _Agent] = {}

    def hear(self, event: DeviceSeen) -> set[tuple[str, str]]:
        """A device was told; the answer is the pairs of configuration and device that may be different now."""
        place = (event.node, event.key)
        before = self._seen.get(place)
        if before is not None and (before.epoch, before.revision) >= (event.epoch, event.revision):
            return set()
        is_there = self._is_there(event)
        # Of what is gone only its age matters, so that a late event cannot bring it back.
        self._seen[place] = event if is_there else msgspec.structs.replace(event, facts={}, matches=[])
        return self._index(place, event if is_there else None)

    def alive(self, event: AgentAlive, now: float) -> set[tuple[str, str]]:
        """An agent is alive: what it has not told in its last snapshot is no longer there."""
        agent = self._agents.setdefault(event.node, _Agent())
        agent.interval, agent.heard_at = event.interval_seconds, now
        if event.epoch <= agent.epoch:
            return set()
        agent.epoch = event.epoch
        stale = [place for place, seen in self._seen.items() if place[0] == event.node and seen.epoch < event.epoch]
        changed: set[tuple[str, str]] = set()
        for place in stale:
            changed |= self._index(place, None)
            del self._seen[place]
        return changed

    def sightings(self, configuration: str, device: str) -> list[Sighting]:
        """Who sees this device for this configuration, by node."""
        found = self._by_configuration.get(configuration, {}).get(device, {})
        return [found[node] for node in sorted(found)]

    def devices(self, configuration: str) -> set[str]:
        """The keys of all devices that this configuration wants."""
        return set(self._by_configuration.get(configuration, ()))

    def present(self) -> list[DeviceSeen]:
        """All devices that are there, wanted or not: one event for each node that sees them."""
        return [event for event in self._seen.values() if self._is_there(event)]

    def agents(self) -> list[str]:
        """The nodes whose agents have been heard of."""
        return sorted(self._agents)

    def seen_by(self, node: str) -> set[tuple[str, str]]:
        """All pairs of configuration and device that this node sees."""
        return {(name, key) for (at, key), matched in self._matched.items() if at == node for name in matched}

    def lost(self, now: float) -> frozenset[str]:
        """Nodes whose agents have been silent for too long."""
        return frozenset(
            node for node, agent in self._agents.items() if now - agent.heard_at > LOST_AFTER * agent.interval
        )

    def is_complete(self, node: str) -> bool:
        """Whether the node's agent has told all that it sees: then what it has not told is not there."""
        agent = self._agents.get(node)
        return agent is not None and agent.epoch > 0

    def _is_there(self, event: DeviceSeen) -> bool:
        agent = self._agents.get(event.node)
        current = agent is None or event.epoch >= agent.epoch
        return current and event.change != "disappeared" and event.state in _PRESENT

    def _index(self, place: Place, event: DeviceSeen | None) -> set[tuple[str, str]]:
        """Enter what the event says of a place; who is touched."""
        node, key = place
        before = self._matched.pop(place, frozenset())
        now = {} if event is None else {match.configuration: Sighting(event, match) for match in event.matches}
        for name in before - now.keys():
            self._drop(name, key, node)
        for name, sighting in now.items():
            self._by_configuration.setdefault(name, {}).setdefault(key, {})[node] = sighting
        if now:
            self._matched[place] = frozenset(now)
        return {(name, key) for name in before | now.keys()}

    def _drop(self, name: str, key: str, node: str) -> None:
        devices = self._by_configuration[name]
        del devices[key][node]
        if not devices[key]:
            del devices[key]
        if not devices:
            del self._by_configuration[name]

"""A device: its facets as one, and what was last told of it."""

from collections.abc import Collection
from typing import Final

import msgspec

from ashore.events import Match, State, Value
from ashore_discovery.model import Facet, Facts
from ashore_discovery.tracking import identity
from ashore_discovery.tracking.presence import Presence
from ashore_discovery.tracking.rulings import GIVEN

MOST_ALIASES: Final = 16


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A device as it is told: a value that does not change."""

    key: str
    handler: str
    state: State
    revision: int
    cause: str
    shared: bool = False
    flapping: bool = False
    facts: dict[str, Value] = {}
    endpoints: list[str] = []
    facets: list[str] = []
    aliases: list[str] = []
    matches: list[Match] = []
    appeared_at: float = 0.0
    changed_at: float = 0.0
    heard_at: float = 0.0

    def says(self) -> tuple[object, ...]:
        """What is worth an event when it is different."""
        return self.state, self.facts, self.endpoints, self.facets, self.matches, self.flapping


class Device(msgspec.Struct, kw_only=True):
    """A device under its key, which it keeps whatever else is learnt of it."""

    key: str
    handler: str
    shared: bool = False
    presences: list[Presence] = []
    state: State = "present"
    revision: int = 0
    matches: dict[str, Match] = {}
    told: View | None = None
    """What the bus was last told, while it believes that the device is there."""
    quiet: bool = False
    """Restored after a restart of the agent, and not looked at yet: nothing is told before somebody has looked."""
    absent_since: float | None = None
    leaves: dict[str, float] = {}
    """By configuration: when the device is gone for it. The empty name is for whoever looks at the inventory."""
    departures: list[float] = []
    flapping: bool = False
    aliases: list[str] = []
    given: str = ""
    """What people call it."""
    appeared_at: float = 0.0
    changed_at: float = 0.0
    alarm: float | None = None
    cause: str = "seen"

    def names(self, demoted: Collection[str]) -> list[str]:
        """Everything by which it is recognised."""
        found = (name for presence in self.presences for name in names_of(presence, demoted))
        return list(dict.fromkeys(found))

    def live(self, handler: str) -> list[Presence]:
        """Its facets of this handler that are believed to be there."""
        return [one for one in self.presences if one.facet.handler == handler and one.state == "present"]

    def physical(self) -> State:
        """The state that its facets give: the best of theirs. Who is leaving is there until it has left."""
        states = {presence.state for presence in self.presences}
        if states & {"present", "leaving"}:
            return "present"
        if "suspect" in states:
            return "suspect"
        return "unknown" if "unknown" in states else "absent"

    def facts(self) -> Facts:
        """What all facets say; what the wire says is newer than what was asked, and the first facet is believed."""
        found: Facts = {GIVEN: self.given} if self.given else {}
        for presence in self.presences:
            for name, value in {**presence.learnt.facts, **presence.facet.facts}.items():
                found.setdefault(name, value)
        return found

    def merged(self, presence: Presence) -> Facet:
        """A facet with what has been learnt by asking."""
        facet, learnt = presence.facet, presence.learnt
        return msgspec.structs.replace(
            facet,
            facts={**learnt.facts, **facet.facts},
            identity={**learnt.identity, **facet.identity},
            endpoints=list(dict.fromkeys([*facet.endpoints, *learnt.endpoints])),
        )

    def next_deadline(self) -> float | None:
        """When it must be looked at again."""
        times = [presence.deadline for presence in self.presences if presence.deadline is not None]
        return min([*times, *self.leaves.values()], default=None)

    def view(self) -> View:
        """As it is now."""
        endpoints = [url for one in self.presences for url in (*one.facet.endpoints, *one.learnt.endpoints)]
        return View(
            key=self.key,
            handler=self.handler,
            state=self.state,
            revision=self.revision,
            cause=self.cause,
            shared=self.shared,
            flapping=self.flapping,
            facts=self.facts(),
            endpoints=list(dict.fromkeys(endpoints)),
            facets=list(dict.fromkeys(presence.facet.name for presence in self.presences)),
            aliases=self.aliases,
            matches=list(self.matches.values()),
            appeared_at=self.appeared_at,
            changed_at=self.changed_at,
            heard_at=max((presence.heard_at for presence in self.presences), default=0.0),
        )


def names_of(presence: Presence, demoted: Collection[str]) -> list[str]:
    """Everything by which a facet is recognised, the strongest first."""
    told = {**presence.learnt.identity, **presence.facet.identity}
    found = identity.names(told, presence.facet.handler, presence.facet.id)
    return [name for name in found if name not in demoted]

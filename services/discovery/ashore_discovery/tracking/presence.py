"""One facet of a device: whether the handler that sees it may still believe in it.

Departure needs evidence, and the kind of evidence decides:

| evidence | what follows |
|---|---|
| `gone`: removed by the kernel, a will, missing from an exhaustive sweep | gone now |
| `bye` | gone after a short hold, unless it says hello within it |
| `missed`, its time to live is over, missing from another sweep | suspect; probed three times; then gone |
| nobody listens any more | unknown, never gone |
"""

from typing import Final, Literal

import msgspec

from ashore_discovery.model import Facet, Learnt, Sighting

ATTEMPTS: Final = 3
SPACING: Final = 0.75
"""Seconds between two probes."""

FacetState = Literal["present", "suspect", "leaving", "unknown", "gone"]


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules must know of a handler."""

    handler: str
    shared: bool = False
    exhaustive: bool = False
    announced: bool = False
    bye_hold: float = 1.0
    patience: float = 30.0
    probes: bool = False
    enriches: bool = False


class Presence(msgspec.Struct, kw_only=True):
    """A facet, with how sure it is."""

    facet: Facet
    manners: Manners
    state: FacetState = "present"
    heard_at: float = 0.0
    ttl: float | None = None
    deadline: float | None = None
    """When this must be looked at again."""
    missed: int = 0
    """Probes without an answer."""
    asking: bool = False
    """Whether a probe is under way."""
    enriched: bool = False
    learnt: Learnt = Learnt()
    rival: str | None = None
    """The name that another living facet claims as well: if both live, they are two devices."""
    rival_since: float = 0.0
    cause: str = "seen"

    @property
    def proven(self) -> bool:
        """Whether it was heard since its rival is there."""
        return self.heard_at >= self.rival_since

    def hear(self, sighting: Sighting, now: float) -> bool:
        """It is there; the answer is whether anything is different now."""
        facet, was = self.facet, self.state
        fresh = (sighting.facts, sighting.identity, sighting.endpoints, sighting.record)
        different = fresh != (facet.facts, facet.identity, facet.endpoints, facet.record)
        if different:
            facet.facts, facet.identity, facet.endpoints, facet.record = fresh
        self.ttl = sighting.ttl
        self._believe(now)
        if was == "leaving":
            self.cause = "restarted"
        return different or was != "present"

    def depart(self, kind: Literal["gone", "bye", "missed"], cause: str, now: float) -> None:
        """There is evidence against it. Gone cannot become less so, and a goodbye is often said four times."""
        if self.state == "gone" or (self.state == "leaving" and kind == "bye"):
            return
        self.cause = cause
        if kind == "gone":
            self.state, self.deadline = "gone", None
        elif kind == "bye":
            self.state, self.deadline = "leaving", now + self.manners.bye_hold
        else:
            self.doubt(cause, now)

    def doubt(self, cause: str, now: float) -> None:
        """It should have been heard of. What is being doubted already goes its way."""
        if self.state in ("suspect", "leaving", "gone"):
            return
        self.cause, self.state, self.missed = cause, "suspect", 0
        self.deadline = now if self.manners.probes else now + self.manners.patience

    def lose(self, cause: str) -> None:
        """Nobody listens, so nobody knows; only that something is gone is known still."""
        if self.state == "gone":
            return
        self.state, self.deadline, self.cause, self.asking = "unknown", None, cause, False

    def pass_time(self, now: float) -> bool:
        """The deadline is over; the answer is whether it must be probed now."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        if self.state == "leaving":
            self.state = "gone"
        elif self.state == "present":
            self.doubt("expired", now)
        if self.state == "suspect":
            if self.manners.probes:
                return self._ask()
            if self.deadline is None:
                self.state = "gone"
        return False

    def hear_probe(self, alive: bool | None, now: float) -> None:  # noqa: FBT001 - the answer to a question
        """What came of a probe: it lives, it does not answer, it cannot be told."""
        self.asking = False
        if self.state not in ("suspect", "unknown", "present"):
            return
        if alive:
            self._believe(now)
            self.cause = "answered"
        elif alive is None:
            self.lose("cannot-be-probed")
        elif self.state == "suspect":
            self.missed += 1
            self.cause = "probe-missed"
            if self.missed >= ATTEMPTS:
                self.state, self.deadline = "gone", None
            else:
                self.deadline = now + SPACING

    def _ask(self) -> bool:
        # A probe that is under way answers for this one, too.
        asked, self.asking = self.asking, True
        return not asked

    def _believe(self, now: float) -> None:
        self.state, self.heard_at, self.missed = "present", now, 0
        self.deadline = now + self.ttl if self.ttl else None

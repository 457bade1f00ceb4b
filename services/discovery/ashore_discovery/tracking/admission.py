"""How many new devices are believed. The rest waits in quarantine: counted, named in the inventory, told to nobody.

A forged hello costs its sender nothing, and a broker that it starts costs us a pod. So where anybody can announce
things (`Handler.announced`), only a few are believed at once; who comes after them is asked first, and told of when it
answers.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from ashore_discovery.handler import Limits
from ashore_discovery.limits import Pace
from ashore_discovery.model import Sighting
from ashore_discovery.tracking.presence import Manners

MOST_NAMED: Final = 200
PROOFS: Final = 2
"""So often it is asked: one datagram may get lost."""


class Held(msgspec.Struct):
    """One that is asked whether it is there at all, with its latest words."""

    manners: Manners
    sighting: Sighting
    asked: int = 1


class Quarantine:
    """The gate of one listener."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._pace = Pace(limits.per_second, limits.burst, clock)
        self._unproven = Pace(limits.unproven_per_second, limits.unproven, clock)
        self.held: dict[str, Held] = {}
        self.waiting: dict[str, float] = {}
        """The latest who were not let in, with the time."""
        self.refused = 0

    def admits(self, id: str, present: int, now: float) -> bool:  # noqa: A002 - a sighting's own word
        """Whether one more may come in."""
        if present < self._limits.devices and self._pace.take():
            self.waiting.pop(id, None)
            return True
        self._refuse(id, now)
        return False

    def believes(self, manners: Manners, id: str) -> bool:  # noqa: A002 - a sighting's own word
        """Whether it is told without having been asked."""
        return not (manners.announced and manners.probes) or (id not in self.held and self._unproven.take())

    def holds(self, manners: Manners, sighting: Sighting, now: float) -> bool:
        """Keep it until it has answered; whether it must be asked now."""
        held = self.held.get(sighting.id)
        if held is not None:
            held.sighting = sighting
        elif len(self.held) < self._limits.burst:
            self.held[sighting.id] = Held(manners, sighting)
            return True
        else:
            self._refuse(sighting.id, now)
        return False

    def again(self, id: str) -> bool:  # noqa: A002 - a sighting's own word
        """It has not answered: whether it is asked once more."""
        held = self.held.get(id)
        if held is None or held.asked >= PROOFS:
            return False
        held.asked += 1
        return True

    def release(self, id: str, now: float, *, alive: bool) -> Held | None:  # noqa: A002 - a sighting's own word
        """It was asked: let go of it; the answer is what to tell, if it is there."""
        held = self.held.pop(id, None)
        if held is None or alive:
            return held
        self._refuse(id, now)
        return None

    def forget(self, within: str) -> None:
        """Nobody listens for these any more, so nobody can ask."""
        for id in [one for one in self.held if one.startswith(within)]:  # noqa: A001 - a sighting's own word
            del self.held[id]

    def _refuse(self, id: str, now: float) -> None:  # noqa: A002 - a sighting's own word
        self.refused += 1
        self.waiting.pop(id, None)
        self.waiting[id] = now
        if len(self.waiting) > MOST_NAMED:
            del self.waiting[next(iter(self.waiting))]

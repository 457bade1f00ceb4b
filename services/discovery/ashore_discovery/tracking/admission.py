"""How many new devices are believed. The rest waits in quarantine: counted, named in the inventory, told to nobody.

A forged hello costs its sender nothing, and a broker that it starts costs us a pod.
"""

from collections.abc import Callable
from typing import Final

from ashore_discovery.handler import Limits
from ashore_discovery.limits import Pace

MOST_NAMED: Final = 200


class Quarantine:
    """The gate of one listener."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._pace = Pace(limits.per_second, limits.burst, clock)
        self.waiting: dict[str, float] = {}
        """The latest who were not let in, with the time."""
        self.refused = 0

    def admits(self, id: str, present: int, now: float) -> bool:  # noqa: A002 - a sighting's own word
        """Whether one more may come in."""
        if present < self._limits.devices and self._pace.take():
            self.waiting.pop(id, None)
            return True
        self.refused += 1
        self.waiting.pop(id, None)
        self.waiting[id] = now
        if len(self.waiting) > MOST_NAMED:
            del self.waiting[next(iter(self.waiting))]
        return False

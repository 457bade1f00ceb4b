"""What is remembered of failures of an instance's objects, so that nothing is tried again too soon.

The first attempt after a failure comes at once, the next ones after 10, 20, 40 ... 300 seconds. Ten minutes of running,
or another text of the object, and all is forgotten. Values: each change is a new one, kept by whoever reconciles; what
a restart forgets costs one attempt more.
"""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.model import HASH
from ashore_broker_launcher.objects import annotation, uid_of

FIRST_DELAY: Final = 10.0
LONGEST_DELAY: Final = 300.0
STEADY: Final = 600.0
"""Who has run for so long has recovered."""
_FORGOTTEN: Final = 3600.0


class Streak(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one object in a row."""

    count: int
    at: float
    """When the last one was noticed."""
    hash: str
    """Of the object that failed: another text deserves another attempt."""
    uid: str = ""
    """The pod that was counted last; empty where its creation was refused."""
    reason: str = ""

    @property
    def due(self) -> float:
        """When the next attempt may be made."""
        return self.at + delay(self.count)


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """The failures of one instance's objects, by `place`."""

    streaks: dict[str, Streak] = {}

    def of(self, place: str, hash_: str) -> Streak | None:
        """The failures of an object with this text."""
        found = self.streaks.get(place)
        return found if found is not None and found.hash == hash_ else None

    def count(self, place: str) -> int:
        """How often in a row it has failed, whatever its text."""
        found = self.streaks.get(place)
        return 0 if found is None else found.count

    def refused(self, body: JsonObject, now: float, reason: str) -> "Failures":
        """An object of a plan could not be made or changed."""
        return _with(self, place(body), Streak(count=1, at=now, hash=annotation(body, HASH), reason=reason))

    def failed(self, pod: JsonObject, now: float, reason: str, *, ran: float = 0.0, weight: int = 1) -> "Failures":
        """A pod has failed, after it `ran` for so many seconds; the same pod counts once, for `weight` failures."""
        key, uid = place(pod), uid_of(pod)
        before = self.streaks.get(key)
        if before is not None and before.uid == uid:
            return self
        fresh = self.without(key) if ran >= STEADY else self
        streak = Streak(count=weight, at=now, hash=annotation(pod, HASH), uid=uid, reason=reason)
        return _with(fresh, key, streak)

    def without(self, place: str) -> "Failures":
        """It has recovered."""
        if place not in self.streaks:
            return self
        return Failures(streaks={key: one for key, one in self.streaks.items() if key != place})

    def recent(self, now: float) -> "Failures":
        """Without what is long ago."""
        if all(now - one.at <= _FORGOTTEN for one in self.streaks.values()):
            return self
        return Failures(streaks={key: one for key, one in self.streaks.items() if now - one.at <= _FORGOTTEN})


def _with(failures: Failures, key: str, streak: Streak) -> Failures:
    before = failures.of(key, streak.hash)
    counted = msgspec.structs.replace(streak, count=streak.count + (0 if before is None else before.count))
    return Failures(streaks={**failures.streaks, key: counted})


def place(body: JsonObject) -> str:
    """By what an object is remembered: the next of its name stands in the same place."""
    return f"{body['kind']}/{body['metadata']['name']}"


def delay(count: int) -> float:
    """How long to wait after so many failures in a row: 0, 10, 20, 40 ... 300 seconds."""
    if count <= 1:
        return 0.0
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 2, 16))

"""Registrations and rules, as values on the bus: no database, and every replica sees the same.

A registration is `rendezvous-blob.<guid>` and ends by its own time to live. A rule is `rendezvous-rule.<kind>.<id>` and
stays. Every method may raise BusError.
"""

import asyncio
import bisect
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar, cast

import msgspec

from ashore.bus import Bus
from ashore_rendezvous.model import Blob, Claim, Rule, RuleKind, denied, unknown

RULE_SECONDS: Final = 5.0
"""How long a replica believes what it has read of a rule."""
_RULES_KEPT: Final = 10_000
_BLOB: Final = "rendezvous-blob"
_RULE: Final = "rendezvous-rule"
_AT_ONCE: Final = 20

T = TypeVar("T")
R = TypeVar("R")


class Entry(NamedTuple):
    """A rule as read, or that there is none."""

    rule: Rule | None
    until: float


class Registrations:
    """Where owners are, until their time is over."""

    def __init__(self, bus: Bus, clock: Callable[[], float]) -> None:
        self._bus = bus
        self._clock = clock

    async def find(self, guid: str) -> Blob | None:
        """The registration of a device; None where there is none, or it has ended."""
        body = await self._bus.get(f"{_BLOB}.{guid}")
        blob = None if body is None else Blob.decode(body)
        return None if blob is None or blob.expires_at <= self._clock() else blob

    async def put(self, guid: str, blob: Blob) -> None:
        """Keep a registration until it ends."""
        await self._bus.put(f"{_BLOB}.{guid}", blob.encode(), ttl=blob.seconds)

    async def delete(self, guid: str) -> None:
        """End a registration now."""
        await self._bus.delete(f"{_BLOB}.{guid}")

    async def page(self, after: str, limit: int) -> tuple[list[tuple[str, Blob]], str | None]:
        """Registrations by GUID, and after which one the next page begins."""
        subjects, following = cut(await self._bus.keys(f"{_BLOB}.*"), f"{_BLOB}.{after}", limit)
        guids = [subject.partition(".")[2] for subject in subjects]
        blobs = await each(guids, self.find)
        found = [(guid, blob) for guid, blob in zip(guids, blobs, strict=True) if blob is not None]
        return found, following and following.partition(".")[2]


class Rules:
    """Whom the operator allows and denies, and the keys that are trusted from the start."""

    def __init__(self, bus: Bus, clock: Callable[[], float], trusted: frozenset[str] = frozenset()) -> None:
        self.trusted = trusted
        self._bus = bus
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    async def admit(self, claim: Claim) -> None:
        """Raise NotAdmittedError unless the registration is allowed: a denial beats every permission."""
        rules = await asyncio.gather(*(self.find(*subject) for subject in claim.subjects))
        for (kind, name), rule in zip(claim.subjects, rules, strict=True):
            if rule is not None and rule.verdict == "deny":
                raise denied(kind, name, rule.comment)
        trusted = self.trusted.intersection((claim.manufacturer, claim.owner))
        if not trusted and not any(rules):
            raise unknown(claim)

    async def refuse_denied(self, keys: Sequence[str]) -> None:
        """Raise NotAdmittedError where the manufacturer, or any owner that ever was, is denied."""
        for index, key in enumerate(keys):
            kind: RuleKind = "owner" if index else "manufacturer"
            rule = await self.find(kind, key)
            if rule is not None and rule.verdict == "deny":
                raise denied(kind, key, rule.comment)

    async def find(self, kind: RuleKind, name: str) -> Rule | None:
        """A rule, as it was some seconds ago at most."""
        subject = _subject(kind, name)
        entry = self._entries.get(subject)
        # One that would be believed for longer was read before the clock was set back.
        if entry is None or not 0 < entry.until - self._clock() <= RULE_SECONDS:
            entry = Entry(await self.read(kind, name), self._clock() + RULE_SECONDS)
            self._remember(subject, entry)
        return entry.rule

    async def read(self, kind: RuleKind, name: str) -> Rule | None:
        """A rule, as it is now."""
        body = await self._bus.get(_subject(kind, name))
        return None if body is None else msgspec.json.decode(body, type=Rule)

    async def put(self, kind: RuleKind, name: str, rule: Rule) -> None:
        """Set a rule."""
        await self._bus.put(_subject(kind, name), msgspec.json.encode(rule), ttl=None)
        self._entries.pop(_subject(kind, name), None)

    async def delete(self, kind: RuleKind, name: str) -> None:
        """Take a rule back."""
        await self._bus.delete(_subject(kind, name))
        self._entries.pop(_subject(kind, name), None)

    async def page(self, after: str, limit: int) -> tuple[list[tuple[RuleKind, str, Rule]], str | None]:
        """Rules by kind and name, and after which one the next page begins."""
        subjects, following = cut(await self._bus.keys(f"{_RULE}.>"), f"{_RULE}.{after}", limit)
        names = [_parts(subject) for subject in subjects]
        rules = await each(names, lambda name: self.read(*name))
        found = [(*name, rule) for name, rule in zip(names, rules, strict=True) if rule is not None]
        return found, following and following.partition(".")[2]

    def _remember(self, subject: str, entry: Entry) -> None:
        self._entries[subject] = entry
        self._entries.move_to_end(subject)
        if len(self._entries) > _RULES_KEPT:
            self._entries.popitem(last=False)


def cut(names: Sequence[str], after: str, limit: int) -> tuple[Sequence[str], str | None]:
    """One page of a sorted list, and its last name where more follow."""
    start = bisect.bisect_right(names, after)
    found = names[start : start + limit]
    return found, found[-1] if start + limit < len(names) else None


async def each(names: Sequence[T], read: Callable[[T], Awaitable[R]]) -> list[R]:
    """Read many values, some of them at once."""
    found: list[R] = []
    for start in range(0, len(names), _AT_ONCE):
        found += await asyncio.gather(*map(read, names[start : start + _AT_ONCE]))
    return found


def _subject(kind: RuleKind, name: str) -> str:
    return f"{_RULE}.{kind}.{name}"


def _parts(subject: str) -> tuple[RuleKind, str]:
    _, kind, name = subject.split(".")
    return cast("RuleKind", kind), name

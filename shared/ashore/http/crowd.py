"""All connections of a server: a bounded number, and somebody who looks after them.

Where there are too many, those go that have been idle for longest, then those whose request takes longest to arrive,
because a client that means it sends its request at once. Only where all are being served is a newcomer turned away.
"""

import asyncio
import heapq
from collections.abc import Iterator
from typing import Final, Protocol

import structlog

_BUSY_SECONDS: Final = 1.0
_ROOM_MADE: Final = 64
"""The part of all connections that goes at once, so that the search for them is seldom."""
_FAIR_SECONDS: Final = 1.0
"""How long a request may arrive without anybody taking offence."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Member(Protocol):
    """A connection, as the crowd sees it."""

    def waits_since(self) -> tuple[bool, float] | None:
        """Whether a request is arriving, and since when the client is waited for; None where it is not."""

    def sweep(self, now: float) -> None:
        """Hang up if the client takes too long."""

    def drain(self) -> None:
        """Leave as soon as what is under way is done."""

    def cut(self) -> None:
        """Leave at once."""


class Crowd:
    """Knows the connections that are open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._members: set[Member] = set()
        self._full_until = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members))

    def join(self, member: Member, now: float) -> bool:
        """Take in one more; False if there is no room, in which case it has to leave soon."""
        if len(self._members) >= self._most and now >= self._full_until:
            self._make_room(now)
        has_room = len(self._members) < self._most
        self._members.add(member)
        return has_room

    def leave(self, member: Member) -> None:
        """Forget this one."""
        self._members.discard(member)

    async def look_after(self, every: float) -> None:
        """See to the time limits of all, every so many seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every)
            for member in self:
                try:
                    member.sweep(loop.time())
                except Exception:
                    # The others have to be seen to whatever happens to this one.
                    log.exception("a connection could not be looked after")

    def _make_room(self, now: float) -> None:
        waiting: list[tuple[bool, float, int, Member]] = []
        for member in self._members:
            waits = member.waits_since()
            if waits is not None and (not waits[0] or now - waits[1] > _FAIR_SECONDS):
                waiting.append((*waits, id(member), member))
        for *_, member in heapq.nsmallest(max(1, self._most // _ROOM_MADE), waiting):
            member.cut()
        if not waiting:
            log.warning("too many connections, and all of them busy", connections=len(self._members))
            self._full_until = now + _BUSY_SECONDS

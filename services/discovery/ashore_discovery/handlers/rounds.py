"""Going round: everything that a handler has seen is asked, again and again, whether it is still there.

A pulled plug is announced by nobody. Who does not answer is said to be `missed`, which has the layers above ask three
times more before they believe it; who answers after that is said to be seen again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ashore_discovery.model import Sighting

_MOST_A_SECOND: Final = 40.0
_GIVEN_UP: Final = 60
"""So many rounds without an answer, and it is forgotten until it speaks."""
_MOST_AT_ONCE: Final = 32


class Rounds:
    """The rounds of one listener."""

    def __init__(
        self,
        seconds: float,
        ask: Callable[[str], Awaitable[bool | None]],
        say: Callable[[Sighting], Awaitable[None]],
        forget: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._ask = ask
        self._say = say
        self._forget = forget
        self._known: dict[str, Sighting] = {}
        self._missed: dict[str, int] = {}
        self._at_once = asyncio.Semaphore(_MOST_AT_ONCE)

    def note(self, sighting: Sighting) -> None:
        """It has been seen, or has left."""
        if sighting.kind == "missed":
            return
        self._missed.pop(sighting.id, None)
        if sighting.kind == "seen":
            self._known[sighting.id] = sighting
        else:
            self._known.pop(sighting.id, None)

    def missing(self, name: str) -> bool:
        """Whether it did not answer when it was asked last."""
        return name in self._missed

    async def go(self) -> None:
        """Go round without end; where there are too many for one round, it takes longer."""
        async with asyncio.TaskGroup() as group:
            while True:
                names = list(self._known)
                pause = max(self._seconds / max(1, len(names)), 1 / _MOST_A_SECOND)
                for name in names:
                    await self._at_once.acquire()
                    group.create_task(self._check(name))
                    await asyncio.sleep(pause)
                if not names:
                    await asyncio.sleep(self._seconds)

    async def _check(self, name: str) -> None:
        try:
            alive = await self._ask(name)
        finally:
            self._at_once.release()
        last = self._known.get(name)
        if last is None or alive is None:
            return
        if alive:
            if self._missed.pop(name, 0):
                await self._say(msgspec.structs.replace(last, wire_at=0.0))
            return
        self._missed[name] = self._missed.get(name, 0) + 1
        if self._missed[name] > _GIVEN_UP:
            self._known.pop(name)
            del self._missed[name]
            self._forget(name)
            return
        await self._say(Sighting(id=name, kind="missed", cause="silent"))

"""Whether all that is known is still there: each device is asked once a second, or less often where there are many.

A pulled plug is announced by nobody, and what is announced may be forged: both are found by asking.
"""

import asyncio
from contextlib import suppress
from typing import Final

from ashore_discovery.handler import Context
from ashore_discovery.handlers.onvif.asking import Asking
from ashore_discovery.handlers.onvif.book import Book
from ashore_discovery.handlers.onvif.details import OnvifSettings
from ashore_discovery.handlers.onvif.knowing import Known
from ashore_discovery.handlers.onvif.sockets import Sockets, carries

SHORTEST_PAUSE: Final = 0.02
LONGEST_IDLE: Final = 0.25
"""Nobody who was heard a moment ago is asked sooner than this."""
ANSWER_SECONDS: Final = 0.5
CHECKS_PER_SECOND: Final = 25.0
BYE_SECONDS: Final = 0.7
"""How long a goodbye is believed without a question; its hold is a second."""
MOST_MISSES: Final = 12
LONGEST_PAUSE: Final = 60.0
SWEEPS: Final = 3


class Rounds:
    """Asks, and tells the table."""

    def __init__(self, context: Context, settings: OnvifSettings, sockets: Sockets, book: Book) -> None:
        self._context = context
        self._settings = settings
        self._book = book
        self.asking = Asking(sockets, context.clock)

    async def run(self) -> None:
        """Without end."""
        while True:
            now = self._context.clock()
            everybody = list(self._book)
            pause = max(self._settings.check_seconds, sum(one.proven for one in everybody) / CHECKS_PER_SECOND)
            due = [one for one in everybody if one.due <= now and not one.mute and not one.leaving]
            # Who has never answered waits: a flood of inventions must not delay the question to a real device.
            for known in sorted(due, key=lambda one: (not one.proven, one.due))[: int(CHECKS_PER_SECOND)]:
                known.due = now + min(pause * 2**known.misses, LONGEST_PAUSE)
                await self._context.pace()
                self._context.spawn(self._check(known))
            ahead = min((one.due for one in everybody if not one.mute and not one.leaving), default=now + LONGEST_IDLE)
            await asyncio.sleep(min(max(ahead - self._context.clock(), SHORTEST_PAUSE), LONGEST_IDLE))

    async def ask(self, known: Known, seconds: float) -> bool:
        """The tracker's question: in every way there is."""
        everybody = asyncio.ensure_future(self.asking.speaks(known.epr, seconds))
        try:
            directly = await self.asking.alive(known, self._book.places(known).values(), seconds)
            answers = directly or await everybody
        finally:
            everybody.cancel()
            with suppress(asyncio.CancelledError):
                await everybody
        if answers:
            known.proven, known.mute, known.misses = True, not directly, 0
            known.heard_at = self._context.clock()
            self._book.add(known)
        return answers

    async def doubt_bye(self, known: Known) -> None:
        """Whoever says goodbye and still answers has not said it: somebody else has."""
        await asyncio.sleep(BYE_SECONDS)
        answers = await self.asking.directly(known, 0.9 - BYE_SECONDS)
        if not known.leaving:
            return
        known.leaving = False
        if answers:
            self._book.say(known, "answered")
        else:
            self._book.remove(known)

    def miss_mute(self, now: float) -> None:
        """Who answers only the group, and has not done so for several looks around, is missing."""
        for known in self._book:
            if known.mute and now - known.heard_at > SWEEPS * self._settings.scan_seconds:
                self._book.miss(known, "look-missed")
                self._book.remove(known)

    async def verify(self, known: Known) -> bool:
        """Whether it answers at all; who does not is told to be missing."""
        answers = await self.asking.alive(known, self._book.places(known).values(), ANSWER_SECONDS)
        self._note(known, answers=answers)
        return answers

    async def _check(self, known: Known) -> None:
        await self.verify(known)

    def _note(self, known: Known, *, answers: bool) -> None:
        # Who is not in the table came when that was full; the tracker may know it nevertheless.
        if known.leaving or self._book.get(known.epr) not in (known, None) or not carries(self._context.interface):
            return
        if answers:
            known.proven = True
            self._book.add(known)
            if known.misses:
                known.misses = 0
                known.due = self._context.clock() + self._settings.check_seconds
                self._book.say(known, "answered")
            return
        known.misses += 1
        if known.misses == 1:
            self._book.miss(known, "check-missed")
        if not known.proven or known.misses > MOST_MISSES:
            self._book.remove(known)

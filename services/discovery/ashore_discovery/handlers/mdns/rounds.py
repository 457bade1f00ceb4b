"""Asking all devices in turn whether they are there, because nobody announces a pulled plug.

A host is asked about one of its services in each round. Silence is told as `missed`, no more: whether the device is
gone is decided above, after further questions. Only who has answered once is expected to answer always; for the others
the time to live of their records must do.
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final, Literal

from ashore_discovery.handlers.mdns.book import Book, Host
from ashore_discovery.handlers.mdns.ear import News
from ashore_discovery.handlers.mdns.question import Questioner
from ashore_discovery.handlers.mdns.record import Service
from ashore_discovery.limits import Pace

FIRST_TRIES: Final = 3
"""So often a host is asked for a service for which it has never answered."""
MOST_FRESH: Final = 20
"""So many hosts that have never answered are asked in one round."""
LONGEST_PAUSE: Final = 30.0
"""Seconds between two questions to a host that is silent. It will announce itself when it is back."""
_MOST_DOUBLINGS: Final = 8


class Rounds:
    """Who is asked when, and what follows from it."""

    def __init__(
        self, book: Book, questioner: Questioner, pace: Pace, tell: Callable[[News], None], millis: Callable[[], float]
    ) -> None:
        self._book = book
        self._questioner = questioner
        self._pace = pace
        self._tell = tell
        self._millis = millis
        self._shared: dict[str, asyncio.Task[bool | None]] = {}
        self._now = asyncio.Event()

    async def keep(self, seconds: float) -> None:
        """Go round, so often."""
        loop = asyncio.get_running_loop()
        while True:
            started, everybody = loop.time(), self._now.is_set()
            self._now.clear()
            await asyncio.gather(*(self._visit(key, host, seconds) for key, host in self._due(started, everybody)))
            try:
                async with asyncio.timeout_at(started + seconds):
                    await self._now.wait()
            except TimeoutError:
                continue

    def _due(self, now: float, everybody: bool) -> list[tuple[str, Host]]:  # noqa: FBT001 - of ours
        """Who has answered before others have, so that forged announcements do not keep us from those who are there."""
        hosts = [(key, one) for key, one in self._book.hosts.items() if everybody or now >= one.due]
        proven = [(key, one) for key, one in hosts if one.answering]
        fresh = ((key, one) for key, one in hosts if not one.answering and one.next_untried(FIRST_TRIES))
        return proven + list(itertools.islice(fresh, MOST_FRESH))

    def everybody(self) -> None:
        """Ask all of them now."""
        self._now.set()

    def heard(self, service: Service) -> None:
        """It has announced itself, so its host is not silent any more."""
        host = self._book.host_of(service)
        if host is not None and host.unanswered:
            host.unanswered, host.due = 0, 0.0

    async def probe(self, service: Service) -> bool | None:
        """Whether it answers; None where it cannot be asked. A silent host is asked once for all its services."""
        host = self._book.host_of(service)
        if host is None or not host.unanswered:
            return await self._questioner.ask(service)
        key = service.host.lower()
        if key not in self._shared:
            task = asyncio.create_task(self._questioner.ask(service), name=f"ask-{key}")
            self._shared[key] = task
            task.add_done_callback(lambda _: self._shared.pop(key, None))
        return await asyncio.shield(self._shared[key])

    def answers(self, service: Service) -> bool:
        """Whether its silence says anything."""
        host = self._book.host_of(service)
        return host is not None and service.id in host.answering

    async def _visit(self, key: str, host: Host, seconds: float) -> None:
        met = await self._meet(key, host)
        if not host.answering or self._book.hosts.get(key) is not host:
            return
        id = host.next_answering()  # noqa: A001 - a sighting's own word
        alive = True if met else await self._ask(id)
        if alive is None or id not in host.answering:
            return
        # The host may be there without this service: another one tells.
        alone = alive or len(host.answering) == 1 or host.unanswered
        if not alone and await self._ask(host.next_answering()):
            self._say(id, "missed", "no-answer")
            return
        self._conclude(host, id, seconds, alive=alive)

    async def _meet(self, key: str, host: Host) -> bool:
        """Find out whether it answers for a service at all."""
        id = host.next_untried(FIRST_TRIES)  # noqa: A001 - a sighting's own word
        if id is None or host.unanswered or not self._questioner.addresses(self._book.services[id]):
            return False
        host.tries[id] = host.tries.get(id, 0) + 1
        alive = await self._ask(id)
        if not alive or self._book.hosts.get(key) is not host or id not in host.ids:
            return False
        host.answering[id] = None
        return True

    async def _ask(self, id: str) -> bool | None:  # noqa: A002 - a sighting's own word
        await self._pace()
        service = self._book.services.get(id)
        return None if service is None else await self._questioner.ask(service)

    def _conclude(self, host: Host, id: str, seconds: float, *, alive: bool) -> None:  # noqa: A002 - see above
        if alive:
            # Who was given up and is back is told with everything that it has.
            for one in list(host.ids) if host.unanswered else [id]:
                self._say(one, "seen", "answered")
            host.unanswered, host.due = 0, 0.0
            return
        if not host.unanswered:
            for one in list(host.ids):
                self._say(one, "missed", "no-answer")
        pause = min(LONGEST_PAUSE, seconds * 2 ** min(host.unanswered, _MOST_DOUBLINGS))
        host.unanswered += 1
        host.due = asyncio.get_running_loop().time() + pause

    def _say(self, id: str, kind: Literal["seen", "missed"], cause: str) -> None:  # noqa: A002 - see above
        service = self._book.services.get(id)
        if service is not None:
            self._tell(News(service, kind, cause, self._millis()))

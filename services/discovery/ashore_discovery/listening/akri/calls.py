"""The calls of one listener: a `Discover` for each endpoint and query, kept open, and opened again with growing pauses.

What they bring waits here for the listener, the latest list of each only: who sends lists faster than they can be
looked at overwrites his own.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import aclosing, suppress
from typing import Final, Literal

import msgspec

from ashore.grpc import CallError
from ashore_discovery.handler import HandlerError
from ashore_discovery.listening.akri.endpoints import Endpoint, EndpointError, Family, Places
from ashore_discovery.listening.akri.lists import ListError, Stream, Whole
from ashore_discovery.listening.akri.messages import read_list, write_request
from ashore_discovery.listening.akri.wire import DetailsError, Line, discover

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 60.0
HEALTHY_SECONDS: Final = 10.0
_REST: Final = 0.02
_REST_PER_DEVICE: Final = 0.0002
"""After a list the stream rests, so that a handler that never stops takes a tenth of a core: a device takes 20 us."""

CallState = Literal["connecting", "open", "listed", "refused", "lost"]


class Call(msgspec.Struct, kw_only=True):
    """How one stream is."""

    endpoint: Endpoint
    state: CallState = "connecting"
    reason: str = ""
    since: float = 0.0
    """When the state began."""
    listed_at: float | None = None
    unusable: str = ""

    @property
    def alive(self) -> bool:
        """Whether the handler is at the other end."""
        return self.state in ("open", "listed")


class Calls:
    """All calls of one listener."""

    def __init__(
        self,
        family: Family,
        places: Places,
        *,
        clock: Callable[[], float],
        secret: Callable[[str], str],
        spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self.calls: dict[Stream, Call] = {}
        self.news = family.news
        self._family = family
        self._places = places
        self._clock = clock
        self._secret = secret
        self._spawn = spawn
        self._tasks: dict[Stream, asyncio.Task[None]] = {}
        self._lines: dict[str, Line] = {}
        self._waiting: dict[Stream, Whole | None] = {}

    def arrange(self, streams: Iterable[Stream]) -> list[Stream]:
        """Have exactly these calls; the answer is those that are no more."""
        wanted = set(streams)
        ended = [one for one in self._tasks if one not in wanted]
        for stream in ended:
            self._tasks.pop(stream).cancel()
            self.calls.pop(stream, None)
            self._waiting.pop(stream, None)
        for stream in sorted(wanted - self._tasks.keys()):
            call = Call(endpoint=self._family.endpoints[stream.endpoint], since=self._clock())
            self.calls[stream] = call
            self._tasks[stream] = self._spawn(self._keep(stream, call))
        for endpoint in self._lines.keys() - {one.endpoint for one in wanted}:
            self._lines.pop(endpoint).close()
        return ended

    @property
    def waiting(self) -> bool:
        """Whether something has come that was not taken yet."""
        return bool(self._waiting)

    @property
    def losing(self) -> bool:
        """Whether that is, among others, the end of a stream."""
        return None in self._waiting.values()

    def taken(self) -> list[tuple[Stream, Whole | None]]:
        """What has come since the last time: lists, and None for each stream that was lost."""
        found, self._waiting = list(self._waiting.items()), {}
        return found

    def silent(self, seconds: float) -> list[Stream]:
        """Streams that have been open for so long without a list; from now on they count as having said one."""
        now = self._clock()
        found = [stream for stream, call in self.calls.items() if call.state == "open" and now - call.since >= seconds]
        for stream in found:
            self._change(stream, self.calls[stream], "listed")
        return found

    def refuse(self, stream: Stream, reason: str) -> None:
        """Its list cannot be taken."""
        self._change(stream, self.calls[stream], "lost", reason)

    def close(self) -> None:
        """Hang up, for good."""
        self.calls.clear()
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    async def _keep(self, stream: Stream, call: Call) -> None:
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            call.endpoint.again.clear()
            await self._try(stream, call)
            if self.calls.get(stream) is not call:
                # A connection that is closed in the moment of a cancellation swallows it.
                return
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = FIRST_PAUSE
            # A handler that registers again is there again.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await call.endpoint.again.wait()
                    pause = FIRST_PAUSE
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, stream: Stream, call: Call) -> None:
        try:
            await self._once(stream, call)
        except DetailsError as error:
            call.endpoint.failures, call.endpoint.failing_since = 0, None
            self._change(stream, call, "refused", str(error))
        except (CallError, ListError, HandlerError, EndpointError) as error:
            if not call.alive:
                call.endpoint.failures += 1
                call.endpoint.failing_since = call.endpoint.failing_since or self._clock()
            self._change(stream, call, "lost", str(error))

    async def _once(self, stream: Stream, call: Call) -> None:
        request = write_request(stream.query.details, stream.query.opened(self._secret))
        async with aclosing(discover(self._line(stream), request, lambda: self._opened(stream, call))) as bodies:
            async for body in bodies:
                whole = await read_list(body, self._clock())
                call.listed_at = whole.at
                call.unusable = next((f"{id_[:64]!r}: {why}" for id_, why in whole.unusable.items()), "")
                self._waiting[stream] = whole
                self._change(stream, call, "listed")
                await asyncio.sleep(_REST + _REST_PER_DEVICE * (len(whole.devices) + len(whole.unusable)))

    def _line(self, stream: Stream) -> Line:
        line = self._lines.get(stream.endpoint)
        if line is None:
            kept = self._family.endpoints[stream.endpoint].kept
            line = self._lines[stream.endpoint] = Line(lambda: self._places.door(kept))
        return line

    def _opened(self, stream: Stream, call: Call) -> None:
        call.endpoint.failures, call.endpoint.failing_since = 0, None
        self._change(stream, call, "open")

    def _change(self, stream: Stream, call: Call, state: CallState, reason: str = "") -> None:
        if self.calls.get(stream) is not call:
            return
        if state in ("lost", "refused") and call.alive:
            # A list that has not been looked at yet is not the truth any more, but it was.
            self._waiting[stream] = None
        call.state, call.reason, call.since = state, reason, self._clock()
        self.news.set()

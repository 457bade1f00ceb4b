"""One connection of a client: requests are answered in order, and a client that does not play along has to go.

A request has some time to arrive, an idle connection some time until its next request, and an answer some time until
the client has read it. `sweep` sees to that once a second for each connection, which is cheaper than a timer for each
request.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, cast

from starlette.types import Scope

from ashore.http import wire
from ashore.http.crowd import Crowd
from ashore.http.jobs import Job, Ready
from ashore.http.reading import Reader, Refusal
from ashore.http.site import Site

_SLOWEST_RATE: Final = 16_384
_LINGER_SECONDS: Final = 2.0
_GOODBYE_SECONDS: Final = 0.5
_MOST_PIPELINED: Final = 128


class Connection(asyncio.Protocol):
    """A TCP or TLS connection (ports: asyncio.Protocol below it, `Line` for jobs, `Member` of the crowd)."""

    _transport: asyncio.Transport

    def __init__(self, site: Site, crowd: Crowd) -> None:
        self._site = site
        self._crowd = crowd
        self.peer = "local"
        self._reader = Reader(functools.partial(site.begin, self), site.loop.time)
        self._active: Job | None = None
        self._queue: deque[Job] = deque()
        self._since = site.loop.time()
        """When it began, or became idle."""
        self._last = self._interrupted = self._paused = self._draining = False
        # No further request is taken; the client was still sending; we do not read; the server stops.
        self._full: asyncio.Event | None = None
        """Set once the client reads again; None while it does."""
        self._full_until = 0.0
        self._abort_at = 0.0
        """When to stop being polite, once it is hung up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if peer:
            # A listener for both kinds of IP sees IPv4 clients in this form, and limits are by address.
            self.peer = peer[0].removeprefix("::ffff:")
        if not self._crowd.join(self, self._since):
            self._reader.stop()
            self.submit(Ready(self, wire.FULL, keep_alive=False))

    def data_received(self, data: bytes) -> None:
        """Read requests, or skip what a client says after its last one."""
        try:
            if not self._reader.stopped:
                self._reader.feed(data)
        except Refusal as refusal:
            self._refuse(refusal.answer)

    def eof_received(self) -> bool:
        """The client sends nothing more; what it asked for before is still answered, except over TLS."""
        for job in (self._reader.job, self._active):
            if job is not None:
                job.lose()
        self._reader.stop()
        self._last = True
        asked = self._active is not None or bool(self._queue)
        return asked and not self._abort_at and not self._transport.get_extra_info("sslcontext")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """The connection is over; a handler at work goes on, since what it does may have to be done."""
        self._crowd.leave(self)
        self._abort_at = self._abort_at or self._site.loop.time()
        self._reader.stop()
        self._queue.clear()
        active, self._active = self._active, None
        if active is not None:
            active.lose()
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        self._full = asyncio.Event()
        self._full_until = self._patience()
        self.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._full is not None:
            self._full.set()
            self._full = None
            self._advance()

    def submit(self, job: Job) -> None:
        """Start this job as soon as it is its turn; raise Refusal where too many wait."""
        if self._is_free():
            self._active = job
            job.start()
        elif len(self._queue) < _MOST_PIPELINED or self._last:
            self._queue.append(job)
            self.pause_reading()
        else:
            raise Refusal(wire.TOO_MANY)

    def invite(self) -> None:
        """Tell a client that asks first to send the body, if it is its turn; otherwise it sends it a little later."""
        if self._is_free() and self._is_open():
            self._transport.write(wire.CONTINUE)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a job's work in a task, which is remembered until `ended`."""
        task = self._site.loop.create_task(work)
        self._site.tasks.add(task)
        return task

    def ended(self, task: asyncio.Task[None] | None) -> None:
        """Forget a task at its end. A callback of the task would do so as well, for another turn of the loop."""
        if task is not None:
            self._site.tasks.discard(task)

    def answer(self, job: Job, answer: wire.Answer) -> None:
        """Write a whole answer, and finish."""
        if job is self._active and self._is_open():
            close = answer.close or self._draining or not job.keep_alive
            self._transport.write(b"".join((answer.head, wire.CLOSE if close else wire.END, answer.body)))
            self.finish(job, close=close)

    def write(self, job: Job, data: bytes) -> None:
        """Write a part of an answer."""
        if job is self._active and self._is_open():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait while the client does not read."""
        if self._full is not None:
            await self._full.wait()

    def finish(self, job: Job, *, close: bool) -> None:
        """All is written."""
        if job is not self._active or not self._is_open():
            return
        self._active = None
        if close or self._draining or (self._last and not self._queue):
            self._hang_up()
        elif self._queue:
            # Not at once, because many short answers would be a deep recursion.
            self._site.loop.call_soon(self._advance)
        else:
            self._since = self._site.loop.time()
            self.resume_reading()

    def abort(self, job: Job) -> None:
        """Cut the connection, so that the client does not take a part of an answer for the whole."""
        if job is self._active:
            self.cut()

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        if not self._paused and self._is_open():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking from the client, unless there are other reasons not to."""
        if self._paused and self._full is None and not self._queue and self._is_open():
            self._paused = False
            # The client was not free to send meanwhile.
            self._reader.since = self._site.loop.time()
            self._transport.resume_reading()

    def ends(self) -> Scope:
        """Both addresses and the scheme, as ASGI wants them."""
        own, peer = (self._transport.get_extra_info(name) for name in ("sockname", "peername"))
        return {
            "server": tuple(own[:2]) if own else None,
            "client": tuple(peer[:2]) if peer else None,
            "scheme": "https" if self._transport.get_extra_info("sslcontext") else "http",
        }

    def waits_since(self) -> tuple[bool, float] | None:
        """Whether a request is arriving, and since when the client is waited for; None where it is not."""
        if self._abort_at or not self._is_free():
            return None
        return self._reader.arriving, self._reader.since if self._reader.arriving else self._since

    def sweep(self, now: float) -> None:
        """Look whether the client takes too long."""
        times, reader = self._site.times, self._reader
        if self._abort_at:
            if now >= self._abort_at:
                self.cut()
        elif self._full is not None:
            if now >= self._full_until:
                self.cut()
        elif reader.arriving or not reader.since:
            allowed = times.read + reader.received / _SLOWEST_RATE
            if not self._paused and now - (reader.since or self._since) > allowed:
                self._refuse(wire.TOO_SLOW)
        elif self._is_free() and now - self._since > times.keep_alive:
            self._hang_up()

    def drain(self) -> None:
        """The server stops: hang up where nothing is under way, otherwise after the next answer."""
        self._draining = True
        if self._active is not None:
            self._active.wind_up()
        elif self._abort_at:
            # asyncio takes a second close for the end of TLS, and then cuts nothing.
            if not self._transport.is_closing():
                self._transport.close()
            elif self._misses_goodbye():
                self.cut()
        elif not self._queue and not self._reader.arriving:
            self._hang_up()

    def _misses_goodbye(self) -> bool:
        """Whether all is written over TLS and the client does not end it, as pools of idle connections never do."""
        since = self._abort_at - self._site.times.write
        is_secure = self._transport.get_extra_info("sslcontext") is not None
        waited = self._site.loop.time() - since > _GOODBYE_SECONDS
        return is_secure and waited and not self._transport.get_write_buffer_size()

    def cut(self) -> None:
        """Hang up now, whatever is under way."""
        self.connection_lost(None)
        self._transport.abort()

    def _is_free(self) -> bool:
        return self._active is None and self._full is None and not self._queue

    def _is_open(self) -> bool:
        # A transport that the other side reset is closed a moment before it says so, and takes no orders meanwhile.
        return not self._abort_at and not self._transport.is_closing()

    def _advance(self) -> None:
        """Start the next job, if it is its turn."""
        if self._active is None and self._full is None and self._is_open():
            if self._queue:
                self._active = self._queue.popleft()
                self._active.start()
            self.resume_reading()

    def _refuse(self, answer: wire.Answer) -> None:
        """Read no more; say why after what is still to be answered, unless this request has an answer already."""
        if self._reader.stopped:
            return
        job = self._reader.job if self._reader.arriving else None
        self._reader.stop()
        self._last = self._interrupted = True
        if job is not None:
            job.lose()
            if job.answering:
                if self._is_free():
                    self._hang_up()
                return
            if job is self._active:
                self._active = None
            elif job in self._queue:
                self._queue.remove(job)
        self.submit(Ready(self, answer, keep_alive=False))

    def _hang_up(self) -> None:
        """Close, but not in the face of a client that is still sending: it would lose the answer (RFC 9112, 9.6)."""
        interrupted = self._interrupted or self._reader.arriving
        self._reader.stop()
        self._queue.clear()
        self._abort_at = self._patience()
        if interrupted and self._transport.can_write_eof() and not self._transport.is_closing():
            self._abort_at += _LINGER_SECONDS - self._site.times.write
            self._transport.write_eof()
            if self._paused:
                self._transport.resume_reading()
        else:
            self._transport.close()

    def _patience(self) -> float:
        """Until when the client has to read what is written."""
        unread = self._transport.get_write_buffer_size()
        return self._site.loop.time() + self._site.times.write + unread / _SLOWEST_RATE

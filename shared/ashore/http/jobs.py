"""Requests on their way through a connection: what each is asked to do, and the two kinds that need no framework.

A job is made when its headers are there, takes the body as it comes, is started when all requests before it are
answered, and ends by giving the connection its answer. `asgi.py` has the third kind, which the management API needs.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from starlette.types import Scope

from ashore.http.wire import Answer

Headers = list[tuple[bytes, bytes]]
Reply = Callable[[bytes], Coroutine[Any, Any, Answer]]

_MOST_PARTS: Final = 64


class Direct(Protocol):
    """Answers requests without ASGI, in one piece each."""

    def admit(self, method: bytes, path: str, headers: Mapping[bytes, bytes], peer: str) -> Answer | Reply:
        """What makes the answer once the body is there, or at once the answer to a request that is not taken."""


class Line(Protocol):
    """The connection, as its jobs see it; what a job says when it is not its turn is not heard."""

    peer: str
    """The address of the other side."""

    def ends(self) -> Scope:
        """Both addresses and the scheme, as ASGI wants them."""

    def submit(self, job: "Job") -> None:
        """Start this job as soon as it is its turn."""

    def invite(self) -> None:
        """Tell a client that asks first to send the body, if it is its turn."""

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a job's work in a task, which is remembered until `ended`."""

    def ended(self, task: asyncio.Task[None] | None) -> None:
        """Forget a task at its end."""

    def answer(self, job: "Job", answer: Answer) -> None:
        """Write a whole answer, and finish."""

    def write(self, job: "Job", data: bytes) -> None:
        """Write a part of an answer."""

    async def writable(self) -> None:
        """Wait while the client does not read."""

    def finish(self, job: "Job", *, close: bool) -> None:
        """All is written."""

    def abort(self, job: "Job") -> None:
        """Cut the connection, so that the client does not take a part of an answer for the whole."""

    def pause_reading(self) -> None:
        """Take nothing more from the client."""

    def resume_reading(self) -> None:
        """Go on taking from the client, unless there are other reasons not to."""


class Job:
    """One request."""

    __slots__ = ("_line", "_task", "answering", "keep_alive")

    def __init__(self, line: Line, *, keep_alive: bool) -> None:
        self._line = line
        self._task: asyncio.Task[None] | None = None
        self.keep_alive = keep_alive
        self.answering = False
        """Whether what the client is told is settled."""

    def opened(self) -> None:
        """The headers are all there, and the body may come."""

    def take(self, part: bytes) -> None:
        """A part of the body came; it is skipped unless a subclass says otherwise."""

    def complete(self) -> None:
        """The body is all there."""

    def start(self) -> None:
        """It is this request's turn."""
        raise NotImplementedError

    def lose(self) -> None:
        """The client sends nothing more, and perhaps hears nothing more."""

    def wind_up(self) -> None:
        """The service stops, so what would go on for ever has to end."""


class Ready(Job):
    """A request whose answer is known before its body."""

    __slots__ = ("_answer",)

    def __init__(self, line: Line, answer: Answer, *, keep_alive: bool) -> None:
        super().__init__(line, keep_alive=keep_alive)
        self._answer = answer
        self.answering = True

    def opened(self) -> None:
        """There is nothing to wait for."""
        self._line.submit(self)

    def start(self) -> None:
        """Answer."""
        self._line.answer(self, self._answer)


class Letter(Job):
    """A request that is handed on when it is all there, and answered in one piece."""

    __slots__ = ("_expects", "_parts", "_reply")

    def __init__(self, line: Line, reply: Reply, *, keep_alive: bool, expects: bool) -> None:
        super().__init__(line, keep_alive=keep_alive)
        self._reply = reply
        self._expects = expects
        self._parts: list[bytes] = []

    def opened(self) -> None:
        """Some clients want to be asked for the body."""
        if self._expects:
            self._line.invite()

    def take(self, part: bytes) -> None:
        """Keep it; many tiny parts would need far more memory than they hold."""
        self._parts.append(part)
        if len(self._parts) == _MOST_PARTS:
            self._parts = [b"".join(self._parts)]

    def complete(self) -> None:
        """Now there is something to do."""
        self._line.submit(self)

    def start(self) -> None:
        """Have it answered."""
        self._task = self._line.run(self._run())

    async def _run(self) -> None:
        parts = self._parts
        try:
            answer = await self._reply(parts[0] if len(parts) == 1 else b"".join(parts))
        except BaseException:
            self._line.abort(self)
            raise
        finally:
            self._line.ended(self._task)
        self._line.answer(self, answer)

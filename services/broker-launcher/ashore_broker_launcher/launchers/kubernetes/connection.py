"""One connection to an API server, one question after the other, and an answer that is never larger than wanted.

httptools parses (RFC 9112), and refuses what can be read in two ways. Ours are the bounds, and where the answer goes: a
`Whole` one is one body, a `Stream` is read while it comes, no faster than its reader takes it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol, cast

import httptools
import msgspec

HEADER_LIMIT: Final = 65_536
_AHEAD: Final = 262_144
"""So much of a stream is held for a reader that is slow."""
_INFORMATIONAL: Final = 200


class Broken(Exception):  # noqa: N818 - named by what happened to it
    """There was no answer, or no whole one; the text says why."""

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent
        """Whether nothing at all has come back."""


class TooLargeError(Exception):
    """The answer is larger than wanted."""


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    """Names in lower case."""
    body: bytes = b""


class Sink(Protocol):
    """Where an answer goes."""

    def opened(self, answer: Answer) -> None:
        """Status and headers are there."""
        ...

    def take(self, part: bytes) -> bool:
        """A part of the body; false says that it is too much."""
        ...

    def complete(self) -> None:
        """That was all."""
        ...

    def broken(self, error: Exception) -> None:
        """There will be no more."""
        ...


class Whole:
    """One body, up to a size."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._size = 0
        self._parts: list[bytes] = []
        self._answer: Answer | None = None
        self.done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def opened(self, answer: Answer) -> None:
        """Keep them."""
        self._answer = answer

    def take(self, part: bytes) -> bool:
        """Keep it."""
        self._size += len(part)
        self._parts.append(part)
        return self._size <= self._largest

    def complete(self) -> None:
        """Hand it over."""
        if self._answer is not None and not self.done.done():
            self._answer.body = b"".join(self._parts)
            self.done.set_result(self._answer)

    def broken(self, error: Exception) -> None:
        """Tell who waits."""
        if not self.done.done():
            self.done.set_exception(error)


class Stream:
    """A body that is read while it comes."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._parts: deque[bytes] = deque()
        self._held = 0
        self._news = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None
        self.head: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def opened(self, answer: Answer) -> None:
        """Hand them over."""
        if not self.head.done():
            self.head.set_result(answer)

    def take(self, part: bytes) -> bool:
        """Hold it for the reader, and let the server wait where that is too much."""
        self._parts.append(part)
        self._held += len(part)
        if self._held > _AHEAD:
            self._connection.pause()
        self._news.set()
        return True

    def complete(self) -> None:
        """Tell the reader."""
        self._ended = True
        self._news.set()

    def broken(self, error: Exception) -> None:
        """Tell the reader, after all that has come."""
        if not self.head.done():
            self.head.set_exception(error)
        self._error = error
        self._news.set()

    async def lines(self, largest: int) -> AsyncGenerator[bytes, None]:
        """Each line, without its end; raise Broken, or TooLargeError where one is too long."""
        rest: list[bytes] = []
        size = 0
        async with aclosing(self.parts()) as parts:
            async for part in parts:
                *whole, last = part.split(b"\n")
                for line in whole:
                    yield b"".join((*rest, line))
                    rest, size = [], 0
                rest.append(last)
                size += len(last)
                if size > largest:
                    raise TooLargeError(f"a line of more than {largest} bytes")

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """What has come, and then what comes."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._held -= len(part)
                yield part
            self._connection.resume()
            if self._error is not None:
                raise self._error
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()


class Connection(asyncio.Protocol):
    """A connection that is open; `ask` writes a question whose answer goes to a sink."""

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._headers: dict[bytes, bytes] = {}
        self._unparsed = 0
        self._silent = True
        self._opened = False
        self._keep = True
        self._paused = False
        self.asked = 0
        """How many questions it has taken."""

    @property
    def free(self) -> bool:
        """Whether it takes another question."""
        alive = self._transport is not None and not self._transport.is_closing()
        return alive and self._sink is None and self._keep

    def ask(self, question: bytes, sink: Sink) -> None:
        """Write it; only where `free`."""
        if self._transport is None or not self.free:
            raise Broken("the connection has ended", silent=True)
        self._sink, self._silent, self._opened = sink, True, False
        self._headers = {}
        self.asked += 1
        self._transport.write(question)

    def abort(self, error: Exception | None = None) -> None:
        """End it at once; whoever waits for an answer is told."""
        sink, self._sink, self._parser = self._sink, None, None
        if sink is not None:
            sink.broken(error or Broken("the connection was given up"))
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Let the server wait."""
        if self._transport is not None and not self._transport.is_closing() and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if self._transport is not None and not self._transport.is_closing() and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has connected."""
        # What uvloop gives is one by its methods alone.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        if self._parser is None or self._sink is None:
            # Nobody has asked.
            self.abort()
            return
        self._silent = False
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        # To go on with another protocol was never asked for.
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.abort(Broken(f"what came back is not HTTP: {error}"))
            return
        if self._unparsed > HEADER_LIMIT:
            self.abort(TooLargeError(f"headers of more than {HEADER_LIMIT} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop has lost it."""
        sink, self._sink, self._parser = self._sink, None, None
        if sink is None:
            return
        if exc is None and self._opened and not self._headers.keys() & {b"content-length", b"transfer-encoding"}:
            # Such a body ends where the connection does.
            sink.complete()
            return
        text = f"the connection was lost: {exc}" if exc else "the API server has closed the connection"
        sink.broken(Broken(text, silent=self._silent))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are of no interest."""
        if not self._opened:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The headers are all there."""
        self._unparsed = 0
        if self._parser is None or self._parser.get_status_code() < _INFORMATIONAL:
            return
        self._opened = True
        self._keep = self._parser.should_keep_alive()
        if self._sink is not None:
            self._sink.opened(Answer(self._parser.get_status_code(), self._headers))

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._unparsed = 0
        if self._sink is not None and not self._sink.take(part):
            self.abort(TooLargeError("the answer is larger than wanted"))

    def on_message_complete(self) -> None:
        """The answer is all there."""
        self._unparsed = 0
        if not self._opened:
            # Only "go on" has come, and what was asked for follows.
            self._headers = {}
            return
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.complete()
        if not self._keep and self._transport is not None:
            self._transport.close()

"""A request of the management API, as ASGI sees it: a scope, `receive` and `send`.

Streams (server-sent events) learn by `http.disconnect` that their client is gone or that the service stops. A client
that only closed its sending side still gets what is sent.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Scope

from ashore.http import wire
from ashore.http.jobs import Job, Line

_HIGH_WATER: Final = 65_536
"""How much of a body may wait for the application before its client has to."""
_BODILESS: Final = frozenset({204, 304})

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Cycle(Job):
    """One request and its response.

    `expects`: the client sends the body only when told to; `costly`: the rest of the body is not worth skipping.
    """

    def __init__(
        self, line: Line, app: ASGIApp, scope: Scope, *, keep_alive: bool, expects: bool, costly: bool
    ) -> None:
        super().__init__(line, keep_alive=keep_alive)
        self._app = app
        self._scope = scope
        self._expects = expects
        self._costly = costly
        self._event = asyncio.Event()
        self._parts: list[bytes] = []
        self._size = 0
        self._whole = self._told = self._gone = False
        self._chunked = self._mute = self._close = self._over = False
        self._left: int | None = None
        """How much of the response's declared length is still to come."""

    def opened(self) -> None:
        """The application reads the body itself."""
        self._line.submit(self)

    def take(self, part: bytes) -> None:
        """Keep it until the application wants it."""
        if self._over:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > _HIGH_WATER:
            self._line.pause_reading()
        self._event.set()

    def complete(self) -> None:
        """Let the application know."""
        self._whole = True
        self._event.set()

    def start(self) -> None:
        """Call the application."""
        self._task = self._line.run(self._run())

    def lose(self) -> None:
        """Let the application know; it may be waiting for that."""
        self._gone = True
        self._event.set()

    def wind_up(self) -> None:
        """End a stream; what has not begun to answer may finish."""
        if self.answering:
            self.lose()

    async def _run(self) -> None:
        try:
            await self._app(self._scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._line.abort(self)
            raise
        except Exception:
            log.exception("request failed", path=self._scope["path"])
        finally:
            self._line.ended(self._task)
        if self._over:
            return
        self._over = True
        if self.answering:
            self._line.abort(self)
        else:
            self._line.answer(self, wire.FAILED)

    async def _receive(self) -> Message:
        if self._expects and not self.answering:
            self._expects = False
            self._line.write(self, wire.CONTINUE)
        while not self._parts and (self._told or not self._whole):
            if self._gone or self._over:
                return {"type": "http.disconnect"}
            self._event.clear()
            await self._event.wait()
        body = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._told = self._whole
        self._line.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self._whole}

    async def _send(self, message: Message) -> None:
        await self._line.writable()
        if self._over:
            return
        if message["type"] == "http.response.start" and not self.answering:
            self._begin(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body" and self.answering:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} is out of place here")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        named = {name.lower(): value for name, value in headers}
        one_by_one = [(name.lower(), value) for name, value in headers if name.lower() != b"connection"]
        skipping = not self._whole and self._costly
        self._close = skipping or not self.keep_alive or b"close" in named.get(b"connection", b"").lower()
        self._mute = self._scope["method"] == "HEAD" or status in _BODILESS
        if b"content-length" in named:
            self._left = int(named[b"content-length"])
        elif not self._mute and self._scope["http_version"] == "1.1":
            self._chunked = True
            one_by_one.append((b"transfer-encoding", b"chunked"))
        elif not self._mute:
            # HTTP/1.0 knows no chunks, so the end of the connection is the end of the body.
            self._close = True
        head = wire.head(status, one_by_one)
        self.answering = True
        self._line.write(self, head + (wire.CLOSE if self._close else wire.END))

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self._mute:
            body = b""
        elif self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the body of the response is not as long as its Content-Length says")
        if body:
            self._line.write(self, body)
        if not more:
            self._over = True
            self._event.set()
            self._line.finish(self, close=self._close)

"""The devices' door: `POST /fdo/101/msg/<N>`, directly on the connection, with no framework and no ASGI in between.

Transport rules stand here and nowhere else (FDO 1.1, section 4.3, and what real clients need): a Content-Length both
ways, at most 65,535 bytes, a short header block with `Message-Type` and a bearer token. What cannot be accepted is
answered in the protocol's own form, message 255. What the messages mean is the handler's business, and so is the log
line of each.
"""

import functools
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
import structlog

from ashore import cbor
from ashore.http import wire
from ashore.http.jobs import Reply
from ashore.http.limits import Clients, Limits, RateLimiter
from ashore.http.wire import Answer
from ashore.telemetry import Metrics, parse_traceparent

ERROR: Final = 255
"""Number of the error message, which either side may send (section 5.1.1)."""

_MESSAGE_BODY_ERROR: Final = 100
_INTERNAL_SERVER_ERROR: Final = 500
_NUMBERS: Final = {f"/fdo/101/msg/{number}": number for number in range(256)}
_NOT_FOUND: Final = Answer(wire.head(404, [(b"content-length", b"0")]))
_NOT_ALLOWED: Final = Answer(wire.head(405, [(b"content-length", b"0"), (b"allow", b"POST")]))
_NO_MESSAGE: Final = Answer(wire.head(200, [(b"content-length", b"0")]))

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class FdoRequest(msgspec.Struct, frozen=True):
    """One message from a device, or from an owner service in TO0."""

    number: int
    body: bytes
    token: str | None
    client: str
    traceparent: str | None = None


class FdoReply(msgspec.Struct, frozen=True):
    """The answer; a token is sent on with every message of its session."""

    number: int
    body: bytes
    token: str | None = None
    status: int = 200


FdoHandler = Callable[[FdoRequest], Awaitable[FdoReply]]


class FdoEndpoint:
    """Answers everything below `/fdo/` (port: `ashore.http.jobs.Direct`)."""

    def __init__(
        self,
        handle: FdoHandler,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen, so sharing it is harmless
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handle = handle
        self._body_limit = limits.body
        self._clients = Clients(limits.trusted_proxies)
        self._limiter = RateLimiter(limits.rate, limits.burst, clock)
        self._metrics = metrics or Metrics()
        self._clock = clock

    def admit(self, method: bytes, path: str, headers: Mapping[bytes, bytes], peer: str) -> Answer | Reply:
        """What answers the message once it is there, or a refusal at once, before anything is read or computed."""
        number = _NUMBERS.get(path)
        if number is None or method != b"POST":
            return _NOT_FOUND if number is None else _NOT_ALLOWED
        client = self._clients.address(peer, headers.get(b"x-forwarded-for"))
        if not self._limiter.admit(client):
            text = "too many messages from this address: try again later"
            return self._refuse(429, _INTERNAL_SERVER_ERROR, number, text, why="rate")
        # The parser let only digits through.
        length = headers.get(b"content-length")
        if length is None:
            return self._refuse(411, _MESSAGE_BODY_ERROR, number, "a message needs a Content-Length", why="length")
        if int(length) > self._body_limit:
            text = f"a message has at most {self._body_limit} bytes, this one {int(length)}"
            return self._refuse(413, _MESSAGE_BODY_ERROR, number, text, why="size")
        trace = headers.get(b"traceparent")
        return functools.partial(
            self._reply,
            number,
            _token(headers.get(b"authorization")),
            client,
            parse_traceparent(trace.decode("latin-1")) if trace else None,
        )

    def _refuse(self, status: int, code: int, number: int, text: str, *, why: str) -> Answer:
        self._metrics.refused.labels(why).inc()
        body = _error_body(code, number, text)
        head = _head(status, ERROR) + b"%d\r\n" % len(body)
        if status == 429:  # noqa: PLR2004 - an HTTP status
            head += b"retry-after: 1\r\n"
        # Without a length nobody knows where the next request begins.
        return Answer(head, body, close=why == "length")

    async def _reply(self, number: int, token: str | None, client: str, trace: str | None, body: bytes) -> Answer:
        started = self._clock()
        try:
            reply = await self._handle(FdoRequest(number, body, token, client, trace))
        except Exception:
            reference = secrets.randbits(32)
            log.exception("fdo message failed", message=number, client=client, reference=reference)
            text = "the service failed: try again later, and look for the reference in its log"
            reply = FdoReply(ERROR, _error_body(_INTERNAL_SERVER_ERROR, number, text, reference), status=500)
        self._metrics.observe(number, failed=reply.number == ERROR, seconds=self._clock() - started)
        if number == ERROR:
            # An error message is not answered with a message (section 5.1.1); clients expect an empty 200.
            return _NO_MESSAGE
        head = _head(reply.status, reply.number) + b"%d\r\n" % len(reply.body)
        if reply.token is not None:
            head += b"authorization: Bearer " + reply.token.encode("ascii") + b"\r\n"
        return Answer(head, reply.body)


@functools.cache
def _head(status: int, number: int) -> bytes:
    """A head up to the length, made once for each; few and short headers: the C client has 1,024 bytes for all."""
    headers = [(b"content-type", b"application/cbor"), (b"message-type", b"%d" % number)]
    return wire.head(status, headers) + b"content-length: "


def _token(authorization: bytes | None) -> str | None:
    """The bearer token; bare tokens are taken as well, since some clients send back what they got without the word."""
    if authorization is None:
        return None
    text = authorization.decode("latin-1").strip()
    scheme, _, token = text.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip() or None
    return text or None


def _error_body(code: int, previous: int, text: str, correlation: int | None = None) -> bytes:
    """Error(255): the time is a plain integer, because the Go library's decoder fails on a tagged one."""
    return cbor.dumps([code, previous, text, int(time.time()), correlation or 0])

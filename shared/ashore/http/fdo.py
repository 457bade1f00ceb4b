"""The devices' door: `POST /fdo/101/msg/<N>`, one raw ASGI callable with no framework in between.

Transport rules stand here and nowhere else (FDO 1.1, section 4.3, and what real clients need): a Content-Length both
ways, at most 65,535 bytes, a short header block with `Message-Type` and a bearer token. What cannot be accepted is
answered in the protocol's own form, message 255. What the messages mean is the handler's business, and so is the log
line of each.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from starlette.types import Message, Receive, Scope, Send

from ashore import cbor
from ashore.http.limits import Clients, Limits, RateLimiter
from ashore.telemetry import Metrics, parse_traceparent

ERROR: Final = 255
"""Number of the error message, which either side may send (section 5.1.1)."""

_MESSAGE_BODY_ERROR: Final = 100
_INTERNAL_SERVER_ERROR: Final = 500
_NUMBERS: Final = {f"/fdo/101/msg/{number}": number for number in range(256)}
_TYPE: Final = (b"content-type", b"application/cbor")
_EMPTY: Final = (b"content-length", b"0")
_MESSAGE_TYPES: Final = [(b"message-type", str(number).encode()) for number in range(256)]
_LARGEST_SKIPPED: Final = 1 << 20

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


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """A request that is not handed to the protocol."""

    def __init__(
        self, status: int, text: str, *, why: str, code: int = _MESSAGE_BODY_ERROR, close: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.why = why
        self.code = code
        self.close = close


class FdoEndpoint:
    """ASGI callable for everything below `/fdo/`."""

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        number = _NUMBERS.get(scope["path"])
        if number is None or scope["method"] != "POST":
            await _answer(send, *_not_here(known=number is not None), b"")
            return
        try:
            request = await self._receive(number, scope, receive)
        except Refused as refused:
            self._metrics.refused.labels(refused.why).inc()
            body = _error_body(refused.code, number, refused.text)
            await _answer(send, refused.status, _refusal_headers(refused, body), body)
            return
        if request is not None:
            await self._reply(request, send)

    async def _receive(self, number: int, scope: Scope, receive: Receive) -> FdoRequest | None:
        """The whole request, or None where the client hung up; raise Refused."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        peer = scope["client"]
        client = self._clients.address(peer[0] if peer else "local", headers.get(b"x-forwarded-for"))
        if not self._limiter.admit(client):
            # Told before the body is read and before any key is touched: this is what keeps a flood cheap.
            raise Refused(429, "too many messages from this address: try again later", why="rate", code=500)
        body = await _read(receive, _content_length(headers, self._body_limit))
        if body is None:
            return None
        trace = headers.get(b"traceparent")
        return FdoRequest(
            number,
            body,
            _token(headers.get(b"authorization")),
            client,
            parse_traceparent(trace.decode("latin-1")) if trace else None,
        )

    async def _reply(self, request: FdoRequest, send: Send) -> None:
        started = self._clock()
        try:
            reply = await self._handle(request)
        except Exception:
            reference = secrets.randbits(32)
            log.exception("fdo message failed", message=request.number, client=request.client, reference=reference)
            text = "the service failed: try again later, and look for the reference in its log"
            body = _error_body(_INTERNAL_SERVER_ERROR, request.number, text, reference)
            reply = FdoReply(ERROR, body, status=500)
        self._metrics.observe(request.number, failed=reply.number == ERROR, seconds=self._clock() - started)
        if request.number == ERROR:
            # An error message is not answered with a message (section 5.1.1); clients expect an empty 200.
            await _answer(send, 200, [_EMPTY], b"")
            return
        await _answer(send, reply.status, _reply_headers(reply), reply.body)


def _reply_headers(reply: FdoReply) -> list[tuple[bytes, bytes]]:
    """Few and short: the C client has 1,024 bytes for all headers."""
    headers = [_TYPE, _MESSAGE_TYPES[reply.number], (b"content-length", b"%d" % len(reply.body))]
    if reply.token is not None:
        headers.append((b"authorization", b"Bearer " + reply.token.encode("ascii")))
    return headers


def _refusal_headers(refused: Refused, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [_TYPE, _MESSAGE_TYPES[ERROR], (b"content-length", b"%d" % len(body))]
    if refused.status == 429:  # noqa: PLR2004 - an HTTP status
        headers.append((b"retry-after", b"1"))
    if refused.close:
        headers.append((b"connection", b"close"))
    return headers


def _not_here(*, known: bool) -> tuple[int, list[tuple[bytes, bytes]]]:
    return (405, [_EMPTY, (b"allow", b"POST")]) if known else (404, [_EMPTY])


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _content_length(headers: dict[bytes, bytes], limit: int) -> int:
    text = headers.get(b"content-length")
    if text is None:
        raise Refused(411, "a message needs a Content-Length", why="length", close=True)
    # The HTTP parser let only digits through.
    length = int(text)
    if length > limit:
        # A body that is a little too long is skipped, so that the client reads the answer before it sees a hang-up.
        why = f"a message has at most {limit} bytes, this one {length}"
        raise Refused(413, why, why="size", close=length > _LARGEST_SKIPPED)
    return length


async def _read(receive: Receive, length: int) -> bytes | None:
    """The body; None where the connection ended first."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts = [body]
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
        body = b"".join(parts)
    return body if len(body) == length and message["type"] == "http.request" else None


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

"""The shell around the pure protocol steps, the same in every service: token, guard, decryption, step, reply, log line.

A service says which messages it takes, and answers each in `answer`. The session token stays the same for a whole
session, because the C client keeps only the first. It carries, sealed, the replica that issued it and what the service
must remember; a session that is too big for that lives in the memory of that replica, and `sticky` messages that reach
another one are forwarded to it over the bus.

What goes wrong is answered with message 255 and HTTP status 200, as the C client demands; only trouble of our own has
status 500.
"""

import asyncio
import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from ashore import cbor
from ashore.bus import Bus, BusError, NoResponder
from ashore.fdo.ciphers import SessionKeys
from ashore.fdo.codec import Message
from ashore.fdo.errors import FdoError, InvalidMessageError, PeerError, TokenError
from ashore.fdo.messages import START, ErrorMessage, admit, is_encrypted
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sessions import Sealer, SessionError, Spent

SESSION_SECONDS: Final = 600
"""How long a session may take from its first message to its last, unless it moves on."""
FORWARD_SECONDS: Final = 20.0
_SPENT_CAPACITY: Final = 200_000

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Unavailable(FdoError):  # noqa: N818 - a state of the world that passes
    """The service cannot store anything at the moment; the device should try again later."""


class Ticket(NamedTuple):
    """What a token says, once opened."""

    state: int
    """The message with which the token was issued."""
    replica: str
    payload: bytes


class Turn:
    """One message on its way through the service."""

    __slots__ = ("body", "guid", "keys", "request", "session", "state", "ticket", "token")

    def __init__(self, request: FdoRequest) -> None:
        self.request = request
        self.body = request.body
        """The plain body: what hashes of the message are taken of."""
        self.token = request.token or ""
        self.ticket = Ticket(START, "", b"")
        self.state: int = START
        self.keys: SessionKeys | None = None
        self.session: object = None
        self.guid = ""
        """Of the device, hex, as soon as it is known: for the log."""


class SystemEntropy:
    """The operating system's randomness (port: `ashore.fdo.kex.Entropy`)."""

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(size)

    def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        """A fresh key."""
        return ec.generate_private_key(curve)


class _Forwarded(msgspec.Struct, array_like=True):
    """A message that reached the wrong replica, or its answer."""

    number: int
    body: bytes
    token: str | None
    client: str = ""
    status: int = 200
    traceparent: str | None = None


class Exchange(ABC):
    """The FDO endpoint of a service (port: `ashore.http.fdo.FdoHandler`)."""

    accepts: ClassVar[tuple[type[Message], ...]]
    """The messages that the service takes."""
    sticky: ClassVar[frozenset[int]] = frozenset()
    """The numbers of those that only the replica of the session can answer."""
    service: ClassVar[str]

    def __init__(
        self,
        sealer: Sealer,
        bus: Bus,
        replica: str,
        clock: Callable[[], float] = time.time,
        seconds: int = SESSION_SECONDS,
    ) -> None:
        self.entropy = SystemEntropy()
        self.replica = replica
        self._sealer = sealer
        self._bus = bus
        self._clock = clock
        self._seconds = seconds
        self._spent = Spent(_SPENT_CAPACITY)
        # Bound once: each look-up through the module's proxy costs as much as the line itself.
        self._log = log.bind()
        self._kinds = {kind.number: kind for kind in self.accepts}

    @abstractmethod
    async def answer(self, message: Message, turn: Turn) -> tuple[Message, str | None]:
        """Answer one lawful message; the token is the session's, None once it is over."""

    def recall(self, turn: Turn) -> bool:  # noqa: ARG002 - a hook; by default nothing is kept in memory
        """Bring back state, keys and session of a token that this replica has in memory; False where it has not."""
        return False

    def resume(self, turn: Turn) -> None:
        """Bring back what the token itself says; raise TokenError if that is not enough."""
        turn.state = turn.ticket.state

    async def failed(self, error: FdoError, turn: Turn) -> None:
        """Clean up after a session that broke off, and say so where people look."""

    async def serve_for_ever(self) -> None:
        """Take messages that other replicas received for sessions of this one."""
        async with await self._bus.serve(self._subject(self.replica), self._forwarded_here):
            await asyncio.Event().wait()

    async def __call__(self, request: FdoRequest) -> FdoReply:
        """Answer one request."""
        started = time.perf_counter()
        turn = Turn(request)
        try:
            reply = await self._reply(turn)
            result = "ok"
        except FdoError as error:
            await self._end(error, turn)
            reply, result = self._refusal(error, request.number), error.reason
        milliseconds = int((time.perf_counter() - started) * 10_000) / 10
        self._log.info(
            "fdo", guid=turn.guid, message=request.number, answer=reply.number, result=result, ms=milliseconds
        )
        return reply

    def issue(self, message: Message, payload: bytes) -> str:
        """A token for a session that begins with this answer."""
        content = cbor.dumps([message.number, self.replica, payload])
        return self._sealer.seal(self._purpose(message.number), content, expires_at=int(self._clock()) + self._seconds)

    def spend(self, turn: Turn) -> None:
        """Use the token up; raise TokenError if it was used before."""
        now = int(self._clock())
        try:
            fresh = self._spent.spend(turn.token, expires_at=now + self._seconds, now=now)
        except SessionError as error:
            raise Unavailable(f"{error}; try again later") from error
        if not fresh:
            raise TokenError("this session token was used already; begin a new session")

    def retire(self, turn: Turn) -> None:
        """Use the token up where it is not used up yet: its session is over, whatever it was used for."""
        with contextlib.suppress(TokenError, Unavailable):
            self.spend(turn)

    async def _reply(self, turn: Turn) -> FdoReply:
        request = turn.request
        if request.number == ErrorMessage.number:
            return await self._reported(turn)
        kind = self._kinds.get(request.number)
        if kind is None:
            raise InvalidMessageError(f"message {request.number} is not for the {self.service} service")
        if START not in kind.after and not self.recall(turn):
            turn.ticket = self._open(turn.token, request.number)
            if request.number in self.sticky and turn.ticket.replica != self.replica:
                return await self._forward(turn)
            self.resume(turn)
        admit(turn.state, kind, encrypted=is_encrypted(request.body))
        if kind.encrypted and turn.keys is not None:
            turn.body = turn.keys.decrypt(request.body)
        answer, token = await self.answer(kind.decode(turn.body), turn)
        return FdoReply(answer.number, self._encode(answer, turn), token)

    def _encode(self, answer: Message, turn: Turn) -> bytes:
        body = answer.encode()
        if not answer.encrypted or turn.keys is None:
            return body
        return turn.keys.encrypt(body, self.entropy.random(turn.keys.iv_size))

    def _open(self, token: str, number: int) -> Ticket:
        try:
            content = self._sealer.open(self._purpose(number), token, now=int(self._clock()))
        except SessionError as error:
            raise TokenError(f"{error}; begin a new session") from error
        if token in self._spent:
            raise TokenError("this session is over; begin a new one")
        return msgspec.convert(cbor.loads(content), Ticket)

    def _purpose(self, number: int) -> str:
        """Tokens of one protocol are of no use in another; TO2 has two tens of numbers."""
        return f"{self.service} {min(number // 10, 6)}"

    async def _end(self, error: FdoError, turn: Turn) -> None:
        if turn.state != START and turn.token and not isinstance(error, Unavailable):
            # An error ends the session (section 5.1.1): its token is of no more use.
            self.retire(turn)
        await self.failed(error, turn)

    def _refusal(self, error: FdoError, number: int) -> FdoReply:
        message = ErrorMessage(error.code, number, error.reason, int(self._clock()), 0)
        return FdoReply(message.number, message.encode(), None, 500 if isinstance(error, Unavailable) else 200)

    async def _reported(self, turn: Turn) -> FdoReply:
        """Raise what the peer reports, where its session is."""
        message = ErrorMessage.decode(turn.body)
        if not self.recall(turn):
            turn.ticket = self._open(turn.token, message.previous)
            if self.sticky and turn.ticket.replica != self.replica:
                return await self._forward(turn)
            self.resume(turn)
        raise PeerError(message.code, message.previous, message.text[:500])

    async def _forward(self, turn: Turn) -> FdoReply:
        request = turn.request
        asked = _Forwarded(request.number, request.body, request.token, request.client, traceparent=request.traceparent)
        packed = msgspec.msgpack.encode(asked)
        try:
            answer = await self._bus.request(self._subject(turn.ticket.replica), packed, timeout=FORWARD_SECONDS)
        except NoResponder as error:
            raise TokenError("the replica that held this session is gone; begin again with TO1") from error
        except BusError as error:
            raise Unavailable("the replica that holds this session cannot be reached; try again") from error
        reply = msgspec.msgpack.decode(answer, type=_Forwarded)
        return FdoReply(reply.number, reply.body, reply.token, reply.status)

    async def _forwarded_here(self, packed: bytes) -> bytes:
        message = msgspec.msgpack.decode(packed, type=_Forwarded)
        request = FdoRequest(message.number, message.body, message.token, message.client, message.traceparent)
        reply = await self(request)
        return msgspec.msgpack.encode(_Forwarded(reply.number, reply.body, reply.token, status=reply.status))

    def _subject(self, replica: str) -> str:
        return f"replica.{self.service}.{replica}"

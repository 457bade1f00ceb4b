"""One run of one protocol with one service: what is sent, what must come back, and what is said when it does not.

A dialogue keeps the session token, encrypts and decrypts where the message says so, and holds each answer against the
guard of `ashore.fdo.messages`. What this side cannot accept is told to the peer in message 255.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from ashore.fdo.ciphers import SessionKeys
from ashore.fdo.codec import Message
from ashore.fdo.errors import FdoError, InvalidMessageError, PeerError
from ashore.fdo.messages import START, ErrorMessage, admit, is_encrypted
from ashore_device.errors import TransportError
from ashore_device.progress import Kind, Progress, Report
from ashore_device.transport import Reply, Transport

Answer = TypeVar("Answer", bound=Message)


class SystemEntropy:
    """The operating system's randomness (port: `ashore.fdo.kex.Entropy`)."""

    def random(self, size: int) -> bytes:
        """Unpredictable bytes."""
        return os.urandom(size)

    def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        """A fresh key."""
        return ec.generate_private_key(curve)


class Dialogue:
    """One run of one protocol; `about` is what its progress has in common."""

    def __init__(self, transport: Transport, url: str, about: Progress, report: Report) -> None:
        self.url = url
        self._transport = transport
        self._about = about
        self._report = report
        self._token: str | None = None
        self._last = START

    async def ask(
        self, message: Message, answer: type[Answer], keys: SessionKeys | None = None, *, resend: Sequence[float] = ()
    ) -> Answer:
        """Send a message and give its answer, which must be of the class given.

        `resend`: pauses in seconds, after each of which the same bytes are sent again when no answer came, or the peer
        said that the fault was its own. Only for messages that a peer cannot take twice.
        """
        body = message.encode()
        if keys is not None and message.encrypted:
            body = keys.encrypt(body, os.urandom(keys.iv_size))
        started = time.monotonic()
        reply = await self._send(message.number, body, resend)
        self._token = reply.token or self._token
        self._last = reply.number
        self.tell(
            "message",
            f"{type(message).__name__}({message.number}) -> {reply.number}",
            message=message.number,
            answer=reply.number,
            seconds=time.monotonic() - started,
        )
        if reply.number != answer.number:
            raise InvalidMessageError(f"message {message.number} was answered with {reply.number}, not {answer.number}")
        admit(message.number, answer, encrypted=is_encrypted(reply.body))
        return answer.decode(keys.decrypt(reply.body) if keys is not None and answer.encrypted else reply.body)

    def tell(self, kind: Kind, text: str, **fields: object) -> None:
        """Report progress."""
        self._report(msgspec.structs.replace(self._about, kind=kind, text=text, url=self.url, **fields))

    async def refuse(self, error: FdoError) -> None:
        """Tell the peer why the exchange ends here; whether it hears that does not matter."""
        message = ErrorMessage(error.code, self._last, error.reason, int(time.time()), 0)
        with contextlib.suppress(TransportError, PeerError):
            await self._transport.post(self.url, message.number, message.encode(), self._token)

    async def _send(self, number: int, body: bytes, resend: Sequence[float]) -> Reply:
        for pause in resend:
            try:
                return await self._transport.post(self.url, number, body, self._token)
            except TransportError as error:
                self.tell("failed", str(error), message=number)
            except PeerError as error:
                if error.peer_code != FdoError.code:
                    raise
                self.tell("failed", error.reason, message=number)
            await asyncio.sleep(pause)
        return await self._transport.post(self.url, number, body, self._token)


@contextlib.asynccontextmanager
async def dialogue(transport: Transport, url: str, about: Progress, report: Report) -> AsyncIterator[Dialogue]:
    """Hold a dialogue; the peer is told of errors that are not its own."""
    talk = Dialogue(transport, url, about, report)
    try:
        yield talk
    except PeerError:
        raise
    except FdoError as error:
        await talk.refuse(error)
        raise
    except ValueError as error:
        # The parsers of CBOR, COSE and keys raise this kind for bytes that a stranger made up.
        refusal = InvalidMessageError(f"what came back cannot be used: {error}")
        await talk.refuse(refusal)
        raise refusal from error

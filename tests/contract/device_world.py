"""Manufacturer, rendezvous and owner in one object, made of the pure protocol functions.

It is what a device talks to in tests. It answers bytes with bytes: `InProcess` puts it behind the device's Transport
port, `serve` behind HTTP.
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ashore import certificates
from ashore.fdo import di, rvinfo, to1, to2
from ashore.fdo.ciphers import SessionKeys
from ashore.fdo.codec import Message
from ashore.fdo.errors import FdoError, InvalidMessageError, NotFoundError, PeerError, TokenError
from ashore.fdo.messages import (
    MESSAGES,
    AppStart,
    DeviceServiceInfo,
    DeviceServiceInfoReady,
    Done,
    ErrorMessage,
    GetOVNextEntry,
    HelloDevice,
    HelloRV,
    OwnerServiceInfo,
    ProveDevice,
    ProveToRV,
    SetHmac,
    admit,
    is_encrypted,
)
from ashore.fdo.serviceinfo import DeviceTurn
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.fdo.types import KeyEncoding, To2Address, encode_public_key
from ashore.fdo.types import Transport as Scheme
from ashore.fdo.voucher import Voucher
from ashore_device.errors import TransportError
from ashore_device.pinning import Pins
from ashore_device.transport import Reply
from tests import fdo_kit as kit

OWNER_URL = "http://owner.example:8042"
MAKER_URL = "http://maker.example:8039"
RENDEZVOUS_URL = "http://rv.example:8040"


@dataclass
class Talk:
    """One session of any protocol."""

    state: int = 0
    keys: SessionKeys | None = None
    memory: Any = None


@dataclass
class World:
    """All three services. What they store survives `forget_sessions`, as it would survive a restart."""

    kind: str = "p256"
    steps: Callable[[], Sequence[OwnerModule]] = list
    serves_again: bool = True
    """The owner lets a device come back with its new credential, as one does that sells it to itself."""
    keeps_last_word: bool = False
    """The owner answers a repeated Done(70) again."""
    reuse: bool = False
    directives: list[rvinfo.Directive] = field(
        default_factory=lambda: [rvinfo.Directive(dns="rv.example", protocol="http", device_port=8040)]
    )
    new_info: rvinfo.RvInfo | None = None
    """Where an onboarded device shall look from then on; None leaves it as it is."""
    addresses: list[To2Address] = field(default_factory=lambda: [To2Address(None, "owner.example", 8042, Scheme.HTTP)])
    made: list[Voucher] = field(default_factory=list)
    vouchers: dict[bytes, Voucher] = field(default_factory=dict)
    blobs: dict[bytes, Any] = field(default_factory=dict)
    commits: list[tuple[bytes, bytes]] = field(default_factory=list)
    errors: list[ErrorMessage] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    hellos: list[HelloDevice] = field(default_factory=list)
    conversations: list[OwnerConversation] = field(default_factory=list)
    sessions: dict[str, Talk] = field(default_factory=dict)
    last_words: dict[str, bytes] = field(default_factory=dict)

    @property
    def maker(self) -> Any:
        return kit.signer("manufacturer", self.kind)

    @property
    def owner(self) -> Any:
        return kit.signer("owner 0", self.kind)

    def forget_sessions(self) -> None:
        """What a restart does."""
        self.sessions.clear()

    def adopt(self, voucher: Voucher) -> None:
        """The owner imports a voucher and registers it with the rendezvous."""
        self.vouchers[voucher.guid] = voucher
        to0 = kit.to0.owner_sign(kit.to0.HelloAck(os.urandom(16)), voucher, 3600, self.addresses, self.owner)
        self.blobs[voucher.guid] = to0.to1d

    async def handle(self, number: int, body: bytes, token: str | None) -> tuple[int, bytes, str | None]:
        """Answer one message; errors are answered with 255."""
        self.numbers.append(number)
        if number == ErrorMessage.number:
            self.errors.append(ErrorMessage.decode(body))
            self.sessions.pop(token or "", None)
            return 0, b"", None
        try:
            return await self._reply(number, body, token)
        except FdoError as error:
            self.sessions.pop(token or "", None)
            return 255, ErrorMessage(error.code, number, error.reason, 0, 0).encode(), None

    async def _reply(self, number: int, body: bytes, token: str | None) -> tuple[int, bytes, str | None]:
        if token in self.last_words and number == Done.number:
            return 71, self.last_words[token], None
        kind = MESSAGES[number]
        if number in {AppStart.number, HelloRV.number, HelloDevice.number}:
            token = os.urandom(6).hex()
            self.sessions[token] = Talk()
        talk = self.sessions.get(token or "")
        if talk is None:
            raise TokenError("unknown session; begin again")
        admit(talk.state, kind, encrypted=is_encrypted(body))
        plain = talk.keys.decrypt(body) if kind.encrypted and talk.keys else body
        answer = await self._answer(kind.decode(plain), plain, talk)
        talk.state = answer.number
        encoded = answer.encode()
        if answer.encrypted:
            assert talk.keys
            encoded = talk.keys.encrypt(encoded, os.urandom(talk.keys.iv_size))
        if answer.number == 71 and self.keeps_last_word:
            self.last_words[token or ""] = encoded
        return answer.number, encoded, token

    async def _answer(self, message: Message, body: bytes, talk: Talk) -> Message:
        match message:
            case AppStart():
                return self._introduced(message, talk)
            case SetHmac():
                voucher, reply = di.done(talk.memory, message)
                self.made.append(voucher)
                self.adopt(kit.sell(voucher, self.maker, self.owner))
                return reply
            case HelloRV():
                return self._asked_for_owner(message, talk)
            case ProveToRV():
                guid, nonce, voucher = talk.memory
                return to1.redirect(message, guid, nonce, voucher.device_key, self.blobs[guid])
        return self._to2(message, body, talk)

    def _introduced(self, message: AppStart, talk: Talk) -> Message:
        info = di.read_info(message)
        device = certificates.requested_key(info.csr)
        ca_key, ca_certificate = kit.device_ca()
        chain = (kit.certificate(info.serial, device, "device CA", ca_key), ca_certificate)
        public = encode_public_key(self.maker.public_key, info.encoding, self.maker.chain)
        rv_info = rvinfo.encode(self.directives)
        talk.memory, reply = di.set_credentials(info, os.urandom(16), rv_info, public, chain, device)
        return reply

    def _asked_for_owner(self, message: HelloRV, talk: Talk) -> Message:
        voucher = self.vouchers.get(message.guid)
        if voucher is None or message.guid not in self.blobs:
            raise NotFoundError("no owner has registered this device")
        talk.memory = (message.guid, os.urandom(16), voucher)
        return to1.hello_rv_ack(message, talk.memory[1], voucher.device_key)

    def _to2(self, message: Message, body: bytes, talk: Talk) -> Message:
        match message:
            case HelloDevice():
                self.hellos.append(message)
                voucher = self.vouchers.get(message.guid)
                if voucher is None:
                    raise NotFoundError("this owner has no voucher of this device")
                hello, reply = to2.prove_ov_hdr(message, body, voucher, self.owner, os.urandom(16), kit.ENTROPY)
                talk.memory = (hello, voucher)
                return reply
            case GetOVNextEntry():
                return to2.ov_next_entry(message, talk.memory[1])
            case ProveDevice():
                hello, voucher = talk.memory
                session, reply = to2.setup_device(message, hello, voucher, self.owner, self._replacement(voucher))
                talk.memory, talk.keys = session, session.keys
                return reply
        return self._encrypted(message, talk)

    def _replacement(self, voucher: Voucher) -> to2.Replacement:
        guid = voucher.guid if self.reuse else os.urandom(16)
        owner = voucher.owner_public_key
        if not self.reuse:
            owner = encode_public_key(self.owner.public_key, KeyEncoding.X509)
        info = voucher.header.rv_info if self.new_info is None else self.new_info
        return to2.Replacement(guid, info, owner)

    def _encrypted(self, message: Message, talk: Talk) -> Message:
        match message:
            case DeviceServiceInfoReady():
                session, reply = to2.owner_ready(message, talk.memory, None)
                conversation = OwnerConversation(self.steps(), session.device_max_size)
                self.conversations.append(conversation)
                talk.memory = (session, conversation)
                return reply
            case DeviceServiceInfo():
                turn = talk.memory[1].step(DeviceTurn(message.is_more, message.items))
                return OwnerServiceInfo(turn.is_more, turn.is_done, list(turn.items))
            case Done():
                return self._commit(message, talk.memory[0])
        raise InvalidMessageError(f"message {message.number} is for nobody here")

    def _commit(self, message: Done, session: to2.Session) -> Message:
        voucher, reply = to2.done2(message, session)
        old = session.voucher.guid
        if self.vouchers.get(old) is not session.voucher:
            raise InvalidMessageError("the voucher was replaced in the meantime")
        if voucher is not None:
            del self.vouchers[old]
            del self.blobs[old]
            self.vouchers[voucher.guid] = voucher
            if self.serves_again:
                self.adopt(kit.sell(voucher, self.owner, self.owner))
        self.commits.append((old, voucher.guid if voucher else old))
        return reply


Fault = Callable[[int], Awaitable[None]]


async def no_fault(_number: int) -> None:
    """Nothing happens."""


class InProcess:
    """The world as a Transport. `before` and `after` a message is handled something may go wrong."""

    def __init__(self, world: World, *, before: Fault = no_fault, after: Fault = no_fault) -> None:
        self.world, self.before, self.after = world, before, after
        self.urls: list[str] = []
        self.unreachable: set[str] = set()
        self.pins: list[Pins] = []

    def pinned(self, pins: Pins) -> "InProcess":
        self.pins.append(pins)
        return self

    async def post(self, url_base: str, number: int, body: bytes, token: str | None) -> Reply:
        self.urls.append(url_base)
        await asyncio.sleep(0)
        if url_base in self.unreachable:
            raise TransportError(f"{url_base} cannot be reached")
        await self.before(number)
        answer, content, new_token = await self.world.handle(number, body, token)
        await self.after(number)
        if answer == ErrorMessage.number:
            error = ErrorMessage.decode(content)
            raise PeerError(error.code, number, error.text)
        return Reply(answer, content, new_token)


class _Web:
    """The world over HTTP, as far as a device needs it."""

    def __init__(self, world: World, before: Fault, after: Fault) -> None:
        self._world, self._before, self._after = world, before, after
        self._tasks: list[asyncio.Task[None] | None] = []

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    await self._exchange(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def close(self) -> None:
        running = [task for task in self._tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        number = int(request.split()[1].rpartition("/")[2])
        token = headers.get("authorization", "").removeprefix("Bearer ") or None
        await self._before(number)
        answer, content, new_token = await self._world.handle(number, body, token)
        await self._after(number)
        extra = f"Authorization: Bearer {new_token}\r\n" if new_token else ""
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nMessage-Type: {answer}\r\n"
            f"{extra}Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        await writer.drain()


@contextlib.asynccontextmanager
async def serve(
    world: World, *, before: Fault = no_fault, after: Fault = no_fault, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The world over HTTP on loopback, all three services on one port, which is given."""
    web = _Web(world, before, after)
    server = await asyncio.start_server(web.connection, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await web.close()

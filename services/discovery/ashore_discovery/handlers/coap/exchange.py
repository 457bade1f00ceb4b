"""Questions over CoAP and their answers, over the sockets of all interfaces.

A question to a group has any number of answers, for as long as the servers' leisure lasts; one to a server is repeated
until it is answered; one that is observed is answered for as long as somebody listens.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from ashore_discovery.handlers.coap import messages
from ashore_discovery.handlers.coap.book import Peer
from ashore_discovery.handlers.coap.links import LARGEST
from ashore_discovery.handlers.coap.messages import Message, MessageError, Options
from ashore_discovery.handlers.datagrams import Datagram, Inbox, asking_socket, receiving
from ashore_discovery.limits import Network

_WAITS: Final = (0.6, 1.2, 2.4)
"""After so many seconds a question is said again, and after the last it is given up."""
_PING_AGAIN: Final = 0.2
_MOST_BLOCKS: Final = 64
_MOST_NEWS: Final = 16
GroupAnswer = Callable[[Peer, Message, float], None]
Sign = Callable[[Peer, float], None]
Spawn = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]


class UnansweredError(Exception):
    """Nobody answers, or not what was asked for; the text says whom."""


class Exchange:
    """All questions of one listener."""

    def __init__(self, network: Network, inbox: Callable[[], Inbox], answered: GroupAnswer, sign: Sign) -> None:
        self._network = network
        self._inbox = inbox
        self._answered = answered
        self._sign = sign
        self._stacks: dict[str, AsyncExitStack] = {}
        self._sockets: dict[tuple[str, socket.AddressFamily], socket.socket] = {}
        self._group_token = secrets.token_bytes(6)
        self._waiting: dict[bytes, asyncio.Future[Message]] = {}
        self._observed: dict[bytes, asyncio.Queue[Message]] = {}
        self._pings: dict[Peer, list[asyncio.Future[bool]]] = {}
        self._number = secrets.randbelow(1 << 16)

    @property
    def interfaces(self) -> set[str]:
        """Those that are asked."""
        return set(self._stacks)

    async def use(self, interfaces: set[str], spawn: Spawn) -> None:
        """Ask on these interfaces from now on."""
        for gone in self.interfaces - interfaces:
            await self._stacks.pop(gone).aclose()
            self._sockets = {key: one for key, one in self._sockets.items() if key[0] != gone}
        for name in sorted(interfaces - self.interfaces):
            self._stacks[name] = stack = AsyncExitStack()
            inbox = self._inbox()
            for family in (socket.AF_INET, socket.AF_INET6):
                # An interface may lack one of the two protocols.
                with suppress(OSError):
                    made = asking_socket(family, name)
                    await stack.enter_async_context(receiving(made, inbox))
                    self._sockets[name, family] = made
            pump = spawn(self._pump(name, inbox))
            stack.callback(pump.cancel)

    async def close(self) -> None:
        """End it."""
        for stack in self._stacks.values():
            await stack.aclose()

    def ask_groups(self, path: str) -> bool:
        """Ask everybody on all interfaces; the answer is whether anything could be sent."""
        sent = False
        for name, family in self._sockets:
            for group in (messages.GROUP_4,) if family == socket.AF_INET else messages.GROUPS_6:
                # Another number each time: servers leave out what they have had, and that is what may be lost.
                asked = Message(messages.NON, messages.GET, self._next(), self._group_token, messages.get(path))
                sent = (
                    self._send(Peer(f"{group}%{name}" if ":" in group else group, messages.PORT), asked, name) or sent
                )
        return sent

    async def ping(self, peer: Peer, seconds: float) -> bool | None:
        """Whether it answers an empty message, as all must (section 4.3); None where nothing can be sent."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pings.setdefault(peer, []).append(answer)
        ping = Message(messages.CON, messages.EMPTY, self._next())
        try:
            async with asyncio.timeout(seconds):
                while not answer.done():
                    if not self._send(peer, ping):
                        return None
                    await asyncio.wait([answer], timeout=_PING_AGAIN)
                return True
        except TimeoutError:
            return False
        finally:
            self._pings[peer].remove(answer)
            if not self._pings[peer]:
                del self._pings[peer]

    async def get(self, peer: Peer, path: str, query: str = "") -> bytes:
        """What a server has there, all blocks of it; raise UnansweredError."""
        return await self._whole(peer, path, query, await self._ask(peer, messages.get(path, query)))

    @asynccontextmanager
    async def observing(self, peer: Peer, path: str, query: str = "") -> AsyncIterator["Observation"]:
        """What a server has there, and each time that it is different; raise UnansweredError."""
        token = secrets.token_bytes(7)
        news = self._observed[token] = asyncio.Queue(_MOST_NEWS)
        observation = Observation(self, peer, path, query, token, news)
        try:
            yield observation
        finally:
            del self._observed[token]
            # What comes after this is answered with a reset, which ends it; this is faster.
            options = messages.get(path, query, more=[(messages.OBSERVE, b"\1")])
            self._send(peer, Message(messages.NON, messages.GET, self._next(), token, options))

    async def _whole(self, peer: Peer, path: str, query: str, first: Message) -> bytes:
        body, answer = first.payload, first
        for _ in range(_MOST_BLOCKS):
            block = answer.number(messages.BLOCK2)
            if block is None or not block & 8:
                return body
            following = ((block >> 4) + 1) << 4 | block & 7
            more = [(messages.BLOCK2, following.to_bytes(3, "big").lstrip(b"\0"))]
            answer = await self._ask(peer, messages.get(path, query, more=more))
            body += answer.payload
            if len(body) > LARGEST or (answer.number(messages.BLOCK2) or 0) >> 4 != following >> 4:
                break
        raise UnansweredError(f"{peer.name} says more than it may, or not the block that was asked for")

    async def _ask(self, peer: Peer, options: Options, token: bytes | None = None) -> Message:
        token = token or secrets.token_bytes(8)
        question = Message(messages.CON, messages.GET, self._next(), token, options)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        try:
            for seconds in _WAITS:
                self._send(peer, question)
                done, _ = await asyncio.wait([answer], timeout=seconds)
                if done:
                    break
            else:
                raise UnansweredError(f"{peer.name} does not answer")
        finally:
            self._waiting.pop(token, None)
        if answer.result().code != messages.CONTENT:
            code = answer.result().code
            raise UnansweredError(f"{peer.name} answers with {code >> 5}.{code & 31:02}")
        return answer.result()

    async def _pump(self, interface: str, inbox: Inbox) -> None:
        while True:
            datagram = await inbox.get()
            if self._network.allows(datagram.address):
                with suppress(MessageError):
                    self._take(interface, datagram)

    def _take(self, interface: str, datagram: Datagram) -> None:
        message = messages.decode(datagram.body)
        address = f"{datagram.address}%{interface}" if datagram.address.startswith("fe80:") else datagram.address
        peer = Peer(address, datagram.port)
        for one in self._pings.get(peer, ()):
            if not one.done():
                one.set_result(True)
        self._sign(peer, datagram.at)
        if message.code < messages.CREATED:
            return
        known = self._deliver(peer, message, datagram.at)
        if message.kind == messages.CON:
            # A reset to what nobody waits for ends an observation that is left over.
            self._send(peer, Message(messages.ACK if known else messages.RST, messages.EMPTY, message.id), interface)

    def _deliver(self, peer: Peer, message: Message, at: float) -> bool:
        if message.token == self._group_token:
            self._answered(peer, message, at)
            return True
        waiting = self._waiting.get(message.token)
        if waiting is not None:
            if not waiting.done():
                waiting.set_result(message)
            return True
        news = self._observed.get(message.token)
        if news is not None and not news.full():
            news.put_nowait(message)
        return news is not None

    def _send(self, peer: Peer, message: Message, interface: str | None = None) -> bool:
        family = socket.AF_INET6 if ":" in peer.address else socket.AF_INET
        address, _, scope = peer.address.partition("%")
        name = interface or scope or next((one for one, of in self._sockets if of == family), "")
        with suppress(OSError, KeyError, OverflowError):
            index = socket.if_nametoindex(scope) if scope else 0
            where = (address, peer.port, 0, index) if family == socket.AF_INET6 else (address, peer.port)
            self._sockets[name, family].sendto(message.encode(), where)
            return True
        return False

    def _next(self) -> int:
        self._number = (self._number + 1) & 0xFFFF
        return self._number


class Observation:
    """What a server has somewhere, now and later."""

    def __init__(
        self, exchange: Exchange, peer: Peer, path: str, query: str, token: bytes, news: "asyncio.Queue[Message]"
    ) -> None:
        self._exchange = exchange
        self._peer = peer
        self._path = path
        self._query = query
        self._token = token
        self._news = news
        self._last = -1

    async def now(self) -> bytes:
        """What it has now; it shall tell of changes from then on. Raise UnansweredError."""
        options = messages.get(self._path, self._query, more=[(messages.OBSERVE, b"")])
        answer = await self._exchange._ask(self._peer, options, self._token)  # noqa: SLF001 - its other half
        self._last = answer.number(messages.OBSERVE) or 0
        return await self._exchange._whole(self._peer, self._path, self._query, answer)  # noqa: SLF001 - its other half

    async def changed(self) -> None:
        """Wait for the next news that is younger than what is known (RFC 7641, section 3.4); raise UnansweredError."""
        while True:
            message = await self._news.get()
            if message.code != messages.CONTENT:
                raise UnansweredError(f"{self._peer.name} ends the observation")
            number = message.number(messages.OBSERVE)
            if number is None or 0 < (number - self._last) % (1 << 24) < 1 << 23:
                return

"""The three services in this process over real HTTP, so that each message can be seen as it is before encryption.

Bus and web servers are those that production has for one process. Whoever listens is called after each answer; no
production code is changed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple, Self, get_args

import structlog

from ashore import bundles
from ashore.bus.memory import MemoryBus
from ashore.config import Settings
from ashore.exchange import Exchange, Turn
from ashore.fdo.codec import Message
from ashore.fdo.messages import AcceptOwner, OwnerSign
from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoEndpoint
from ashore.http.server import Server, bind
from ashore.keys import FileKeyStore, KeyKind
from ashore.service import App, Context
from ashore.telemetry import Metrics
from ashore_manufacturer.app import build as build_manufacturer
from ashore_manufacturer.config import ManufacturerSettings
from ashore_owner.app import build as build_owner
from ashore_owner.config import OwnerSettings
from ashore_owner.profiles import Profile, Rule
from ashore_owner.protocol import OwnerExchange
from ashore_rendezvous.app import build as build_rendezvous
from ashore_rendezvous.config import RendezvousSettings

Build = Callable[[Context[Any]], AbstractAsyncContextManager[App]]
_PATIENCE = 30


class Spoken(NamedTuple):
    """A message and its answer."""

    number: int
    message: bytes
    """The plain body, as received."""
    answer: Message
    turn: Turn
    token: str


Listener = Callable[[Exchange, Spoken], None]


class InProcess:
    """`async with InProcess(folder) as services`; devices are told to call `host`."""

    def __init__(self, folder: Path, listener: Listener = lambda _exchange, _spoken: None, host: str = "127.0.0.1"):
        self._folder = folder
        self._listener = listener
        self._host = host
        self._bus = MemoryBus()
        self._stack = AsyncExitStack()
        self._registered = asyncio.Event()
        self._owner: OwnerExchange | None = None
        self.manufacturer = ""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def owner(self) -> OwnerExchange:
        """The owner's side of TO2."""
        assert self._owner is not None
        return self._owner

    async def await_registered(self) -> None:
        """Wait until the next device is registered; call it after each DI."""
        async with asyncio.timeout(_PATIENCE):
            await self._registered.wait()
        self._registered.clear()

    async def give(self, profile: Profile) -> None:
        """Give this profile to every device."""
        await self.owner._catalogue.put_profile(profile, 0)
        await self.owner._catalogue.put_rules([Rule(profile=profile.name)], 0)

    async def _start(self) -> None:
        sockets = {name: bind("127.0.0.1", 0) for name in ("manufacturer", "rendezvous", "owner")}
        urls = {name: f"http://{self._host}:{one.getsockname()[1]}" for name, one in sockets.items()}
        self.manufacturer = urls["manufacturer"]
        folder = self._folder
        rendezvous = RendezvousSettings(data_dir=folder / "r", trusted_keys=self._bundle("manufacturer", "m"))
        await self._run(build_rendezvous, rendezvous, sockets["rendezvous"])
        owner = OwnerSettings(data_dir=folder / "o", advertise=[urls["owner"]])
        exchange = await self._run(build_owner, owner, sockets["owner"])
        assert isinstance(exchange, OwnerExchange)
        self._owner = exchange
        sell_to = self._bundle("owner", "o")
        manufacturer = ManufacturerSettings(
            data_dir=folder / "m", sell_to=sell_to, rendezvous_urls=[urls["rendezvous"]]
        )
        await self._run(build_manufacturer, manufacturer, sockets["manufacturer"])

    async def _run(self, build: Build, settings: Settings, listener: socket) -> Exchange:
        context = Context(
            settings=settings, bus=self._bus, replica=settings.replica, metrics=Metrics(), log=structlog.get_logger()
        )
        app = await self._stack.enter_async_context(build(context))
        exchange = app.fdo
        assert isinstance(exchange, Exchange)
        self._listen(exchange)
        for task in app.tasks:
            await self._stack.enter_async_context(_running(task()))
        await self._stack.enter_async_context(_serving(exchange, listener))
        return exchange

    def _listen(self, exchange: Exchange) -> None:
        answer = exchange.answer

        async def listened(message: Message, turn: Turn) -> tuple[Message, str | None]:
            reply, token = await answer(message, turn)
            self._listener(exchange, Spoken(message.number, turn.body, reply, turn, token or turn.token))
            if isinstance(message, OwnerSign):
                assert isinstance(reply, AcceptOwner)
                self._registered.set()
            return reply, token

        exchange.answer = listened  # type: ignore[method-assign]  # the one way in that leaves production code alone

    def _bundle(self, role: str, folder: str) -> Path:
        keys = FileKeyStore(self._folder / folder / "keys")
        path = self._folder / f"{role}.pem"
        path.write_text("".join(bundles.to_pem(keys.signer(role, kind).public_key) for kind in get_args(KeyKind)))
        return path


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _serving(exchange: Exchange, listener: socket) -> AsyncIterator[None]:
    management = api([], auth=Auth([], enabled=False), title="none", version="0")
    web = Server(Application(api=management, fdo=FdoEndpoint(exchange)))
    task = asyncio.create_task(web.serve(listener))
    try:
        yield
    finally:
        web.stop()
        await task

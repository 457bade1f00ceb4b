"""Akri's `v0.Registration`, at the socket where its handlers look for an agent."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from grpclib.server import Stream as Call

from ashore.grpc import Bytes, CallError, MessageError, receive
from ashore_discovery.limits import Network
from ashore_discovery.listening.akri.endpoints import Book, EndpointError, Family, Kept, Places
from ashore_discovery.listening.akri.handler import Akri, kind_of
from ashore_discovery.listening.akri.messages import EMPTY, read_registration
from ashore_discovery.listening.catalogue import Catalogue, NoSuchHandlerError

SOCKET: Final = "agent-registration.sock"
_METHOD: Final = "/v0.Registration/RegisterDiscoveryHandler"
_LARGEST: Final = 4096
_SECONDS: Final = 5.0
_MODE: Final = 0o660
_WAY: Final = "Akri's interface"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AkriReception:
    """Takes in Akri's handlers that register."""

    def __init__(
        self, folder: Path, data: Path, network: Network, catalogue: Catalogue, changed: Callable[[], None]
    ) -> None:
        self._folder = folder.absolute()
        self._catalogue = catalogue
        self._changed = changed
        self._kinds: dict[str, type[Akri]] = {}
        self._book = Book(data, Places(self._folder, network), catalogue)

    def begin(self) -> None:
        """Dial those that had registered with an earlier run: they do not know that it has ended."""
        for family in self._book.restore():
            try:
                self._add(family)
            except NoSuchHandlerError as error:
                log.warning("a registration of the last run is left out", handler=family.name, reason=str(error))

    async def serve(self) -> None:
        """Answer registrations, until cancelled."""
        # It logs with a traceback whatever strangers send.
        logging.getLogger("grpclib").setLevel(logging.CRITICAL + 1)
        listening = _listen(self._folder / SOCKET)
        server = Server([self], codec=Bytes())
        await server.start(sock=listening)
        try:
            log.info("listening for Akri's handlers", socket=str(self._folder / SOCKET))
            await asyncio.Event().wait()
        finally:
            server.close()
            (self._folder / SOCKET).unlink(missing_ok=True)

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        return {_METHOD: Handler(self._register, Cardinality.UNARY_UNARY, bytes, bytes)}

    async def _register(self, call: "Call[bytes, bytes]") -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                body = await receive(call._stream, _LARGEST)  # noqa: SLF001 - grpclib itself knows no limit
            found = read_registration(body or b"")
            kept = Kept(name=found.name, endpoint=found.endpoint, network=found.network, shared=found.shared)
            self._take(kept)
        except (EndpointError, NoSuchHandlerError, MessageError, CallError, TimeoutError) as error:
            log.warning("registration refused", reason=str(error))
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        await call.send_message(EMPTY)

    def _take(self, kept: Kept) -> None:
        family, fresh = self._book.enter(kept)
        known = self._kinds.get(family.token)
        # A handler that says again what is known, while its streams are open, disturbs nothing.
        if known is None or not family.running or known.shared != family.shared:
            self._add(family)
            self._changed()
        if fresh:
            self._book.write()
            log.info("handler registered", handler=family.token, endpoint=kept.endpoint, shared=kept.shared)

    def _add(self, family: Family) -> None:
        kind = kind_of(family, self._book)
        try:
            self._catalogue.add(kind, way=_WAY)
        except NoSuchHandlerError:
            del self._book.families[family.token]
            raise
        self._kinds[family.token] = kind


def _listen(path: Path) -> socket.socket:
    """A socket at this path, in place of one that nobody listens at; raise OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(f"{path} is no socket: remove it")
        if _answers(path):
            raise FileExistsError(f"another agent listens at {path}: end it, or set ASHORE_AKRI_DIR to another folder")
        path.unlink()
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(str(path))
        # Before it listens nobody can be connected, so there is no moment with another mode.
        os.chmod(path, _MODE)  # noqa: PTH101 - a path that was made a line above
        found.setblocking(False)  # noqa: FBT003 - its only argument
    except OSError:
        found.close()
        raise
    return found


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True

"""What one resource serves to the kubelet: `v1beta1.DevicePlugin` at a socket of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol

import structlog
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server
from grpclib.server import Stream as Call

from ashore.grpc import SMALL, Bytes, CallError, MessageError, receive
from ashore_device_plugin.giving import Given
from ashore_device_plugin.kubelet import messages
from ashore_device_plugin.kubelet.messages import Preference
from ashore_device_plugin.names import Owner
from ashore_device_plugin.offers import Offer

NAMES: Final = "ashore-*.sock"
_SERVICE: Final = "/v1beta1.DevicePlugin"
_LARGEST: Final = 1024 * 1024
_SECONDS: Final = 5.0
_GOODBYE_SECONDS: Final = 1.0
_REST: Final = 0.02
_REST_PER_DEVICE: Final = 0.0001
"""After a list the stream rests, so that a burst of changes is told in few lists: a device in it takes 5 us."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AllocationError(Exception):
    """A container does not get its devices; the text says why, and stands in the pod's status."""


class Offering(Protocol):
    """Who knows what there is."""

    def offers(self, owner: Owner) -> list[Offer]:
        """The ids of a resource."""
        ...

    def prefer(self, owner: Owner, preferences: list[Preference]) -> list[list[str]]:
        """The ids that each container is best given."""
        ...

    async def allocate(self, owner: Owner, containers: list[list[str]]) -> list[Given]:
        """What each container gets; raise AllocationError, and then none has got anything."""
        ...


class Endpoint:
    """One resource, and those who listen to it."""

    def __init__(self, owner: Owner, offering: Offering, folder: Path) -> None:
        self.owner = owner
        self.path = folder / f"ashore-{blake2b(owner.resource.encode(), digest_size=8).hexdigest()}.sock"
        self.registered = False
        self.problem = ""
        """Why it is not registered, where that was tried."""
        self.gone = False
        """Whether it is offered no more."""
        self.wake = asyncio.Event()
        """Set when it is gone, or there is another kubelet than before."""
        self._offering = offering
        self._listeners: set[asyncio.Event] = set()
        self._silent = asyncio.Event()
        self._silent.set()
        self._server: Server | None = None

    async def serve(self) -> None:
        """Listen at the socket, in place of one that is there; raise OSError."""
        self.path.unlink(missing_ok=True)
        self._server = Server([self], codec=Bytes(), config=SMALL)
        await self._server.start(path=str(self.path))

    def changed(self) -> None:
        """There are other offers than before."""
        for listener in self._listeners:
            listener.set()

    def end(self) -> None:
        """It is offered no more: say so with an empty list."""
        self.gone = True
        self.wake.set()
        self.changed()

    async def close(self) -> None:
        """Serve no more, when those who listen have heard the last list."""
        if self.gone:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self._silent.wait()
        if self._server is not None:
            self._server.close()
            self._server = None
        self.path.unlink(missing_ok=True)

    def __mapping__(self) -> dict[str, Handler]:
        """What grpclib serves."""
        one = Cardinality.UNARY_UNARY
        return {
            f"{_SERVICE}/GetDevicePluginOptions": Handler(self._get_options, one, bytes, bytes),
            f"{_SERVICE}/ListAndWatch": Handler(self._list_and_watch, Cardinality.UNARY_STREAM, bytes, bytes),
            f"{_SERVICE}/GetPreferredAllocation": Handler(self._prefer, one, bytes, bytes),
            f"{_SERVICE}/Allocate": Handler(self._allocate, one, bytes, bytes),
            f"{_SERVICE}/PreStartContainer": Handler(self._pre_start, one, bytes, bytes),
        }

    async def _get_options(self, call: "Call[bytes, bytes]") -> None:
        await _asked(call)
        await call.send_message(messages.write_options())

    async def _list_and_watch(self, call: "Call[bytes, bytes]") -> None:
        await _asked(call)
        news = asyncio.Event()
        self._listeners.add(news)
        self._silent.clear()
        try:
            await self._tell(call, news)
        finally:
            self._listeners.discard(news)
            if not self._listeners:
                self._silent.set()

    async def _tell(self, call: "Call[bytes, bytes]", news: asyncio.Event) -> None:
        said: bytes | None = None
        while True:
            news.clear()
            gone = self.gone
            offers = [] if gone else self._offering.offers(self.owner)
            body = messages.write_offers(offers)
            if body != said:
                await call.send_message(body)
                said = body
            if gone:
                return
            await asyncio.sleep(_REST + _REST_PER_DEVICE * len(offers))
            await news.wait()

    async def _prefer(self, call: "Call[bytes, bytes]") -> None:
        await self._answer(call, self._preferred)

    async def _allocate(self, call: "Call[bytes, bytes]") -> None:
        await self._answer(call, self._allocated)

    async def _pre_start(self, call: "Call[bytes, bytes]") -> None:
        await _asked(call)
        await call.send_message(messages.EMPTY)

    async def _preferred(self, body: bytes) -> bytes:
        return messages.write_preferred(self._offering.prefer(self.owner, messages.read_preferences(body)))

    async def _allocated(self, body: bytes) -> bytes:
        return messages.write_allocation(await self._offering.allocate(self.owner, messages.read_allocation(body)))

    async def _answer(self, call: "Call[bytes, bytes]", answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        asked = await _asked(call)
        try:
            written = await answer(asked)
        except MessageError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        except AllocationError as error:
            log.warning("not allocated", resource=self.owner.resource, reason=str(error))
            raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error
        except Exception as error:
            log.exception("a question of the kubelet failed", resource=self.owner.resource)
            raise GRPCError(Status.INTERNAL, "the device plugin failed; its log says more") from error
        await call.send_message(written)


async def _asked(call: "Call[bytes, bytes]") -> bytes:
    """The question; raise GRPCError."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await receive(call._stream, _LARGEST) or b""  # noqa: SLF001 - grpclib itself knows no limit
    except (CallError, TimeoutError) as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error) or "it takes too long to ask") from error

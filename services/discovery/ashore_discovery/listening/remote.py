"""Handlers outside the agent's process, in any language, over NATS.

Everything is a request with a JSON body, so each step is answered and nothing is lost unseen. A handler registers at
`discovery-agent.<site>.<node>.register` (Registration, answered by Welcome) and then answers Configure requests on
`discovery-handler.<site>.<node>.<name>.configure` with Configured: each holds the details of all configurations. What
it sees it reports on `discovery-agent.<site>.<node>.<name>.report` (Report, answered by Receipt), at least every
`heartbeat_seconds`, if need be with no sightings; `complete` says that what it did not name while it looked around is
missing. An agent that was restarted answers no report before the handler has registered again, so a handler that gets
no answer registers anew. A handler that is silent for three heartbeats is lost, and its devices are unknown.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Final

import msgspec
import structlog
from msgspec import Meta

from ashore.bus import Bus, BusError, Serving
from ashore.events.model import Token
from ashore_discovery.handler import Handler, HandlerError, Seen
from ashore_discovery.listening.catalogue import Catalogue, NoSuchHandlerError
from ashore_discovery.model import Facet, Offer, Refusal, Said, Sighting, Swept

HEARTBEAT_SECONDS: Final = 10.0
MISSING: Final = 3
MOST_HANDLERS: Final = 32
MOST_SIGHTINGS: Final = 100
_MOST_WAITING: Final = 1000
_CONFIGURE_SECONDS: Final = 5.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A handler introduces itself."""

    name: Annotated[Token, Meta(description="As configurations say it; no other handler may have it")]
    shared: Annotated[bool, Meta(description="Whether agents of other nodes can see the same devices")] = False
    exhaustive: Annotated[bool, Meta(description="Whether what a complete report does not name is gone")] = False
    heartbeat_seconds: Annotated[float, Meta(ge=0.1, le=300, description="How often it reports at least")] = (
        HEARTBEAT_SECONDS
    )


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the handler is taken, and where it speaks from now on."""

    accepted: bool
    reason: str = ""
    report: str = ""
    configure: str = ""


class Configure(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: all of it, each time."""

    configurations: Annotated[list[dict[str, Any]], Meta(description="The `details` of each configuration")]


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the handler can do that."""

    problem: Annotated[str, Meta(max_length=1024, description="Why not; empty if it can")] = ""


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was seen, or that all is well."""

    sightings: Annotated[list[Said], Meta(max_length=MOST_SIGHTINGS)] = []
    complete: Annotated[bool, Meta(description="With this report everything was said that is there")] = False
    looked_for: Annotated[float, Meta(ge=0, description="How many seconds ago it began to look around")] = 0.0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a report."""

    taken: int = 0
    problem: str = ""


class Anything(msgspec.Struct, frozen=True, kw_only=True):
    """Details that only the handler itself understands."""

    raw: dict[str, Any] = {}


class Door(msgspec.Struct, kw_only=True):
    """What lies between the bus and the listener of one remote handler."""

    registration: Registration
    bus: Bus
    configure: str
    waiting: "asyncio.Queue[Report]" = msgspec.field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))


class Remote(Handler[Anything, tuple[bytes, ...]]):
    """The listener's side of a handler that runs elsewhere; `of` makes one for each registration."""

    details_type: ClassVar[type[msgspec.Struct]] = Anything
    raw: ClassVar[bool] = True
    summary: ClassVar[str] = "A handler that has registered over the bus"
    door: ClassVar[Door]

    @classmethod
    def plan(cls, details: Sequence[Anything]) -> tuple[bytes, ...]:
        """The details as they are sent."""
        return tuple(sorted(msgspec.json.encode(one.raw) for one in details))

    async def run(self, plan: tuple[bytes, ...]) -> Seen:
        """Send the configurations, and yield what is reported until the handler is silent for too long."""
        door = self.door
        await self._configure(plan)
        self.context.report("events", "")
        patience = door.registration.heartbeat_seconds * MISSING
        while True:
            try:
                async with asyncio.timeout(patience):
                    report = await door.waiting.get()
            except TimeoutError as error:
                raise HandlerError(f"it has reported nothing for {patience:g} s") from error
            begun = self.context.clock() - report.looked_for
            for said in report.sightings:
                yield Sighting(**msgspec.structs.asdict(said))
            if report.complete:
                yield Swept(begun=begun)

    async def _configure(self, plan: tuple[bytes, ...]) -> None:
        details = [msgspec.json.decode(one, type=dict[str, Any]) for one in plan]
        body = msgspec.json.encode(Configure(configurations=details))
        try:
            answer = await self.door.bus.request(self.door.configure, body, timeout=_CONFIGURE_SECONDS)
            problem = msgspec.json.decode(answer or b"{}", type=Configured).problem
        except (BusError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise HandlerError(f"it does not answer its configuration: {error}") from error
        if problem:
            raise HandlerError(f"it cannot use its configuration: {problem}")

    @classmethod
    def offer(cls, details: Anything, facet: Facet, others: Callable[[], Any]) -> Offer | Refusal:
        """It reports what its configurations ask for; which of them it was is a matter of their filters."""
        del details, others
        texts = {name: value for name, value in facet.facts.items() if isinstance(value, str)}
        return Offer(properties={name.upper().replace("-", "_"): value for name, value in texts.items()})


class Reception:
    """Takes in handlers that register."""

    def __init__(self, bus: Bus, site: str, node: str, catalogue: Catalogue, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._place = f"{site}.{node}"
        self._catalogue = catalogue
        self._changed = changed
        self._doors: dict[str, Door] = {}
        self._served: dict[str, Serving] = {}

    async def serve(self) -> None:
        """Answer registrations, until cancelled."""
        try:
            async with await self._bus.serve(f"discovery-agent.{self._place}.register", self._register):
                await asyncio.Event().wait()
        finally:
            for serving in self._served.values():
                await serving.close()
            self._served.clear()

    async def _register(self, body: bytes) -> bytes:
        return msgspec.json.encode(await self._welcome(body))

    async def _welcome(self, body: bytes) -> Welcome:
        try:
            registration = msgspec.json.decode(body, type=Registration)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return Welcome(accepted=False, reason=f"this is no registration: {error}")
        name = registration.name
        if name not in self._doors and len(self._doors) >= MOST_HANDLERS:
            return Welcome(accepted=False, reason=f"there are {MOST_HANDLERS} remote handlers already")
        configure = f"discovery-handler.{self._place}.{name}.configure"
        door = Door(registration=registration, bus=self._bus, configure=configure)
        try:
            self._catalogue.add(_handler_of(door))
        except NoSuchHandlerError as error:
            return Welcome(accepted=False, reason=str(error))
        self._doors[name] = door
        report = f"discovery-agent.{self._place}.{name}.report"
        if name not in self._served:
            self._served[name] = await self._bus.serve(report, lambda sent: self._report(name, sent))
        log.info("handler registered", handler=name)
        self._changed()
        return Welcome(accepted=True, report=report, configure=configure)

    async def _report(self, name: str, body: bytes) -> bytes:
        try:
            report = msgspec.json.decode(body, type=Report)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return msgspec.json.encode(Receipt(problem=f"this is no report: {error}"))
        # Who reports faster than it can be heard waits here for its receipt.
        await self._doors[name].waiting.put(report)
        return msgspec.json.encode(Receipt(taken=len(report.sightings)))


def _handler_of(door: Door) -> type[Remote]:
    """A handler class for a registration; a new registration makes a new one, and so a new listener."""
    registration = door.registration
    fields = {
        "door": door,
        "name": registration.name,
        "shared": registration.shared,
        "exhaustive": registration.exhaustive,
    }
    return type("Remote", (Remote,), fields)

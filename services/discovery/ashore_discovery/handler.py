"""What a discovery handler is: the one class that whoever writes one inherits, and what it is given.

A handler says what it sees, in sightings. It knows nothing of configurations' names, of events, of who matched: which
device a sighting is of, whether it is still there and who wants it is decided by the layers above, the same for all
protocols. How to write one is in docs/how-to/write-a-handler.md.

Rules: never block the loop; a cancellation is a clean end; every byte from outside has a limit; whatever else is raised
restarts the listener after a pause, and meanwhile its devices are `unknown`, not gone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec
import structlog

from ashore.events import Mode
from ashore_discovery.limits import Network, Pace
from ashore_discovery.model import Facet, Learnt, Lost, Offer, Refusal, Sighting, Swept

Details = TypeVar("Details", bound=msgspec.Struct)
Plan = TypeVar("Plan")

Seen = AsyncGenerator[Sighting | Swept | Lost, None]


class HandlerError(Exception):
    """The handler cannot work; the text says why and what to do, and stands in health until it can again."""


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A handler without settings."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many new devices are believed, so that a flood of forged announcements stays a flood of announcements."""

    devices: int = 2000
    """At most so many at the same time."""
    burst: int = 1000
    """So many new ones at once."""
    per_second: float = 5.0
    """And so many each second after that."""
    unproven: int = 50
    """Where anybody can announce things: so many new ones are told at once without having been asked."""
    unproven_per_second: float = 1.0
    """And so many each second after that; the others are told when they have answered a probe."""
    sightings: float = 1000.0
    """So many sightings a second are heard, and five times as many at once; the end of a device always is."""


def uncounted(why: str) -> None:
    """Where nobody counts what is dropped."""
    del why


class Context(msgspec.Struct, kw_only=True):
    """What a handler is given."""

    settings: msgspec.Struct
    """As the handler's `settings_type`, from `handlers:` in the node's file."""
    interface: str | None
    """The network interface to listen on, where the handler is `per_interface`."""
    clock: Callable[[], float]
    """Seconds since 1970. Never `time.time` in a handler: tests turn this clock."""
    report: Callable[[Mode, str], None]
    """Tell in health how it works (`events`, `polling`, `degraded`), and why no better."""
    spawn: Callable[[Coroutine[object, object, None]], asyncio.Task[None]]
    """Run something beside; it is cancelled when the listener ends, and a crash of it is the listener's."""
    secret: Callable[[str], str]
    """The content of a secret by its reference: `file:name` below the folder of secrets, `env:NAME`."""
    network: Network
    """Which addresses may be spoken to: ask it before following a URL that a stranger has sent."""
    pace: Pace
    """How fast questions may be sent: `await context.pace()` before each."""
    log: structlog.typing.FilteringBoundLogger
    dropped: Callable[[str], None] = uncounted
    """Something from outside was not used, and why: too much, too large, or nonsense. Health and metrics count it."""


class Handler(Generic[Details, Plan]):
    """Finds devices of one protocol. One object is made for each start of a listener."""

    name: ClassVar[str]
    """As configurations say it: a token, as in `debug-echo`."""
    summary: ClassVar[str]
    """What it finds, in one line, for the reference."""
    details_type: ClassVar[type[msgspec.Struct]]
    """What a configuration may say. Descriptions in `Meta` are its manual; `forbid_unknown_fields=True`."""
    settings_type: ClassVar[type[msgspec.Struct]] = NoSettings
    """What the node's file may say, once for all configurations."""
    raw: ClassVar[bool] = False
    """Details are given as they were written, in a field `raw`: only the handler itself can say what is wrong."""
    shared: ClassVar[bool] = False
    """Whether agents of several nodes can see the same device: everything on a network, nothing on a bus."""
    per_interface: ClassVar[bool] = False
    """Whether there is one listener for each network interface, or one for all."""
    announced: ClassVar[bool] = False
    """Whether things are told of that only say so themselves, so that anybody can forge them."""
    exhaustive: ClassVar[bool] = False
    """Whether what a complete sweep does not name is gone. Otherwise it is suspected, and probed."""
    bye_hold: ClassVar[float] = 1.0
    """How many seconds a goodbye waits for the hello of a restart."""
    patience: ClassVar[float] = 30.0
    """Where there is no `probe`: how many seconds a suspected device stays before it is given up."""
    probe_timeout: ClassVar[float] = 1.0
    """How many seconds one probe may take; three must fail."""
    stall_after: ClassVar[float | None] = None
    """A listener that yields nothing for so many seconds hangs, and is restarted. None: silence is normal."""
    limits: ClassVar[Limits] = Limits()

    def __init__(self, context: Context) -> None:
        self.context = context

    @property
    def interface(self) -> str:
        """The network interface of a handler that is `per_interface`; raise HandlerError where there is none."""
        if self.context.interface is None:
            raise HandlerError(f"'{self.name}' listens on one network interface, and was given none")
        return self.context.interface

    @classmethod
    def plan(cls, details: Sequence[Details]) -> Plan:
        """What the listener must do to serve all these configurations, as a value that can be compared.

        What only chooses among devices does not belong into it: a plan that has changed restarts the listener, unless
        `replan` takes it over.
        """
        raise NotImplementedError

    def run(self, plan: Plan) -> Seen:
        """Yield what is seen, without end; an async generator. Yield Swept after the first look around."""
        raise NotImplementedError

    def replan(self, plan: Plan) -> bool:
        """Take over a changed plan while running; False asks for a restart."""
        del plan
        return False

    async def probe(self, facet: Facet) -> bool | None:
        """Ask the device itself: True it answers, False it does not, None it cannot be told (our own link is down)."""
        raise NotImplementedError

    async def enrich(self, facet: Facet) -> Learnt | None:
        """Ask the device for more than the wire said; called once when it appears, and after each return."""
        raise NotImplementedError

    async def scan(self) -> None:
        """Look around now: what is found is yielded by `run`."""
        raise NotImplementedError

    @classmethod
    def problems(cls, details: Details) -> Iterable[str]:
        """What is wrong with a configuration beyond its types, a sentence each; nothing where it can be used."""
        del details
        return ()

    @classmethod
    def offer(cls, details: Details, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """Whether this configuration wants the device, and what its broker gets. Pure: no clock, no input.

        `others` are the facets of this handler that are there, for those who make one device of several (`groups`).
        """
        del details, facet, others
        return Offer()

    @classmethod
    def groups(cls, details: Details) -> bool:
        """Whether `offer` looks at `others`, so that any change may change it."""
        del details
        return False

    @classmethod
    def concerns(cls, details: Details, facet: Facet) -> bool:
        """With `groups`: whether this facet can be a part of a group; only those are among `others`."""
        del details, facet
        return True

    @classmethod
    def can(cls, ability: str) -> bool:
        """Whether it has a `probe`, an `enrich`, a `scan` of its own."""
        return getattr(cls, ability) is not getattr(Handler, ability)

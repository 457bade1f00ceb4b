"""The handler `onvif`: cameras that say hello and goodbye, and those that only answer."""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, cast

import msgspec

from ashore_discovery.handler import Context, Handler, HandlerError, Seen
from ashore_discovery.handlers.datagrams import Datagram
from ashore_discovery.handlers.markup import MarkupError
from ashore_discovery.handlers.onvif import details as written
from ashore_discovery.handlers.onvif import wsdiscovery
from ashore_discovery.handlers.onvif.asking import new_id
from ashore_discovery.handlers.onvif.book import Book
from ashore_discovery.handlers.onvif.details import OnvifDetails, OnvifSettings
from ashore_discovery.handlers.onvif.gate import Gate
from ashore_discovery.handlers.onvif.knowing import from_facet, learnt
from ashore_discovery.handlers.onvif.rounds import Rounds
from ashore_discovery.handlers.onvif.sockets import Sockets, carries
from ashore_discovery.handlers.onvif.wsdiscovery import Message, Target
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.model import Facet, Learnt, Offer, Refusal, Sighting, Swept

MOST_QUEUED: Final = 4096
PROBE_SECONDS: Final = 0.45
FLOOD_SECONDS: Final = 60.0
_TYPES: Final = ("dn:NetworkVideoTransmitter", "tds:Device")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener does for all configurations together."""

    timeout: float = 1.0
    properties: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Keys of credentials, a tuple for each configuration that has some."""


class Onvif(Handler[OnvifDetails, Plan]):
    """Cameras, recorders and door controllers on one network."""

    name = "onvif"
    summary = "IP cameras and other ONVIF devices, by WS-Discovery and SOAP; Akri's `onvif`"
    details_type = OnvifDetails
    settings_type = OnvifSettings
    shared = True
    per_interface = True
    announced = True
    # Three of them, and what lies between, must be over within five seconds of a pulled plug.
    probe_timeout = 0.7

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(OnvifSettings, context.settings)
        self._plan = Plan()
        self._gate = Gate(context.clock, context.dropped)
        self._queue: asyncio.Queue[Datagram | Sighting | Swept] = asyncio.Queue()
        self._sockets = Sockets(self.interface, context.clock, self._receive)
        self._book = Book(context, self._settings, self._queue.put_nowait)
        self._rounds = Rounds(context, self._settings, self._sockets, self._book)
        self._scan_now = asyncio.Event()
        self._works = False
        self._without = ""

    @classmethod
    def plan(cls, details: Sequence[OnvifDetails]) -> Plan:
        """How long answers are waited for, and who may know passwords."""
        properties = {tuple(sorted(one.discovery_properties.items())) for one in details if one.discovery_properties}
        return Plan(
            timeout=max((one.discovery_timeout_seconds for one in details), default=1.0),
            properties=tuple(sorted(properties)),
        )

    def replan(self, plan: Plan) -> bool:
        """Other credentials are tried at once where the old ones were not taken."""
        changed, self._plan = plan.properties != self._plan.properties, plan
        if changed and self._works:
            self._book.use([dict(one) for one in plan.properties])
        return True

    async def scan(self) -> None:
        """Look around now."""
        self._scan_now.set()

    async def run(self, plan: Plan) -> Seen:
        """Listen first, look around then, and ask all the time whether everybody is there."""
        self._plan = plan
        try:
            self._without = await self._sockets.open(ipv6=self._settings.ipv6)
            self._works = True
            self._book.use([dict(one) for one in plan.properties])
            self._report()
            self.context.spawn(self._look_around())
            self.context.spawn(self._rounds.run())
            while True:
                item = await self._queue.get()
                if isinstance(item, Datagram):
                    for found in self._read(item):
                        yield found
                else:
                    yield item
        except OSError as error:
            raise HandlerError(f"WS-Discovery cannot be heard on {self.interface}: {error}") from error
        finally:
            self._works = False
            self._sockets.close()

    async def probe(self, facet: Facet) -> bool | None:
        """Ask it in every way there is."""
        if not self._works or not carries(self.interface):
            return None
        known = self._book.get(facet.id) or from_facet(facet)
        # The tracker asks few at a time, and waiting for our turn would look like silence: so there is no pace here.
        return await self._rounds.ask(known, PROBE_SECONDS)

    async def enrich(self, facet: Facet) -> Learnt | None:
        """Ask for maker, model, firmware and hardware addresses."""
        if not self._settings.enrich or not self._works:
            return None
        known = self._book.get(facet.id) or from_facet(facet)
        # A thousand forgeries, each waited for as if it were still booting, would keep everybody else waiting.
        if not known.proven and not await self._rounds.verify(known):
            return None
        known.enriched = await self._book.ask(known) or known.enriched
        self._report()
        return learnt(known)

    @classmethod
    def problems(cls, details: OnvifDetails) -> Iterable[str]:
        """Keys of credentials and filters that cannot be used."""
        return written.problems(details)

    @classmethod
    def offer(cls, details: OnvifDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A device that passes Akri's filters."""
        del others
        return written.offer(details, facet)

    def _receive(self, datagram: Datagram) -> None:
        if self._rounds.asking.heard(datagram):
            return
        if not self.context.network.allows(datagram.address):
            self._gate.refuse(datagram.address, "from no network that may be asked")
        elif self._queue.qsize() > MOST_QUEUED:
            self._gate.refuse(datagram.address, "too many wait")
        # A repetition costs its sender nothing, since over UDP everything is said several times.
        elif self._gate.is_new((datagram.address, hash(datagram.body))) and self._gate.admits(datagram.address):
            self._queue.put_nowait(datagram)

    def _read(self, datagram: Datagram) -> Iterator[Sighting]:
        try:
            message = wsdiscovery.parse(datagram.body)
        except MarkupError as error:
            self._gate.refuse(datagram.address, str(error))
            self.context.log.debug("datagram cannot be read", sender=datagram.address, reason=str(error))
            return
        for target in message.targets:
            # One message comes over several sockets, and is one.
            if self._gate.is_new((message.message_id or datagram.at, message.kind, target.epr, datagram.address)):
                found = self._hear(message, target, datagram)
                if found is not None:
                    yield found

    def _hear(self, message: Message, target: Target, datagram: Datagram) -> Sighting | None:
        if message.kind == "Bye":
            left = self._book.bye(target, datagram, self._rounds.doubt_bye)
            if left is None:
                self._gate.refuse(datagram.address, "a goodbye for another device")
            return left
        self._rounds.asking.spoke(target.epr)
        if not target.is_onvif and (target.types or target.scopes):
            return None
        if not target.is_complete and self.context.pace.take():
            self._sockets.ask(wsdiscovery.probe(new_id(), "", message.version), datagram.address)
        known = self._book.get(target.epr)
        if known is None and not (target.is_onvif and self._gate.founds(datagram.address)):
            return None
        return self._book.hear(message, target, datagram)

    async def _look_around(self) -> None:
        """Ask everybody who they are; at the start and when told, what does not answer is missing."""
        complete = True
        await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - so that not all agents ask at once
        while True:
            self._scan_now.clear()
            begun = self.context.clock()
            await self._ask_everybody(begun + self._plan.timeout)
            self._rounds.miss_mute(begun)
            if complete:
                self._queue.put_nowait(Swept(begun=begun))
            self._report()
            complete = await rest(self._settings.scan_seconds * random.uniform(0.9, 1.1), self._scan_now)  # noqa: S311

    async def _ask_everybody(self, until: float) -> None:
        """Every question twice, as SOAP-over-UDP wants: after 50 to 250 ms, since a lost packet is rarely alone."""
        questions = [wsdiscovery.probe(new_id(), types) for types in _TYPES]
        questions.append(wsdiscovery.probe(new_id(), _TYPES[0], "2009/01"))
        for pause in (random.uniform(0.05, 0.25), 0.0):  # noqa: S311 - the specification's jitter
            for question in questions:
                await self.context.pace()
                self._sockets.ask_all(question)
            await asyncio.sleep(pause)
        await asyncio.sleep(max(0.0, until - self.context.clock()))

    def _report(self) -> None:
        """Say in health how it works, and what is in the way."""
        reasons = [self._without, *self._book.troubles()]
        flooded = self._gate.refused and self.context.clock() - self._gate.refused_at < FLOOD_SECONDS
        if flooded:
            reasons.append(f"{self._gate.refused} messages were not taken: too many, malformed, or from elsewhere")
        self.context.report("events", "; ".join(filter(None, reasons)))

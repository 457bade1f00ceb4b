"""The handler `ssdp`: what announces itself by UPnP, and what answers a search for it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, cast

from ashore_discovery.handler import Context, Handler, HandlerError, Seen
from ashore_discovery.handlers.datagrams import Datagram, Inbox, asking_socket, group_socket, receiving
from ashore_discovery.handlers.globs import misfit, texts
from ashore_discovery.handlers.http import HttpError
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.handlers.rounds import Rounds
from ashore_discovery.handlers.ssdp import description, messages
from ashore_discovery.handlers.ssdp.asking import Asking
from ashore_discovery.handlers.ssdp.book import Book
from ashore_discovery.handlers.ssdp.details import SsdpDetails, SsdpSettings
from ashore_discovery.limits import PerSender
from ashore_discovery.model import Facet, Learnt, Offer, Refusal, Sighting, Swept

Plan = frozenset[str]
_TIMES: Final = 3
"""A search is said so often, since datagrams get lost."""
_BETWEEN: Final = 0.25
_LATE: Final = 0.5
_SETTLE: Final = 0.02
"""The dozen messages of one hello are told as two: the first at once, all others after this."""
_PAUSES: Final = (0.3, 1.0, 3.0)
_MOST_UNSAID: Final = 256
# One host has few root devices, and each says hello for what is in it before its own.
_NEW_PER_SECOND, _NEW_AT_ONCE = 0.5, 64
_PROPERTIES: Final = {
    "SSDP_LOCATION": "location",
    "SSDP_ADDRESS": "address",
    "SSDP_SERVER": "server",
    "SSDP_NAME": "name",
    "SSDP_MANUFACTURER": "vendor",
    "SSDP_MODEL": "model",
    "SSDP_SERIAL": "serial",
}


class Ssdp(Handler[SsdpDetails, Plan]):
    """Devices of UPnP."""

    name = "ssdp"
    summary = "Devices of UPnP: media servers, cameras, gateways, lamps, by SSDP and their descriptions"
    details_type = SsdpDetails
    settings_type = SsdpSettings
    shared = True
    per_interface = True
    announced = True
    probe_timeout = 0.5

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(SsdpSettings, context.settings)
        self._inbox = Inbox(context.clock, context.log, context.dropped)
        self._book = Book()
        self._founding = PerSender(_NEW_PER_SECOND, _NEW_AT_ONCE, context.clock)
        self._targets: Plan = frozenset()
        self._scan_now = asyncio.Event()
        self._unsettled = asyncio.Event()
        self._asking = Asking(context.network, self.interface, self.probe_timeout)
        self._out: asyncio.Queue[Sighting | Swept] = asyncio.Queue(_MOST_UNSAID)
        self._said: set[str] = set()
        self._later: dict[str, Sighting] = {}
        self._rounds = Rounds(self._settings.check_seconds, self._lives, self._say, self._forget)

    @classmethod
    def plan(cls, details: Sequence[SsdpDetails]) -> Plan:
        """What is searched for by its name, beside everything: some devices do not answer otherwise."""
        return frozenset(one for each in details for one in each.search_targets if not set("*?[") & set(one))

    def replan(self, plan: Plan) -> bool:
        """Other targets are searched for now."""
        self._targets = plan
        self._scan_now.set()
        return True

    async def scan(self) -> None:
        """Search now."""
        self._scan_now.set()

    async def run(self, plan: Plan) -> Seen:
        """Listen first and search then, so that nothing falls in between."""
        self._targets = plan
        async with self._opened():
            for work in (self._hear(), self._settle(), self._search(), self._rounds.go()):
                self.context.spawn(work)
            while True:
                yield await self._out.get()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """All sockets; an interface may lack one of the two protocols, but not both."""
        problems: list[str] = []
        async with AsyncExitStack() as stack:
            for group in (messages.GROUP_4, *messages.GROUPS_6):
                family = socket.AF_INET6 if ":" in group else socket.AF_INET
                try:
                    hearing = group_socket(group, messages.PORT, self.interface)
                    await stack.enter_async_context(receiving(hearing, self._inbox))
                    asking = asking_socket(family, self.interface)
                    await stack.enter_async_context(receiving(asking, self._inbox))
                    self._asking.sockets[group] = asking
                except OSError as error:
                    problems.append(f"{group}: {error}")
            if not self._asking.sockets:
                raise HandlerError(f"no group can be joined on {self.interface}: {'; '.join(problems)}")
            self.context.report("events", "; ".join(problems))
            yield

    async def _hear(self) -> None:
        while True:
            datagram = await self._inbox.get()
            message = messages.parse(datagram.body)
            # Others search on the same port, so what is no announcement is no mistake.
            if message is None:
                continue
            if not self.context.network.allows(datagram.address):
                self._inbox.drop(datagram.address, "from no network that may be asked")
            elif self._book.founds(message, datagram.address) and not self._founding.take(datagram.address):
                self._inbox.drop(datagram.address, "too many new devices")
            else:
                await self._take(message, datagram)

    async def _take(self, message: messages.Message, datagram: Datagram) -> None:
        expected = self._asking.heard(message.udn)
        for sighting in self._book.hear(message, datagram.address, datagram.at):
            if sighting.kind != "seen" or sighting.id not in self._said:
                self._later.pop(sighting.id, None)
                await self._say(sighting)
            elif not expected or message.kind != "answer":
                self._later[sighting.id] = sighting
                self._unsettled.set()

    async def _settle(self) -> None:
        while True:
            await self._unsettled.wait()
            await asyncio.sleep(_SETTLE)
            self._unsettled.clear()
            later, self._later = self._later, {}
            for sighting in later.values():
                await self._say(sighting)

    async def _say(self, sighting: Sighting) -> None:
        self._rounds.note(sighting)
        if sighting.kind == "seen":
            self._said.add(sighting.id)
        elif sighting.kind != "missed":
            self._said.discard(sighting.id)
        await self._out.put(sighting)

    def _forget(self, udn: str) -> None:
        self._book.forget(udn)
        self._said.discard(udn)

    async def _search(self) -> None:
        """Search from time to time. Only the first search is told as a sweep: later, each device is asked by itself."""
        begun = self.context.clock()
        await self._search_once()
        await self._out.put(Swept(begun=begun))
        while True:
            await rest(self._settings.scan_seconds, self._scan_now)
            self._scan_now.clear()
            await self._search_once()

    async def _search_once(self) -> None:
        for _ in range(_TIMES):
            for target in (messages.EVERYTHING, *sorted(self._targets)):
                await self.context.pace()
                for group in self._asking.sockets:
                    self._asking.send(target, group, group, self._settings.answer_seconds)
            await asyncio.sleep(_BETWEEN)
        await asyncio.sleep(self._settings.answer_seconds + _LATE)

    async def _lives(self, udn: str) -> bool | None:
        device = self._book.devices.get(udn)
        return await self._asking.answers(udn, device.addresses(), device.locations()) if device else None

    async def probe(self, facet: Facet) -> bool | None:
        """Search for it at its own addresses, and if that is not answered at once, knock at its description's door."""
        return await self._asking.answers(facet.id, _addresses(facet), facet.endpoints)

    async def enrich(self, facet: Facet) -> Learnt | None:
        """Fetch its description. Who has only just started may say hello before his own server listens."""
        if not self._settings.describe:
            return None
        for pause in _PAUSES:
            for location in facet.endpoints:
                await self.context.pace()
                place = description.where(location, _addresses(facet), self.context.network, self.interface)
                try:
                    return description.read(await description.fetch(place), facet.id)
                except HttpError as error:
                    if not isinstance(error.__cause__, ConnectionError):
                        raise
            await asyncio.sleep(pause)
        return None

    @classmethod
    def offer(cls, details: SsdpDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A device that fits one pattern of each list."""
        del others
        conditions = (
            (details.search_targets, ("targets", "services", "device_type")),
            (details.servers, ("server",)),
            (details.manufacturers, ("vendor",)),
            (details.models, ("model",)),
        )
        why = misfit(facet.facts, conditions)
        return Refusal(why) if why is not None else Offer(properties=dict(_properties(facet)))


def _properties(facet: Facet) -> Iterator[tuple[str, str]]:
    yield "SSDP_UDN", facet.id
    for name, fact in _PROPERTIES.items():
        found = texts(facet.facts.get(fact))
        if found:
            yield name, found[0]


def _addresses(facet: Facet) -> list[str]:
    return texts(facet.facts.get("address"))

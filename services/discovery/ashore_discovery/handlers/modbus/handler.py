"""The handler `modbus`: who answers Modbus over TCP at the addresses that configurations name.

Nothing in Modbus announces itself. So there are sweeps, slow enough to harm nobody, and between them hints: an address
that has just been heard of on the network is looked at within milliseconds.
"""

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, cast

import msgspec

from ashore_discovery.handler import Context, Handler, Seen
from ashore_discovery.handlers.addresses import with_port
from ashore_discovery.handlers.globs import misfit
from ashore_discovery.handlers.leases import LeaseFile, granted
from ashore_discovery.handlers.modbus import client, frames
from ashore_discovery.handlers.modbus.details import ModbusDetails, ModbusSettings
from ashore_discovery.handlers.modbus.hints import Hints
from ashore_discovery.handlers.modbus.targets import MOST_ADDRESSES, Server, Servers, Target, names, servers
from ashore_discovery.handlers.neighbours import Neighbours
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.handlers.rounds import Rounds
from ashore_discovery.model import Facet, Facts, Identity, Offer, Refusal, Sighting, Swept

Plan = tuple[Target, ...]
_AT_ONCE: Final = 64
_HINTS_AT_ONCE: Final = 32
_MOST_UNSAID: Final = 256
_ANEW: Final = (0.0, 1.0, 3.0, 9.0)
"""Who has just joined the network may not serve yet."""
_NOT_AGAIN_SECONDS: Final = 60.0
"""Our own questions make neighbours, and those would be hints again."""


class Modbus(Handler[ModbusDetails, Plan]):
    """Servers of Modbus over TCP, and what is behind them."""

    name = "modbus"
    summary = "Controllers, meters and drives by Modbus over TCP, in address ranges that are named"
    details_type = ModbusDetails
    settings_type = ModbusSettings
    shared = True
    # A connection and up to three answers, for which a slow serial line behind a gateway may need its time.
    probe_timeout = 3.0

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(ModbusSettings, context.settings)
        self._servers: Servers = {}
        self._ports: dict[str, list[Server]] = {}
        self._found: set[str] = set()
        self._neighbours = Neighbours(context.clock)
        self._scan_now = asyncio.Event()
        self._out: asyncio.Queue[Sighting | Swept] = asyncio.Queue(_MOST_UNSAID)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = {}
        self._hinted: dict[str, float] = {}
        self._rounds = Rounds(self._settings.check_seconds, self._lives, self._say, self._found.discard)

    @classmethod
    def plan(cls, details: Sequence[ModbusDetails]) -> Plan:
        """All targets of all configurations."""
        return tuple(sorted({_frozen(one) for each in details for one in each.targets}, key=repr))

    def replan(self, plan: Plan) -> bool:
        """Other addresses are asked now."""
        self._aim(plan)
        self._scan_now.set()
        return True

    async def scan(self) -> None:
        """Ask all addresses now."""
        self._scan_now.set()

    async def run(self, plan: Plan) -> Seen:
        """Listen for hints first and sweep then, so that nothing falls in between."""
        hints = Hints(self._wanted, self.context.dropped)
        try:
            reason = hints.open() if self._settings.hints else "hints are switched off"
            self.context.report("polling", "; ".join(filter(None, (self._aim(plan), reason))))
            leases = [await asyncio.to_thread(LeaseFile, Path(one)) for one in self._settings.leases]
            grants = (self._grants(one, hints) for one in leases)
            for work in (self._sweeps(), self._follow(hints), self._rounds.go(), *grants):
                self.context.spawn(work)
            while True:
                yield await self._out.get()
        finally:
            hints.close()

    def _aim(self, plan: Plan) -> str:
        """From now on only these are asked; the answer is what may not be."""
        wanted = servers(plan)
        self._servers = {
            server: units for server, units in wanted.items() if self.context.network.allows(server.address)
        }
        self._ports = {}
        for server in self._servers:
            self._ports.setdefault(server.address, []).append(server)
        self._locks = {address: lock for address, lock in self._locks.items() if address in self._ports}
        left_out = len(wanted) - len(self._servers)
        return f"{left_out} addresses are in no network that may be asked" if left_out else ""

    async def _sweeps(self) -> None:
        while True:
            begun = self.context.clock()
            self._scan_now.clear()
            order = list(self._servers)
            # Whoever counts who asks in turn of addresses takes us for a worm.
            secrets.SystemRandom().shuffle(order)
            async with asyncio.TaskGroup() as group:
                for server in order:
                    await self.context.pace()
                    await self._at_once.acquire()
                    group.create_task(self._look(server)).add_done_callback(lambda _: self._at_once.release())
            await self._out.put(Swept(begun=begun))
            await rest(self._settings.scan_seconds, self._scan_now)

    def _wanted(self, address: str) -> bool:
        """Whether a hint is worth looking at."""
        now = self.context.clock()
        if address not in self._ports or now - self._hinted.get(address, 0.0) < _NOT_AGAIN_SECONDS:
            return False
        if any(server.address == address for server in map(_server_of, self._found)):
            return False
        if len(self._hinted) >= MOST_ADDRESSES:
            self._hinted.clear()
        self._hinted[address] = now
        return True

    async def _follow(self, hints: Hints) -> None:
        # Hints can be forged, and must not hold up sweeps.
        at_once = asyncio.Semaphore(_HINTS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                address = await hints.get()
                await at_once.acquire()
                group.create_task(self._look_anew(address)).add_done_callback(lambda _: at_once.release())

    async def _grants(self, file: LeaseFile, hints: Hints) -> None:
        async with aclosing(granted(file)) as found:
            async for address in found:
                hints.hear(address)

    async def _look_anew(self, address: str) -> None:
        heard_at = self.context.clock()
        for pause in _ANEW:
            await asyncio.sleep(pause)
            await self.context.pace()
            looks = [self._look(server, "hint", heard_at) for server in self._ports.get(address, [])]
            if any(await asyncio.gather(*looks)):
                return

    async def _look(self, server: Server, cause: str = "sweep", wire_at: float | None = None) -> bool:
        """Ask one address; the answer is whether somebody is there."""
        units = self._servers.get(server, ())
        found = 0
        async with self._lock(server.address):
            try:
                async with client.connected(*server) as connection:
                    for unit in units:
                        texts = await self._identity(connection, unit, surely=len(units) > 1)
                        if texts is not None:
                            found += 1
                            at = self.context.clock() if wire_at is None else wire_at
                            await self._say(self._sighting(server, unit, texts, cause, at))
            except (client.SilentError, client.BusyError):
                return found > 0
            except frames.FrameError as error:
                self.context.dropped(f"answer of {server.address}:{server.port}: {error}")
                return found > 0
        return found > 0

    async def _identity(self, connection: client.Connection, unit: int, *, surely: bool) -> dict[str, str] | None:
        try:
            return await client.identity(connection, unit, surely=surely)
        except (client.SilentError, frames.RefusedError):
            return None

    def _sighting(self, server: Server, unit: int, texts: dict[str, str], cause: str, at: float) -> Sighting:
        own = f"{server.address}:{server.port}/{unit}"
        facts: Facts = {"address": server.address, "port": server.port, "unit": unit, **texts}
        identity: Identity = {"address": own}
        mac = self._neighbours.mac(server.address)
        if mac is not None:
            facts["mac"] = mac
            if len(self._servers.get(server, ())) == 1 and len(self._ports.get(server.address, ())) == 1:
                # Behind one gateway there are many, and they all have its hardware address.
                identity["mac"] = mac
        endpoint = f"modbus://{with_port(server.address, server.port)}/{unit}"
        return Sighting(id=own, cause=cause, facts=facts, identity=identity, endpoints=[endpoint], wire_at=at)

    async def _say(self, sighting: Sighting) -> None:
        self._rounds.note(sighting)
        if sighting.kind == "seen":
            self._found.add(sighting.id)
        await self._out.put(sighting)

    def _lock(self, address: str) -> asyncio.Lock:
        """One connection to one machine at a time: many take only one, and others want it too."""
        return self._locks.setdefault(address, asyncio.Lock())

    async def probe(self, facet: Facet) -> bool | None:
        """Connect, and have it say who it is."""
        return await self._lives(facet.id)

    async def _lives(self, name: str) -> bool | None:
        server, unit = _server_of(name), int(name.rpartition("/")[2])
        if unit not in self._servers.get(server, ()):
            # Nobody may ask any more, so nobody can say that it is there.
            return False
        async with self._lock(server.address):
            try:
                async with client.connected(*server) as connection:
                    texts = await self._identity(connection, unit, surely=len(self._servers[server]) > 1)
                    return texts is not None
            except client.SilentError:
                return False
            except client.BusyError:
                return None
            except frames.FrameError:
                return False

    @classmethod
    def problems(cls, details: ModbusDetails) -> Iterable[str]:
        """Targets that cannot be used."""
        for target in details.targets:
            yield from target.problems()

    @classmethod
    def offer(cls, details: ModbusDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A device among the targets that fits one pattern of each list."""
        del others
        server, unit = _server_of(facet.id), int(facet.id.rpartition("/")[2])
        if not any(names(target, server, unit) for target in details.targets):
            return Refusal(f"{facet.id} is not among the targets")
        conditions = (
            (details.vendors, ("vendor",)),
            (details.products, ("product", "product_name", "model")),
            (details.revisions, ("revision",)),
        )
        why = misfit(facet.facts, conditions)
        return Refusal(why) if why is not None else Offer(properties=dict(_properties(facet)))


def _frozen(target: Target) -> Target:
    return msgspec.structs.replace(target, units=tuple(sorted(set(target.units))))


def _server_of(name: str) -> Server:
    """What was put together for the name."""
    place = name.rpartition("/")[0]
    address, _, port = place.rpartition(":")
    return Server(str(ipaddress.ip_address(address)), int(port))


def _properties(facet: Facet) -> Iterator[tuple[str, str]]:
    for fact in ("address", "port", "unit", "vendor", "product", "revision", "product_name", "model"):
        if fact in facet.facts:
            yield f"MODBUS_{fact.upper()}", str(facet.facts[fact])

"""zeroconf, bound to one interface: it asks for service types, and hears every record that anybody sends.

Records are listened to rather than zeroconf's own "added" and "removed": a device that comes back is the same record
as before, which zeroconf thinks no news; and those who look for types may change while nobody stops listening.
"""

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal, NamedTuple, cast

import ifaddr
import msgspec

# Its `__all__` leaves out the records that its own listeners are given.
from zeroconf import (  # type: ignore[attr-defined]
    DNSAddress,
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSService,
    DNSText,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from ashore_discovery.handlers.datagrams import keep_to
from ashore_discovery.handlers.mdns.book import Book
from ashore_discovery.handlers.mdns.details import SERVICE_TYPE
from ashore_discovery.handlers.mdns.service import SUBTYPE, Service, read_addresses, read_host, read_name, read_txt

A, PTR, TXT, AAAA, SRV = 1, 12, 16, 28, 33
IN: Final = 1
ALL_TYPES: Final = "_services._dns-sd._udp"
MOST_TYPES: Final = 128
MOST_SUBTYPES: Final = 16
_START_SECONDS: Final = 5.0


class News(NamedTuple):
    """What was heard of a service."""

    service: Service
    kind: Literal["seen", "gone", "bye", "missed"]
    cause: str
    millis: float
    """When, by zeroconf's clock."""


def addresses_of(interface: str) -> list[str | int]:
    """As zeroconf wants them: IPv4 addresses, and the interface's index where it has IPv6."""
    found: list[str | int] = []
    for adapter in ifaddr.get_adapters():
        # Only the first part of a name counts: `eth0:1` is an address of `eth0`.
        if str(adapter.name).partition(":")[0] != interface or adapter.index is None:
            continue
        found += [str(one.ip) for one in adapter.ips if one.is_IPv4]
        if any(one.is_IPv6 for one in adapter.ips):
            found.append(adapter.index)
    return sorted(set(found), key=str)


class Ear(RecordUpdateListener):
    """Turns records into what is known of services."""

    def __init__(self, interface: str, book: Book, tell: Callable[[News], None]) -> None:
        self.interface = interface
        self.wanted: frozenset[str] = frozenset()
        self.learnt: set[str] = set()
        """Service types that somebody has announced, where all are browsed."""
        self._book = book
        self._tell = tell
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._addresses: list[str | int] = []
        self._browsed: frozenset[str] = frozenset()
        self._heard: dict[str, Service] = {}
        self._left: list[tuple[str, Literal["bye", "missed"], str]] = []
        self._now = 0.0

    @asynccontextmanager
    async def listening(self, addresses: Sequence[str | int]) -> AsyncIterator[None]:
        """Open it for the length of the block."""
        made = AsyncZeroconf(interfaces=list(addresses), ip_version=_version(addresses))
        try:
            await made.zeroconf.async_wait_for_start(_START_SECONDS)
            self._bind(made.zeroconf)
            self._zeroconf, self._addresses = made, list(addresses)
            made.zeroconf.async_add_listener(self, None)
            yield
        finally:
            self._zeroconf, self._browsed = None, frozenset()
            await self._stop_browser()
            await made.async_close()

    async def adapt(self) -> None:
        """Follow the interface's own addresses. One that is new cannot be used while it is being proven to be free."""
        addresses = addresses_of(self.interface)
        if self._zeroconf is None or not addresses:
            return
        zeroconf = self._zeroconf.zeroconf
        if addresses == self._addresses and len(zeroconf.engine.senders) >= len(addresses):
            return
        await zeroconf.async_update_interfaces(addresses, _version(addresses))
        self._addresses = addresses
        self._bind(zeroconf)
        await self.browse(again=True)

    def _bind(self, zeroconf: Zeroconf) -> None:
        """Every socket of a machine hears the groups that any other has joined; this one is for one interface only."""
        for wrapped in zeroconf.engine.readers:
            bound = cast("socket.socket", wrapped.transport.get_extra_info("socket"))
            keep_to(bound, self.interface)

    async def browse(self, *, again: bool = False) -> None:
        """Ask for all types that are wanted now; `again`: even if they are the same as before."""
        types = self.wanted | self.learnt
        if self._zeroconf is None or not (again or types != self._browsed):
            return
        await self._stop_browser()
        fresh, self._browsed = types - self._browsed, types
        if types and (zeroconf := self._zeroconf):
            names = [f"{one}.local." for one in sorted(types)]
            # Its own news is not needed; its questions, and their schedule, are.
            self._browser = AsyncServiceBrowser(zeroconf.zeroconf, names, handlers=[_ignore])
            # What has been heard before anybody asked for it is not said again to those who know it.
            zeroconf.zeroconf.async_add_listener(self, [DNSQuestion(f"{one}.local.", PTR, IN) for one in fresh])

    async def _stop_browser(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.async_cancel()

    def ask(self, service: Service) -> None:
        """Ask everybody for what is not known of a service."""
        if self._zeroconf is None:
            return
        spelt = f"{service.name}.{service.type}.local."
        questions = [(spelt, SRV), (spelt, TXT)] if service.complete or not service.host or service.txt is None else []
        if service.host and not service.addresses:
            questions += [(f"{service.host}.", A), (f"{service.host}.", AAAA)]
        out = DNSOutgoing(0)
        for name, kind in questions:
            out.add_question(DNSQuestion(name, kind, IN))
        # A name that was no UTF-8 cannot be written again, so it cannot be asked for either.
        with suppress(ZeroconfError):
            self._zeroconf.zeroconf.async_send(out)

    def last_heard(self, id: str) -> float:  # noqa: A002 - a sighting's own word
        """When the service was last heard of, by zeroconf's clock; 0 where it never was."""
        if self._zeroconf is None:
            return 0.0
        records = self._zeroconf.zeroconf.cache.get_all_by_details(f"{id}.", SRV, IN)
        return max((one.created for one in records), default=0.0)

    # What zeroconf calls, for each packet.

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """Before its cache has them."""
        del zc
        self._now = now
        for one in records:
            record = one.new
            if isinstance(record, DNSPointer):
                self._pointed(record, now)
            elif record.is_expired(now):
                continue
            elif isinstance(record, DNSService | DNSText):
                self._touch(record.name.rstrip(".").lower())
            elif isinstance(record, DNSAddress) and one.old is None:
                for id in self._book.of_host(record.name.rstrip(".")):  # noqa: A001 - a sighting's own word
                    self._touch(id)

    def async_update_records_complete(self) -> None:
        """After its cache has them."""
        left, self._left = self._left, []
        heard, self._heard = self._heard, {}
        for id, kind, cause in left:  # noqa: A001 - a sighting's own word
            service = self._book.forget(id)
            if service is not None:
                self._tell(News(service, kind, cause, self._now))
        for service in heard.values():
            known = self._book.services.get(service.id)
            full = self._read(service)
            if self._book.note(full):
                self._tell(News(full, "seen", "announced" if known else "found", self._now))

    def _touch(self, id: str) -> None:  # noqa: A002 - a sighting's own word
        known = self._book.services.get(id)
        if known is not None:
            self._heard.setdefault(id, known)

    def _pointed(self, record: DNSPointer, now: float) -> None:
        kind = record.name.removesuffix(".").lower().removesuffix(".local")
        if kind == ALL_TYPES:
            self._learn(record.alias)
        if kind not in self._browsed:
            return
        own, _, base = kind.rpartition(SUBTYPE)
        name = read_name(record.alias, base)
        if name is None:
            return
        service = Service(name=name, type=base, subtypes=(own,) if own else ())
        if not record.is_expired(now):
            self._hear(service)
            return
        if own and self._without(service, own):
            return
        # A goodbye has no time left to live; what has outlived its time was only never heard of again.
        self._heard.pop(service.id, None)
        self._left.append((service.id, "missed", "expired") if record.ttl else (service.id, "bye", "goodbye"))

    def _hear(self, service: Service) -> None:
        """It is there, and so is whatever was known of it."""
        known = self._heard.get(service.id) or self._book.services.get(service.id) or service
        subtypes = tuple(dict.fromkeys([*known.subtypes, *service.subtypes]))[:MOST_SUBTYPES]
        self._heard[service.id] = msgspec.structs.replace(known, subtypes=subtypes)

    def _without(self, service: Service, subtype: str) -> bool:
        """It is not of this subtype any more; whether that is all that has happened to it."""
        if any(left == service.id for left, _, _ in self._left):
            return True
        known = self._heard.get(service.id) or self._book.services.get(service.id)
        if known is None:
            return False
        rest = msgspec.structs.replace(known, subtypes=tuple(one for one in known.subtypes if one != subtype))
        looked_for = bool(rest.types & self._browsed)
        if looked_for:
            self._heard[service.id] = rest
        return looked_for

    def _learn(self, alias: str) -> None:
        kind = alias.removesuffix(".").lower().removesuffix(".local")
        if ALL_TYPES in self.wanted and SERVICE_TYPE.fullmatch(kind) and len(self.learnt) < MOST_TYPES:
            self.learnt.add(kind)

    def _read(self, service: Service) -> Service:
        """What is known with what the cache knows now. Its records live two minutes, and a device longer."""
        if self._zeroconf is None:
            return service
        cache, name = self._zeroconf.zeroconf.cache, f"{service.id}."
        host, port, txt = service.host, service.port, service.txt
        pointed = cache.get_by_details(name, SRV, IN)
        if isinstance(pointed, DNSService):
            host, port = read_host(pointed.server) or host, pointed.port
        said = cache.get_by_details(name, TXT, IN)
        if isinstance(said, DNSText):
            txt = read_txt(said.text)
        records = [one for kind in (A, AAAA) for one in cache.get_all_by_details(f"{host}.", kind, IN)] if host else []
        packed = [one.address for one in records if isinstance(one, DNSAddress) and not one.is_expired(self._now)]
        addresses = read_addresses(packed, self.interface) or (service.addresses if host == service.host else [])
        return msgspec.structs.replace(service, host=host, port=port, txt=txt, addresses=addresses)


def _version(addresses: Sequence[str | int]) -> IPVersion:
    kinds = {type(one) for one in addresses}
    return IPVersion.All if len(kinds) > 1 else IPVersion.V6Only if int in kinds else IPVersion.V4Only


def _ignore(**_: object) -> None:
    """Records are heard elsewhere."""

"""Asking one device whether one of its services is there: a question to it alone, which no cache answers.

RFC 6762 calls a question from another port than 5353 a "one-shot" one (section 5.1); its answer comes to that port, so
it cannot be taken away by another responder of this machine.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

# Its `__all__` leaves out messages and records.
from zeroconf import DNSIncoming, DNSOutgoing, DNSQuestion, DNSService  # type: ignore[attr-defined]
from zeroconf import Error as ZeroconfError

from ashore_discovery.handlers.mdns.record import Service

PORT: Final = 5353
WAITS: Final = (0.15, 0.25)
"""How many seconds are waited for an answer, each time that the question is sent."""
MOST_ASKED: Final = 3
"""So many addresses of a device are asked; a name with fifty is nobody's camera."""
LARGEST_ANSWER: Final = 8966
_SRV, _IN = 33, 1
_BIND_TO_DEVICE: Final = 25
_Address = tuple[str, int] | tuple[str, int, int, int]


class Questioner(asyncio.DatagramProtocol):
    """Two sockets, one for each version of IP, and the questions that wait for an answer."""

    def __init__(self, interface: str, allows: Callable[[str], bool]) -> None:
        self._interface = interface
        self._allows = allows
        self._transports: dict[int, asyncio.DatagramTransport] = {}
        self._waiting: dict[int, tuple[str, frozenset[str], asyncio.Future[bool]]] = {}

    async def open(self) -> None:
        """Open the sockets; a machine may have only one version of IP."""
        loop = asyncio.get_running_loop()
        for family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                opened = self._socket(family)
                transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=opened)
                self._transports[family] = transport

    def close(self) -> None:
        """Close them."""
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def _socket(self, family: int) -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, _BIND_TO_DEVICE, self._interface.encode() + b"\0")
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        made.bind(("", 0))
        return made

    def addresses(self, service: Service) -> list[str]:
        """Where it may be asked: an address that a stranger has announced may be anybody's."""
        return [one for one in service.addresses if self._allows(one)][:MOST_ASKED]

    async def ask(self, service: Service) -> bool | None:
        """True: it answers. False: it does not. None: it cannot be asked."""
        addresses = self.addresses(service)
        if not addresses:
            return None
        with self._question(service, addresses) as (body, answered):
            for wait in WAITS:
                if body is None or not self._send(body, addresses):
                    return None
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        return await asyncio.shield(answered)
        return False

    @contextmanager
    def _question(
        self, service: Service, addresses: Sequence[str]
    ) -> Iterator[tuple[bytes | None, "asyncio.Future[bool]"]]:
        while (number := secrets.randbelow(0xFFFF) + 1) in self._waiting:
            pass
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        expected = frozenset(one.partition("%")[0] for one in addresses)
        self._waiting[number] = (service.id, expected, answered)
        try:
            yield _encoded(service, number), answered
        finally:
            answered.cancel()
            self._waiting.pop(number, None)

    def _send(self, body: bytes, addresses: Sequence[str]) -> bool:
        """Whether it could be sent to one of them."""
        sent = False
        for address in addresses:
            transport = self._transports.get(socket.AF_INET6 if ":" in address else socket.AF_INET)
            if transport is None:
                continue
            with suppress(OSError):
                transport.sendto(body, self._target(address))
                sent = True
        return sent

    def _target(self, address: str) -> _Address:
        plain, _, scope = address.partition("%")
        if ":" not in plain:
            return (plain, PORT)
        return (plain, PORT, 0, socket.if_nametoindex(scope) if scope else 0)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """An answer, or what somebody wants to be taken for one."""
        if not 12 < len(data) <= LARGEST_ANSWER:  # noqa: PLR2004 - the header
            return
        waiting = self._waiting.get(int.from_bytes(data[:2], "big"))
        if waiting is None:
            return
        id, expected, answered = waiting  # noqa: A001 - a sighting's own word
        if str(addr[0]).partition("%")[0] not in expected or answered.done():
            return
        message = DNSIncoming(data)
        if message.valid and message.is_response() and any(_says(record, id) for record in message.answers()):
            answered.set_result(True)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens at that port: the silence will say so."""
        del exc


def _says(record: object, id: str) -> bool:  # noqa: A002 - a sighting's own word
    return isinstance(record, DNSService) and record.ttl > 0 and record.name.rstrip(".").lower() == id


def _encoded(service: Service, number: int) -> bytes | None:
    """The question; None where the name cannot be written: it was no UTF-8, say."""
    out = DNSOutgoing(0, multicast=False, id_=number)
    out.add_question(DNSQuestion(f"{service.name}.{service.type}.local.", _SRV, _IN))
    try:
        return out.packets()[0]
    except (ZeroconfError, ValueError, IndexError):
        return None

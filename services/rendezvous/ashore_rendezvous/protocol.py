"""TO0 and TO1 at the rendezvous (FDO 1.1, sections 5.3 and 5.4), without any session in memory.

What is between two messages travels sealed in the token: the nonce, and in TO1 the GUID. So any replica answers any
message. A token is used up by the message that ends its protocol; each replica remembers that for itself, so the same
one could be used once at every replica, to no effect but the same answer again.
"""

import time
from collections.abc import Callable
from secrets import token_hex
from typing import Final

from cryptography.hazmat.primitives.serialization import load_der_public_key

from ashore import cose
from ashore.bus import Bus, BusError, BusRefused, StoreFull
from ashore.certificates import supported
from ashore.events import DeviceRedirected, Envelope, Event, OwnerRegistered, encode, envelope
from ashore.exchange import Exchange, Turn, Unavailable
from ashore.fdo import to0, to1
from ashore.fdo.codec import Message
from ashore.fdo.errors import NotFoundError, OwnerSignError
from ashore.fdo.messages import HelloAck, HelloRV, OwnerSign, ProveToRV, RVRedirect, To0Hello
from ashore.fdo.types import spki
from ashore.sessions import Sealer
from ashore_rendezvous.model import (
    MAX_TO1D,
    Blob,
    NotAdmittedError,
    check_succession,
    header_digest,
    moment,
    read_claim,
    urls,
)
from ashore_rendezvous.publisher import Publisher
from ashore_rendezvous.store import Registrations, Rules

NONCE_SIZE: Final = 16


class RendezvousExchange(Exchange):
    """The FDO endpoint of the rendezvous."""

    accepts = (To0Hello, OwnerSign, HelloRV, ProveToRV)
    service = "rendezvous"

    def __init__(
        self,
        sealer: Sealer,
        bus: Bus,
        replica: str,
        *,
        registrations: Registrations,
        rules: Rules,
        publisher: Publisher,
        wait_seconds: tuple[int, int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sealer, bus, replica, clock)
        self._registrations = registrations
        self._rules = rules
        self._publisher = publisher
        self._shortest, self._longest = wait_seconds

    async def answer(self, message: Message, turn: Turn) -> tuple[Message, str | None]:
        """Answer one lawful message."""
        try:
            match message:
                case To0Hello():
                    return self._hello_ack()
                case OwnerSign():
                    return await self._accept_owner(message, turn)
                case HelloRV():
                    return await self._hello_rv_ack(message, turn)
            assert isinstance(message, ProveToRV)  # noqa: S101 - `accepts` says so
            return await self._redirect(message, turn)
        except StoreFull as error:
            raise Unavailable("the rendezvous' store is full; try again later") from error
        except BusRefused:
            # Ours to mend: a right is missing, or a limit is wrong.
            raise
        except BusError as error:
            raise Unavailable("the rendezvous cannot reach its store at the moment; try again later") from error

    def _hello_ack(self) -> tuple[Message, str]:
        """Hello(20) -> HelloAck(21)."""
        reply = HelloAck(self.entropy.random(NONCE_SIZE))
        return reply, self.issue(reply, reply.nonce)

    async def _accept_owner(self, message: OwnerSign, turn: Turn) -> tuple[Message, None]:
        """OwnerSign(22) -> AcceptOwner(23), in this order, so that a stranger costs no signature.

        1. The voucher says who it is about; somebody must have allowed that.
        2. All of it is proven.
        3. No owner that it passed through is denied, and it may follow what is registered.
        4. It is kept, and told.
        """
        claim = read_claim(message)
        turn.guid = claim.guid
        await self._rules.admit(claim)  # 1
        self.spend(turn)
        registration = to0.accept_owner(message, turn.ticket.payload)  # 2
        blob = self._blob(registration)
        await self._rules.refuse_denied(blob.keys)  # 3
        present = await self._registrations.find(claim.guid)
        if present is not None:
            check_succession(claim.guid, present, blob)
        await self._registrations.put(claim.guid, blob)  # 4
        told = self._envelope(_registered(claim.guid, blob), turn)
        await self._bus.publish(told.subject, encode(told), id=told.id)
        return to0.accepted(blob.seconds), None

    def _blob(self, registration: to0.Registration) -> Blob:
        to1d = registration.to1d.encode()
        if len(to1d) > MAX_TO1D:
            raise OwnerSignError(f"the signed blob has {len(to1d)} bytes; {MAX_TO1D} are accepted")
        now = int(self._clock())
        return Blob(
            to1d=to1d,
            device_key=spki(registration.voucher.device_key),
            keys=[key.fingerprint() for key in registration.voucher.public_keys],
            header=header_digest(registration.voucher),
            addresses=urls(registration.addresses),
            registered_at=now,
            expires_at=now + min(max(registration.wait_seconds, self._shortest), self._longest),
        )

    async def _hello_rv_ack(self, message: HelloRV, turn: Turn) -> tuple[Message, str]:
        """HelloRV(30) -> HelloRVAck(31)."""
        turn.guid = message.guid.hex()
        blob = await self._find(turn.guid)
        nonce = self.entropy.random(NONCE_SIZE)
        reply = to1.hello_rv_ack(message, nonce, _device_key(blob))
        return reply, self.issue(reply, nonce + message.guid)

    async def _redirect(self, message: ProveToRV, turn: Turn) -> tuple[Message, None]:
        """ProveToRV(32) -> RVRedirect(33)."""
        nonce, guid = turn.ticket.payload[:NONCE_SIZE], turn.ticket.payload[NONCE_SIZE:]
        turn.guid = guid.hex()
        blob = await self._find(turn.guid)
        self.spend(turn)
        to1d = RVRedirect.decode(blob.to1d).sign1
        reply = to1.redirect(message, guid, nonce, _device_key(blob), to1d)
        self._publisher.tell(self._envelope(DeviceRedirected(guid=turn.guid, addresses=blob.addresses), turn))
        return reply, None

    async def _find(self, guid: str) -> Blob:
        blob = await self._registrations.find(guid)
        if blob is None:
            raise NotFoundError(f"no owner has registered the device {guid} here, or the registration has ended")
        try:
            # A denial that came after the registration holds as well.
            await self._rules.refuse_denied(blob.keys)
        except NotAdmittedError as error:
            raise NotFoundError(f"the registration of the device {guid} is suspended: {error}") from error
        return blob

    def _envelope(self, event: Event, turn: Turn) -> Envelope:
        return envelope(
            event,
            source=f"/rendezvous/{self.replica}",
            id=token_hex(16),
            time=moment(self._clock()),
            traceparent=turn.request.traceparent,
        )


def _device_key(blob: Blob) -> cose.PublicKey:
    return supported(load_der_public_key(blob.device_key))


def _registered(guid: str, blob: Blob) -> OwnerRegistered:
    return OwnerRegistered(
        guid=guid,
        addresses=blob.addresses,
        wait_seconds=blob.seconds,
        expires_at=moment(blob.expires_at).isoformat(),
    )

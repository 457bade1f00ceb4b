"""TO2 on the wire: HelloDevice(60) to Done2(71), over `ashore.fdo.to2` (FDO 1.1, section 5.5).

Up to 63 nothing is remembered but what the token holds, sealed. From 64 the session is in this replica's memory. The
one durable transaction of an onboarding is committed before 71 is sent; the write at 64 runs beside the exchange and
only has to be finished by then.
"""

import asyncio
from secrets import token_hex
from typing import ClassVar, Final

import msgspec

from ashore import cbor
from ashore.cose import Signer
from ashore.exchange import Exchange, Turn, Unavailable
from ashore.fdo import to2
from ashore.fdo.ciphers import SvkLength
from ashore.fdo.codec import Message
from ashore.fdo.errors import FdoError, InvalidMessageError, NotFoundError, TokenError
from ashore.fdo.messages import (
    DEFAULT_SERVICE_INFO_SIZE,
    DeviceServiceInfo,
    DeviceServiceInfoReady,
    Done,
    Done2,
    GetOVNextEntry,
    HelloDevice,
    OwnerServiceInfo,
    ProveDevice,
    ProveOVHdr,
)
from ashore.fdo.serviceinfo import DeviceTurn
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sql import StorageUnavailable
from ashore_owner.catalogue import Catalogue
from ashore_owner.chronicle import Chronicle
from ashore_owner.session import Onboarding, Prelude, Sessions, facts_of
from ashore_owner.store import Candidate, Store
from ashore_owner.waiting import WaitingRoom

OFFERED_SIZE: Final = 8_192
"""Bytes of service info that we take in one message, where the device takes as much.

The C client cuts files into pieces of this size, and fails where one is longer than its buffer of 8,192 bytes.
"""
_PROVEN: Final = 64


class OwnerExchange(Exchange):
    """The owner's FDO endpoint."""

    service: ClassVar[str] = "owner"
    accepts = (HelloDevice, GetOVNextEntry, ProveDevice, DeviceServiceInfoReady, DeviceServiceInfo, Done)
    sticky: ClassVar[frozenset[int]] = frozenset({64, 66, 68, 70})

    def __init__(
        self,
        *,
        store: Store,
        catalogue: Catalogue,
        room: WaitingRoom,
        signers: dict[str, Signer],
        svk_length: SvkLength,
        capacity: int,
        **shell: object,
    ) -> None:
        super().__init__(**shell)  # type: ignore[arg-type]  # checked by Exchange itself
        self._store = store
        self._catalogue = catalogue
        self._room = room
        self._signers = signers
        self._svk_length = svk_length
        self._capacity = capacity
        self._sessions = Sessions(capacity, self._seconds, self._clock, self._went_silent)
        self._chronicle = Chronicle(store, self.replica, self._clock)

    async def __call__(self, request: FdoRequest) -> FdoReply:
        """Answer one request; from 64 on the last one of a session also a second time, in case its answer was lost."""
        if request.number < _PROVEN:
            return await super().__call__(request)
        if (again := self._sessions.again(request)) is not None:
            return again
        reply = await super().__call__(request)
        self._sessions.remember_answer(request, reply)
        return reply

    @property
    def sessions(self) -> int:
        """Onboardings under way."""
        return len(self._sessions)

    async def sweep(self, pause: float = 5.0) -> None:
        """Give up, for ever, what has been silent for too long."""
        while True:
            await asyncio.sleep(pause)
            self.give_up_the_silent()

    def give_up_the_silent(self) -> None:
        """Fail every onboarding whose device has said nothing for too long."""
        self._sessions.expire()

    async def drain(self) -> None:
        """Wait for what is still being written."""
        await self._chronicle.drain()

    def recall(self, turn: Turn) -> bool:
        """A session in memory, or a hello of which this replica still knows all that its token says."""
        onboarding = self._sessions.get(turn.token)
        if onboarding is not None:
            turn.session, turn.state, turn.keys = onboarding, onboarding.state, onboarding.session.keys
            turn.guid = onboarding.guid
            return True
        if turn.request.number > _PROVEN or self._sessions.prelude(turn.token) is None:
            return False
        turn.state = ProveOVHdr.number
        return True

    def resume(self, turn: Turn) -> None:
        """A token is enough up to 64; from then on the session is in memory, or lost."""
        if turn.request.number > _PROVEN:
            raise TokenError("this onboarding is not known here any more; begin again with TO1")
        turn.state = turn.ticket.state

    async def answer(self, message: Message, turn: Turn) -> tuple[Message, str | None]:
        """One step."""
        try:
            match message:
                case HelloDevice():
                    return await self._hello(message, turn)
                case GetOVNextEntry():
                    prelude = await self._prelude(turn)
                    return to2.ov_next_entry(message, prelude.candidate.voucher), turn.token
                case ProveDevice():
                    return await self._setup(message, turn)
            return await self._within(message, turn)
        except StorageUnavailable as error:
            raise Unavailable("the owner cannot store anything at the moment; try again later") from error

    async def _within(self, message: Message, turn: Turn) -> tuple[Message, str | None]:
        """What comes once the session is in memory."""
        if not isinstance(turn.session, Onboarding):
            raise TokenError("this onboarding is not known here any more; begin again with TO1")
        onboarding = turn.session
        if onboarding.is_busy:
            raise Unavailable("the message before is still being answered; send this one again later")
        onboarding.is_busy = True
        try:
            answer = await self._step(message, onboarding, turn)
        finally:
            onboarding.is_busy = False
        if answer.number == Done2.number:
            return answer, None
        onboarding.state = answer.number
        if not self._sessions.keep(turn.token, onboarding):
            raise TokenError("this onboarding ended while the message was being answered; begin again with TO1")
        return answer, turn.token

    async def _step(self, message: Message, onboarding: Onboarding, turn: Turn) -> Message:
        match message:
            case DeviceServiceInfoReady():
                return self._ready(message, onboarding)
            case DeviceServiceInfo():
                return await self._service_info(message, onboarding)
            case Done():
                return await self._done(message, onboarding, turn)
        raise InvalidMessageError(f"message {message.number} has no place in TO2")

    async def _hello(self, message: HelloDevice, turn: Turn) -> tuple[Message, str | None]:
        """HelloDevice(60) -> ProveOVHdr(61)."""
        turn.guid = message.guid.hex()
        # The look-up comes first: a signature and a key are made only for devices that are ours.
        candidate = await self._candidate(turn.guid)
        await self._check_profile(candidate, turn.guid)
        signer = self._signer(candidate)
        nonce = self.entropy.random(16)
        hello, reply = to2.prove_ov_hdr(message, turn.body, candidate.voucher, signer, nonce, self.entropy)
        started_at = int(self._clock() * 1000)
        token = self.issue(reply, cbor.dumps([started_at, to2.pack_hello(hello)]))
        self._sessions.remember(token, Prelude(hello, candidate, started_at))
        return reply, token

    async def _setup(self, message: ProveDevice, turn: Turn) -> tuple[Message, str | None]:
        """ProveDevice(64) -> SetupDevice(65). The device is proven: from here on its story is told."""
        hello, candidate, started_at = await self._prelude(turn)
        voucher = candidate.voucher
        choice = await self._catalogue.choose(facts_of(turn.guid, candidate), candidate.profile)
        turn.session = self._sessions.get(turn.token)
        if turn.session is not None:
            # It began while this one waited, and only one of the two can say which credential the device leaves with.
            raise InvalidMessageError("message 64 came a second time in this session")
        guid = voucher.guid if choice.reuse else self.entropy.random(16)
        replacement = to2.Replacement(guid, voucher.header.rv_info, voucher.owner_public_key)
        session, reply = to2.setup_device(
            message, hello, voucher, self._signer(candidate), replacement, self._svk_length
        )
        turn.keys = session.keys
        identity = token_hex(16)
        began = self._chronicle.begin(turn.guid, identity, candidate)
        onboarding = Onboarding(identity, turn.guid, reply.number, session, candidate, started_at, choice, began)
        self._sessions.begin(turn.token, onboarding)
        return reply, turn.token

    def _ready(self, message: DeviceServiceInfoReady, onboarding: Onboarding) -> Message:
        """DeviceServiceInfoReady(66) -> OwnerServiceInfoReady(67)."""
        # A device that takes small messages only may not be able to send large ones either.
        wanted = message.max_size or DEFAULT_SERVICE_INFO_SIZE
        offered = min(wanted, OFFERED_SIZE) if wanted > DEFAULT_SERVICE_INFO_SIZE else None
        onboarding.session, reply = to2.owner_ready(message, onboarding.session, offered)
        onboarding.conversation = OwnerConversation(None, message.max_size)
        return reply

    async def _service_info(self, message: DeviceServiceInfo, onboarding: Onboarding) -> Message:
        """DeviceServiceInfo(68) -> OwnerServiceInfo(69)."""
        conversation = onboarding.conversation
        conversation.hear(DeviceTurn(message.is_more, message.items))
        if conversation.devmod is not None and not conversation.planned:
            facts = onboarding.facts
            onboarding.choice = await self._catalogue.choose(facts, onboarding.candidate.profile)
            if onboarding.choice.profile is None:
                raise NotFoundError("no profile suits this device; the operator must choose one")
            conversation.plan(await self._catalogue.modules(onboarding.choice.profile, facts))
        turn = conversation.speak()
        if turn.pause:
            await asyncio.sleep(turn.pause)
        return OwnerServiceInfo(turn.is_more, turn.is_done, list(turn.items))

    async def _done(self, message: Done, onboarding: Onboarding, turn: Turn) -> Message:
        """Done(70) -> Done2(71), which is sent only when everything is on disk."""
        if not onboarding.conversation.finished:
            raise InvalidMessageError("the device is done before its owner is")
        voucher, reply = to2.done2(message, onboarding.session)
        await self._chronicle.finish(onboarding, voucher)
        self._sessions.forget(turn.token)
        self.retire(turn)
        return reply

    async def failed(self, error: FdoError, turn: Turn) -> None:
        """Tell the story's end: in the ledger once the device is proven, in the waiting room before that."""
        onboarding = turn.session
        if isinstance(error, Unavailable):
            # The device may send the same message again; nothing was changed.
            return
        self._sessions.forget(turn.token)
        if isinstance(onboarding, Onboarding):
            self._chronicle.fail(onboarding, error, turn.request.number)
        elif turn.guid:
            self._chronicle.aside(self._room.refused(turn.guid, error))

    # Bookkeeping.

    async def _candidate(self, guid: str) -> Candidate:
        candidate = await self._store.candidate(guid)
        if candidate is None:
            raise NotFoundError(f"this owner has no voucher for device {guid}")
        return candidate

    async def _check_profile(self, candidate: Candidate, guid: str) -> None:
        if not await self._catalogue.could_serve(facts_of(guid, candidate), candidate.profile):
            raise NotFoundError(f"no profile is chosen for device {guid}")

    def _signer(self, candidate: Candidate) -> Signer:
        signer = self._signers.get(candidate.owner_key)
        if signer is None:
            key = candidate.owner_key[:16]
            raise NotFoundError(f"the voucher belongs to the key {key}, which this owner does not have")
        return signer

    async def _prelude(self, turn: Turn) -> Prelude:
        prelude = self._sessions.prelude(turn.token)
        if prelude is None:
            started_at, packed = msgspec.convert(cbor.loads(turn.ticket.payload), tuple[int, bytes])
            hello = to2.unpack_hello(packed)
            prelude = Prelude(hello, await self._candidate(hello.guid.hex()), started_at)
            self._sessions.remember(turn.token, prelude)
        turn.guid = prelude.hello.guid.hex()
        return prelude

    def _went_silent(self, onboarding: Onboarding) -> None:
        others = f"or for longer than others where more than {self._capacity} onboardings were under way"
        error = TokenError(f"the device has been silent for {self._seconds} s, {others}")
        self._chronicle.fail(onboarding, error, onboarding.state)

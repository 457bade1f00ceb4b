"""TO2 on the wire: HelloDevice(60) to Done2(71), over `ashore.fdo.to2` (FDO 1.1, section 5.5).

Up to 63 nothing is remembered but what the token holds, sealed. From 64 the session is in this replica's memory. The
one durable transaction of an onboarding is committed before 71 is sent; the write at 64 runs beside the exchange and
only has to be finished by then.
"""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

import msgspec

from ashore import cbor
from ashore.cose import Signer
from ashore.events import OnboardingStarted
from ashore.exchange import Exchange, Turn, Unavailable
from ashore.fdo import to2
from ashore.fdo.ciphers import SvkLength
from ashore.fdo.errors import FdoError, InvalidMessageError, NotFoundError, PeerError, TokenError
from ashore.fdo.messages import (
    DeviceServiceInfo,
    DeviceServiceInfoReady,
    Done,
    Done2,
    GetOVNextEntry,
    HelloDevice,
    Message,
    OwnerServiceInfo,
    ProveDevice,
    ProveOVHdr,
)
from ashore.fdo.serviceinfo import DEFAULT_SIZE, DeviceTurn
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sessions import SessionTable
from ashore.sql import StorageUnavailable
from ashore_owner.catalogue import Catalogue, Choice
from ashore_owner.model import Failure
from ashore_owner.profiles import Facts
from ashore_owner.queries import when
from ashore_owner.remedies import remedy_for
from ashore_owner.store import Candidate, Result, Store, Superseded
from ashore_owner.waiting import WaitingRoom

OFFERED_SIZE: Final = 8_192
"""Bytes of service info that we take in one message, where the device takes as much.

The C client cuts files into pieces of this size, and fails where one is longer than its buffer of 8,192 bytes.
"""
_HELLOS_KEPT: Final = 4096
_PROVEN: Final = 64
_FAREWELLS_KEPT: Final = 10_000
_FAREWELL_SECONDS: Final = 300.0


class Prelude(NamedTuple):
    """What 60 found out; kept to spare 62 and 64 the work, and found out again where it is gone."""

    hello: to2.Hello
    candidate: Candidate
    started_at: int


class Farewell(NamedTuple):
    """Message 70 as it came, and the answer: who sends the very same bytes again gets the very same answer."""

    body: bytes
    reply: FdoReply


@dataclass(slots=True)
class Onboarding:
    """A session from 64 on."""

    id: str
    state: int
    session: to2.Session
    candidate: Candidate
    started_at: int
    choice: Choice
    began: asyncio.Task[None]
    conversation: OwnerConversation = field(default_factory=lambda: OwnerConversation(None, None))

    @property
    def guid(self) -> str:
        """The device, hex."""
        return self.session.voucher.guid.hex()


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
        self._preludes: OrderedDict[str, Prelude] = OrderedDict()
        self._sessions: SessionTable[Onboarding] = SessionTable(capacity, self._seconds, self._clock, self._went_silent)
        self._farewells: SessionTable[Farewell] = SessionTable(_FAREWELLS_KEPT, _FAREWELL_SECONDS, self._clock)
        self._active: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, request: FdoRequest) -> FdoReply:
        """Answer one request; the last one of a session also a second time, in case its answer was lost."""
        if request.number == Done.number and request.token:
            farewell = self._farewells.get(request.token)
            if farewell is not None and farewell.body == request.body:
                return farewell.reply
        reply = await super().__call__(request)
        if reply.number == Done2.number and request.token:
            self._farewells.put(request.token, Farewell(request.body, reply))
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
            self._farewells.expire()

    def give_up_the_silent(self) -> None:
        """Fail every onboarding whose device has said nothing for too long."""
        self._sessions.expire()

    async def drain(self) -> None:
        """Wait for what is still being written."""
        await asyncio.gather(*self._closing, return_exceptions=True)

    def recall(self, turn: Turn) -> bool:
        """A session in memory, or a hello of which this replica still knows all that its token says."""
        onboarding = self._sessions.get(turn.token)
        if onboarding is not None:
            turn.session, turn.state, turn.keys = onboarding, onboarding.state, onboarding.session.keys
            turn.guid = onboarding.guid
            return True
        prelude = self._preludes.get(turn.token)
        if prelude is None or self._clock() >= prelude.started_at / 1000 + self._seconds:
            return False
        turn.state = ProveOVHdr.number
        return turn.request.number <= _PROVEN

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
        match message:
            case DeviceServiceInfoReady():
                answer = self._ready(message, onboarding)
            case DeviceServiceInfo():
                answer = await self._service_info(message, onboarding)
            case Done():
                answer = await self._done(message, onboarding, turn)
                return answer, None
            case _:
                raise InvalidMessageError(f"message {message.number} has no place in TO2")
        onboarding.state = answer.number
        self._sessions.put(turn.token, onboarding)
        return answer, turn.token

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
        self._remember(token, Prelude(hello, candidate, started_at))
        return reply, token

    async def _setup(self, message: ProveDevice, turn: Turn) -> tuple[Message, str | None]:
        """ProveDevice(64) -> SetupDevice(65). The device is proven: from here on its story is told."""
        if turn.session is not None:
            raise InvalidMessageError("message 64 came a second time in this session")
        hello, candidate, started_at = await self._prelude(turn)
        voucher = candidate.voucher
        choice = await self._catalogue.choose(_facts(turn.guid, candidate), candidate.profile)
        guid = voucher.guid if choice.reuse else self.entropy.random(16)
        replacement = to2.Replacement(guid, voucher.header.rv_info, voucher.owner_public_key)
        session, reply = to2.setup_device(
            message, hello, voucher, self._signer(candidate), replacement, self._svk_length
        )
        turn.keys = session.keys
        identity = uuid.uuid4().hex
        began = self._begin(turn.guid, identity, candidate)
        onboarding = Onboarding(identity, reply.number, session, candidate, started_at, choice, began)
        self._supersede(turn.guid, turn.token)
        self._sessions.put(turn.token, onboarding)
        self._preludes.pop(turn.token, None)
        return reply, turn.token

    def _ready(self, message: DeviceServiceInfoReady, onboarding: Onboarding) -> Message:
        """DeviceServiceInfoReady(66) -> OwnerServiceInfoReady(67)."""
        # A device that takes small messages only may not be able to send large ones either.
        wanted = message.max_size or DEFAULT_SIZE
        offered = min(wanted, OFFERED_SIZE) if wanted > DEFAULT_SIZE else None
        onboarding.session, reply = to2.owner_ready(message, onboarding.session, offered)
        onboarding.conversation = OwnerConversation(None, message.max_size)
        return reply

    async def _service_info(self, message: DeviceServiceInfo, onboarding: Onboarding) -> Message:
        """DeviceServiceInfo(68) -> OwnerServiceInfo(69)."""
        conversation = onboarding.conversation
        conversation.hear(DeviceTurn(message.is_more, message.items))
        if conversation.devmod is not None and not conversation.planned:
            facts = _facts(onboarding.guid, onboarding.candidate, onboarding)
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
        await onboarding.began
        try:
            await self._store.finish(self._result(onboarding), voucher)
        except Superseded as error:
            raise InvalidMessageError(f"{error}; this one ends here") from error
        self._forget(turn.token, onboarding)
        self.spend(turn)
        return reply

    async def failed(self, error: FdoError, turn: Turn) -> None:
        """Tell the story's end: in the ledger once the device is proven, in the waiting room before that."""
        onboarding = turn.session
        self._preludes.pop(turn.token, None)
        if isinstance(onboarding, Onboarding):
            if isinstance(error, Unavailable):
                # The device may send the same message again; nothing was changed.
                return
            self._forget(turn.token, onboarding)
            self._write(self._fail(onboarding, error, turn.request.number))
        elif turn.guid:
            self._write(self._room.refused(turn.guid, error))

    # Bookkeeping.

    async def _candidate(self, guid: str) -> Candidate:
        candidate = await self._store.candidate(guid)
        if candidate is None:
            raise NotFoundError(f"this owner has no voucher for device {guid}")
        return candidate

    async def _check_profile(self, candidate: Candidate, guid: str) -> None:
        if not await self._catalogue.could_serve(_facts(guid, candidate), candidate.profile):
            raise NotFoundError(f"no profile is chosen for device {guid}")

    def _signer(self, candidate: Candidate) -> Signer:
        signer = self._signers.get(candidate.owner_key)
        if signer is None:
            key = candidate.owner_key[:16]
            raise NotFoundError(f"the voucher belongs to the key {key}, which this owner does not have")
        return signer

    async def _prelude(self, turn: Turn) -> Prelude:
        prelude = self._preludes.get(turn.token)
        if prelude is None:
            started_at, packed = msgspec.convert(cbor.loads(turn.ticket.payload), tuple[int, bytes])
            hello = to2.unpack_hello(packed)
            prelude = Prelude(hello, await self._candidate(hello.guid.hex()), started_at)
            self._remember(turn.token, prelude)
        turn.guid = prelude.hello.guid.hex()
        return prelude

    def _remember(self, token: str, prelude: Prelude) -> None:
        self._preludes[token] = prelude
        if len(self._preludes) > _HELLOS_KEPT:
            self._preludes.popitem(last=False)

    def _begin(self, guid: str, identity: str, candidate: Candidate) -> asyncio.Task[None]:
        event = OnboardingStarted(
            guid=guid, device_info=candidate.device_info, replica=self.replica, attempt=candidate.attempts + 1
        )
        return self._write(self._store.begin(event, identity))

    def _supersede(self, guid: str, token: str) -> None:
        """A device that begins anew has lost its older session; whatever still speaks in that one is told so."""
        older = self._active.get(guid)
        if older is not None:
            self._sessions.take(older)
        self._active[guid] = token

    def _forget(self, token: str, onboarding: Onboarding) -> None:
        self._sessions.take(token)
        if self._active.get(onboarding.guid) == token:
            del self._active[onboarding.guid]

    def _went_silent(self, token: str, onboarding: Onboarding) -> None:
        self._forget(token, onboarding)
        error = TokenError(f"the device has been silent for {self._seconds} s")
        self._write(self._fail(onboarding, error, onboarding.state))

    async def _fail(self, onboarding: Onboarding, error: FdoError, number: int) -> None:
        await onboarding.began
        failure = Failure(
            at=when(int(self._clock() * 1000)),
            code=error.peer_code if isinstance(error, PeerError) else error.code,
            message_number=error.message_number if isinstance(error, PeerError) else number,
            reason=error.reason,
            remedy=remedy_for(error),
        )
        await self._store.fail(self._result(onboarding), failure)

    def _result(self, onboarding: Onboarding) -> Result:
        profile = onboarding.choice.profile
        return Result(
            guid=onboarding.guid,
            serial=onboarding.candidate.serial,
            session=onboarding.id,
            profile=profile.name if profile else "",
            started_at=onboarding.started_at,
            ended_at=int(self._clock() * 1000),
            reuse=onboarding.session.reuse,
            devmod=onboarding.conversation.devmod,
            outcomes=onboarding.conversation.outcomes,
        )

    def _write(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        task.add_done_callback(_retrieve)
        return task


def _retrieve(task: "asyncio.Future[None]") -> None:
    """Whoever awaits the task hears of its failure; nobody else needs a warning about it."""
    if not task.cancelled():
        task.exception()


def _facts(guid: str, candidate: Candidate, onboarding: Onboarding | None = None) -> Facts:
    return Facts(
        guid=guid,
        serial=candidate.serial,
        device_info=candidate.device_info,
        owner_key=candidate.owner_key,
        devmod=onboarding.conversation.devmod if onboarding else None,
    )

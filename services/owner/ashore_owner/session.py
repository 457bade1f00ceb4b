"""What one replica has in memory of the onboardings that it holds, from the first message to a while after the last."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ashore.fdo import to2
from ashore.fdo.messages import Done2
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.sessions import SessionTable
from ashore_owner.catalogue import Choice
from ashore_owner.profiles import Facts
from ashore_owner.store import Candidate

_PRELUDES_KEPT: Final = 4096
_FAREWELLS_KEPT: Final = 10_000
_FAREWELL_SECONDS: Final = 300.0


class Prelude(NamedTuple):
    """What 60 found out; kept to spare 62 and 64 the work, and found out again where it is gone."""

    hello: to2.Hello
    candidate: Candidate
    started_at: int
    """Milliseconds since 1970."""


class Answered(NamedTuple):
    """A message as it came, and its answer: who sends the very same bytes again gets the very same answer.

    A device does so where an answer was lost. Its 68, taken for a new one, would be the receipt for what it never got.
    """

    body: bytes
    reply: FdoReply


@dataclass(slots=True)
class Onboarding:
    """A session from 64 on."""

    id: str
    guid: str
    """The device, hex."""
    state: int
    """The number of the last message that was sent."""
    session: to2.Session
    candidate: Candidate
    started_at: int
    choice: Choice
    began: asyncio.Future[None]
    """The write of the beginning, which runs beside the exchange."""
    conversation: OwnerConversation = field(default_factory=lambda: OwnerConversation(None, None))
    is_busy: bool = False
    """Whether a message of the session is being answered now."""
    answered: Answered | None = None
    """The message that was answered last."""

    @property
    def facts(self) -> Facts:
        """What rules may look at."""
        return facts_of(self.guid, self.candidate, self.conversation)


class Sessions:
    """The onboardings of this replica, by their tokens."""

    def __init__(
        self,
        capacity: int,
        seconds: float,
        clock: Callable[[], float],
        gave_up: Callable[[Onboarding], None],
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._gave_up = gave_up
        self._preludes: OrderedDict[str, Prelude] = OrderedDict()
        self._table: SessionTable[Onboarding] = SessionTable(capacity, seconds, clock, self._expired)
        self._latest: dict[str, str] = {}
        self._farewells: SessionTable[Answered] = SessionTable(_FAREWELLS_KEPT, _FAREWELL_SECONDS, clock)

    def __len__(self) -> int:
        return len(self._table)

    def remember(self, token: str, prelude: Prelude) -> None:
        """Keep what a token says; the oldest make room, since it can be read from the token again."""
        self._preludes[token] = prelude
        if len(self._preludes) > _PRELUDES_KEPT:
            self._preludes.popitem(last=False)

    def prelude(self, token: str) -> Prelude | None:
        """What is known of a session that has not come to 64, if it is still young enough."""
        prelude = self._preludes.get(token)
        if prelude is None or self._clock() >= prelude.started_at / 1000 + self._seconds:
            return None
        return prelude

    def begin(self, token: str, onboarding: Onboarding) -> None:
        """A device is proven. If it has an older session that is lost; whatever still speaks in that one is told so."""
        self._preludes.pop(token, None)
        older = self._latest.get(onboarding.guid)
        if older is not None:
            self._table.take(older)
        self._latest[onboarding.guid] = token
        self._table.put(token, onboarding)

    def keep(self, token: str, onboarding: Onboarding) -> bool:
        """A session has moved on: its time begins anew. False where it has ended meanwhile, for good."""
        if self._table.get(token) is not onboarding:
            return False
        self._table.put(token, onboarding)
        return True

    def get(self, token: str) -> Onboarding | None:
        """The session of a token."""
        return self._table.get(token)

    def forget(self, token: str) -> None:
        """A session is over."""
        self._preludes.pop(token, None)
        onboarding = self._table.take(token)
        if onboarding is not None and self._latest.get(onboarding.guid) == token:
            del self._latest[onboarding.guid]

    def expire(self) -> None:
        """Give up every device that has said nothing for too long."""
        self._table.expire()
        self._farewells.expire()

    def remember_answer(self, request: FdoRequest, reply: FdoReply) -> None:
        """Remember the last answer of a session; after the last of all, when the session is over, for a while."""
        onboarding = self._table.get(request.token or "")
        if reply.number == Done2.number:
            self._farewells.put(request.token or "", Answered(request.body, reply))
        elif onboarding is not None and reply.number == request.number + 1:
            onboarding.answered = Answered(request.body, reply)

    def again(self, request: FdoRequest) -> FdoReply | None:
        """The answer to a message that comes again, byte for byte, because its answer was lost."""
        token = request.token or ""
        onboarding = self._table.get(token)
        answered = onboarding.answered if onboarding is not None else self._farewells.get(token)
        if answered is None or (answered.body, answered.reply.number) != (request.body, request.number + 1):
            return None
        return answered.reply

    def _expired(self, token: str, onboarding: Onboarding) -> None:
        if self._latest.get(onboarding.guid) == token:
            del self._latest[onboarding.guid]
        self._gave_up(onboarding)


def facts_of(guid: str, candidate: Candidate, conversation: OwnerConversation | None = None) -> Facts:
    """What rules may look at; what the device says of itself is there once it has said it."""
    return Facts(
        guid=guid,
        serial=candidate.serial,
        device_info=candidate.device_info,
        owner_key=candidate.owner_key,
        devmod=conversation.devmod if conversation else None,
    )

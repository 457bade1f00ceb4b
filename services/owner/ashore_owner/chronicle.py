"""The story of each onboarding as it is written down: begun, ended well, or broken off.

The beginning and the failures are written beside the exchange with the device; only the good end is waited for, since
the device may forget its old credential once it has been told.
"""

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from ashore.events import OnboardingStarted
from ashore.fdo.errors import FdoError, InvalidMessageError, PeerError
from ashore.fdo.voucher import Voucher
from ashore_owner.model import Failure
from ashore_owner.queries import when
from ashore_owner.remedies import remedy_for
from ashore_owner.session import Onboarding
from ashore_owner.store import Candidate, Result, Store, Superseded

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Chronicle:
    """Writes into the store."""

    def __init__(self, store: Store, replica: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._replica = replica
        self._clock = clock
        self._writing: set[asyncio.Future[None]] = set()

    def begin(self, guid: str, session: str, candidate: Candidate) -> asyncio.Future[None]:
        """A device is proven: its attempt counts. The future is done once that is on disk."""
        event = OnboardingStarted(
            guid=guid, device_info=candidate.device_info, replica=self._replica, attempt=candidate.attempts + 1
        )
        return self.aside(self._store.begin(event, session, self._now()))

    async def finish(self, onboarding: Onboarding, new: Voucher | None) -> None:
        """The good end, on disk when this returns; raise InvalidMessageError where a later onboarding has begun."""
        try:
            await self._store.finish(self._result(onboarding), new, onboarding.began)
        except Superseded as error:
            raise InvalidMessageError(f"{error}; this one ends here") from error

    def fail(self, onboarding: Onboarding, error: FdoError, number: int) -> None:
        """Broken off at message `number`, or at the one that the device itself names."""
        self.aside(self._fail(onboarding, error, number))

    def aside(self, work: Coroutine[None, None, None] | asyncio.Future[None]) -> asyncio.Future[None]:
        """Write without making the device wait."""
        writing = asyncio.ensure_future(work)
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        writing.add_done_callback(_look)
        return writing

    async def drain(self) -> None:
        """Wait for what is still being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _fail(self, onboarding: Onboarding, error: FdoError, number: int) -> None:
        code = error.code
        if isinstance(error, PeerError):
            code, number = error.peer_code, error.message_number
        failure = Failure(
            at=when(self._now()),
            code=code,
            message_number=number,
            reason=error.reason,
            remedy=remedy_for(error),
        )
        await self._store.fail(self._result(onboarding), failure, onboarding.began)

    def _result(self, onboarding: Onboarding) -> Result:
        profile = onboarding.choice.profile
        return Result(
            guid=onboarding.guid,
            serial=onboarding.candidate.serial,
            session=onboarding.id,
            profile=profile.name if profile else "",
            started_at=onboarding.started_at,
            ended_at=self._now(),
            reuse=onboarding.session.reuse,
            devmod=onboarding.conversation.devmod,
            outcomes=onboarding.conversation.outcomes,
        )

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _look(writing: asyncio.Future[None]) -> None:
    """Say what was not written, as nobody may be waiting for it."""
    error = None if writing.cancelled() else writing.exception()
    if error is not None and not isinstance(error, Superseded):
        log.warning("a part of an onboarding's story is not stored", reason=str(error) or type(error).__name__)

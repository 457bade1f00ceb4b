"""TO0 from the owner: every voucher is registered at its rendezvous, and registered again before that runs out.

Only items that are due are looked at, each is claimed by one replica for a while, several run at the same time, and
renewal comes at 80 % of the granted time with some jitter, so that a fleet imported at once spreads out. A voucher may
name any number of rendezvous that never answer: each has its time, all together have theirs, and the next attempt
begins with another one.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection, bindparam, case, select, update

from ashore.cose import Signer
from ashore.devices import DeviceState
from ashore.fdo import rvinfo, to0
from ashore.fdo.errors import FdoError, VoucherError
from ashore.fdo.messages import AcceptOwner, HelloAck, To0Hello
from ashore.fdo.types import To2Address, storable
from ashore.fdo.voucher import Voucher
from ashore.sql import Database, StorageUnavailable
from ashore.sql.prepared import Prepared
from ashore_owner.networks import Contacts
from ashore_owner.rendezvous import Rendezvous
from ashore_owner.tables import devices

LEASE_SECONDS: Final = 60
POLL_SECONDS: Final = 1.0
RENEW_AT: Final = 0.8
_JITTER: Final = 0.1
_FIRST_RETRY: Final = 5.0
_LAST_RETRY: Final = 300.0
_ONE_SECONDS: Final = 20.0
"""What one rendezvous may take, for both messages."""
_ALL_SECONDS: Final = LEASE_SECONDS - 5 - _ONE_SECONDS
"""After so long no further one is asked, so that the lease lasts and other devices have their turn."""

_IS_DUE: Final = devices.c.to0_due <= bindparam("now")
_ANY: Final = Prepared(select(devices.c.guid).where(_IS_DUE).limit(1))
_OLDEST: Final = (
    select(devices.c.guid, devices.c.voucher, devices.c.to0_attempts)
    .where(_IS_DUE)
    .order_by(devices.c.to0_due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_LEASE: Final = (
    update(devices).where(devices.c.guid.in_(bindparam("claimed", expanding=True))).values(to0_due=bindparam("due"))
)
# A device that came ashore meanwhile is registered no more.
_MINE: Final = (devices.c.guid == bindparam("device"), devices.c.to0_due.is_not(None))
_PUT_OFF: Final = Prepared(
    update(devices)
    .where(*_MINE)
    .values(to0_due=bindparam("due"), to0_attempts=bindparam("failures"), to0_error=bindparam("reason"))
)
_OWNED: Final = devices.c.state == DeviceState.OWNED.value
_REGISTERED: Final = Prepared(
    update(devices)
    .where(*_MINE)
    .values(
        to0_due=bindparam("due"),
        to0_attempts=0,
        to0_error=None,
        registered_until=bindparam("until"),
        state=case((_OWNED, DeviceState.REGISTERED.value), else_=devices.c.state),
    )
)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Due(NamedTuple):
    """A registration to be made."""

    guid: str
    voucher: Voucher
    attempts: int


class Registrar:
    """Registers what is due, for ever."""

    def __init__(
        self,
        database: Database,
        signers: dict[str, Signer],
        addresses: list[To2Address],
        *,
        wait_seconds: int,
        parallel: int,
        contacts: Contacts | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._signers = signers
        self._addresses = addresses
        self._wait_seconds = wait_seconds
        self._parallel = parallel
        self._contacts = contacts or Contacts()
        self._tls = tls
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - jitter, nothing secret
        self._woken = asyncio.Event()
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="to0")

    async def register_now(self, guid: str) -> bool:
        """Make a registration due at once; False for a device that is not ours."""
        change = update(devices).where(devices.c.guid == guid, devices.c.sold_to.is_(None)).values(to0_due=self._now())
        known = await self._database.write(lambda connection: bool(connection.execute(change).rowcount))
        self.wake()
        return known

    async def run(self) -> None:
        """Look for what is due: at once when told to, else every second."""
        while True:
            self._woken.clear()
            if not await self._round():
                await self._rest()

    async def _round(self) -> int:
        """Make the registrations that are due; how many there were."""
        try:
            if not await self._database.look_up(self._anything_due):
                return 0
            due = await self._database.write(self._claim)
            await asyncio.gather(*(self._register(item) for item in due))
        except StorageUnavailable as error:
            log.warning("registrations wait", reason=str(error))
            return 0
        return len(due)

    def wake(self) -> None:
        """Look for what is due now."""
        self._woken.set()

    def _anything_due(self, connection: Connection) -> bool:
        # Most looks find nothing, and a write would cost a sync of the disk.
        return _ANY.first(connection, {"now": self._now()}) is not None

    def _claim(self, connection: Connection) -> list[Due]:
        now = self._now()
        rows = connection.execute(_OLDEST, {"now": now, "most": self._parallel}).all()
        if rows:
            claimed = [row.guid for row in rows]
            connection.execute(_LEASE, {"claimed": claimed, "due": now + LEASE_SECONDS * 1000})
        return [Due(row.guid, Voucher.decode(row.voucher), row.to0_attempts) for row in rows]

    async def _register(self, item: Due) -> None:
        try:
            granted = await self._anywhere(item)
        except FdoError as error:
            delay = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(item.attempts, 10)) * self._spread()
            log.warning("to0 failed", guid=item.guid, reason=error.reason, retry_in=round(delay))
            self._keep(
                _PUT_OFF, item.guid, delay, {"failures": item.attempts + 1, "reason": storable(error.reason[:1000])}
            )
            return
        if granted is None:
            log.info("not registered: the device comes without a rendezvous", guid=item.guid)
            self._keep(_PUT_OFF, item.guid, None, {"failures": 0, "reason": None})
        else:
            log.info("registered", guid=item.guid, seconds=granted)
            until = self._now() + granted * 1000
            # One that grants a second is not asked again each second.
            renewal = max(granted * RENEW_AT, _FIRST_RETRY) * self._spread()
            self._keep(_REGISTERED, item.guid, renewal, {"until": until})

    async def _anywhere(self, item: Due) -> int | None:
        """The seconds that a rendezvous grants; None where the voucher bypasses it."""
        directives = rvinfo.decode(item.voucher.header.rv_info)
        urls = [url for directive in directives if not directive.rv_bypass for url in directive.urls(owner=True)]
        if not urls:
            if any(directive.rv_bypass for directive in directives):
                return None
            raise VoucherError("the voucher names no rendezvous that an owner can reach over HTTP")
        signer = self._signers.get(item.voucher.owner_public_key.fingerprint())
        if signer is None or not item.voucher.entries:
            raise VoucherError("the voucher does not name one of this owner's keys as its owner")
        first = item.attempts % len(urls)
        return await self._one_of(urls[first:] + urls[:first], item.voucher, signer)

    async def _one_of(self, urls: list[str], voucher: Voucher, signer: Signer) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + _ALL_SECONDS
        reasons: list[str] = []
        for url in urls:
            try:
                return await self._ask(url, voucher, signer)
            except FdoError as error:
                reasons.append(error.reason)
            if loop.time() > until:
                break
        raise FdoError("; ".join(dict.fromkeys(reasons)))

    async def _ask(self, url: str, voucher: Voucher, signer: Signer) -> int:
        loop = asyncio.get_running_loop()
        rendezvous = Rendezvous(url, self._contacts, self._tls)
        bell = loop.call_later(_ONE_SECONDS, rendezvous.give_up)
        try:
            return await loop.run_in_executor(self._threads, self._at, rendezvous, voucher, signer)
        finally:
            # Whoever is stopped does not wait for a thread that does.
            bell.cancel()
            rendezvous.give_up()

    def _at(self, opened: Rendezvous, voucher: Voucher, signer: Signer) -> int:
        with opened as rendezvous:
            ack = rendezvous.say(To0Hello(), HelloAck)
            message = to0.owner_sign(ack, voucher, self._wait_seconds, self._addresses, signer)
            granted = rendezvous.say(message, AcceptOwner).wait_seconds
        if not granted:
            raise FdoError(f"the rendezvous at {opened.url} keeps no registration: it granted 0 s")
        return granted

    def _keep(self, change: Prepared, guid: str, due: float | None, values: dict[str, object]) -> None:
        """Write how it went, without making the next round wait: that one claims other devices."""
        at = None if due is None else self._now() + int(due * 1000)
        row = {"device": guid, "due": at} | values
        kept = self._database.write_soon(lambda connection: change.change(connection, row))
        kept.add_done_callback(_report)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    def _spread(self) -> float:
        return 1 + self._random.uniform(-_JITTER, _JITTER)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _report(kept: asyncio.Future[int]) -> None:
    error = None if kept.cancelled() else kept.exception()
    if error is not None:
        log.warning("a registration could not be noted, and is made again", reason=str(error))

"""TO0 from the owner: every voucher is registered at its rendezvous, and registered again before that runs out.

Only items that are due are looked at, each is claimed by one replica for a while, several run at the same time, and
renewal comes at 80 % of the granted time with some jitter, so that a fleet imported at once spreads out.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, select, update

from ashore.cose import Signer
from ashore.devices import DeviceState
from ashore.fdo import rvinfo, to0
from ashore.fdo.errors import FdoError, PeerError, VoucherError
from ashore.fdo.messages import AcceptOwner, ErrorMessage, HelloAck, Message, To0Hello
from ashore.fdo.types import To2Address, fingerprint
from ashore.fdo.voucher import Voucher
from ashore.sql import Database, StorageUnavailable
from ashore_owner.tables import devices

if TYPE_CHECKING:
    import httpx

LEASE_SECONDS: Final = 60
POLL_SECONDS: Final = 1.0
RENEW_AT: Final = 0.8
_JITTER: Final = 0.1
_FIRST_RETRY: Final = 5.0
_LAST_RETRY: Final = 300.0
_TIMEOUT: Final = 20.0
_MAX_ANSWER: Final = 65_535
_FAILED: Final = 500

M = TypeVar("M", bound=Message)

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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._signers = signers
        self._addresses = addresses
        self._wait_seconds = wait_seconds
        self._parallel = parallel
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - jitter, nothing secret
        self._woken = asyncio.Event()

    async def register_now(self, guid: str) -> bool:
        """Make a registration due at once; False for a device that is not ours."""
        change = update(devices).where(devices.c.guid == guid, devices.c.sold_to.is_(None)).values(to0_due=self._now())
        known = await self._database.write(lambda connection: bool(connection.execute(change).rowcount))
        self._woken.set()
        return known

    async def run(self) -> None:
        """Look for what is due; at once after a commit of this process, else every second."""
        import httpx  # noqa: PLC0415 - 7 MB that only this task needs

        limits = httpx.Limits(max_connections=self._parallel)
        with self._database.listening(self._woken.set):
            async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, limits=limits) as client:
                while True:
                    self._woken.clear()
                    try:
                        due = await self._database.write(self._claim)
                        await asyncio.gather(*(self._register(item, client) for item in due))
                    except StorageUnavailable as error:
                        log.warning("registrations wait", reason=str(error))
                        due = []
                    if not due:
                        await self._rest()

    def _claim(self, connection: Connection) -> list[Due]:
        now = self._now()
        query = (
            select(devices.c.guid, devices.c.voucher, devices.c.to0_attempts)
            .where(devices.c.to0_due <= now)
            .order_by(devices.c.to0_due)
            .limit(self._parallel)
            .with_for_update(skip_locked=True)
        )
        rows = connection.execute(query).all()
        if rows:
            lease = update(devices).where(devices.c.guid.in_([row.guid for row in rows]))
            connection.execute(lease.values(to0_due=now + LEASE_SECONDS * 1000))
        return [Due(row.guid, Voucher.decode(row.voucher), row.to0_attempts) for row in rows]

    async def _register(self, item: Due, client: "httpx.AsyncClient") -> None:
        try:
            granted = await self._anywhere(item.voucher, client)
        except FdoError as error:
            delay = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(item.attempts, 10)) * self._spread()
            log.warning("to0 failed", guid=item.guid, reason=error.reason, retry_in=round(delay))
            await self._keep(item.guid, error=error.reason[:1000], attempts=item.attempts + 1, due=delay)
            return
        log.info("registered", guid=item.guid, seconds=granted)
        await self._keep(item.guid, granted=granted, due=granted * RENEW_AT * self._spread() if granted else None)

    async def _anywhere(self, voucher: Voucher, client: "httpx.AsyncClient") -> int:
        """The seconds that a rendezvous grants; 0 where the voucher bypasses it."""
        directives = rvinfo.decode(voucher.header.rv_info)
        urls = [url for directive in directives if not directive.rv_bypass for url in directive.urls(owner=True)]
        if not urls and any(directive.rv_bypass for directive in directives):
            return 0
        signer = self._signers.get(fingerprint(voucher.owner_key()))
        if signer is None or not voucher.entries:
            raise VoucherError("the voucher does not name one of this owner's keys as its owner")
        failure: FdoError = VoucherError("the voucher names no rendezvous that an owner can reach over HTTP")
        for url in urls:
            try:
                return await self._at(url, voucher, signer, client)
            except FdoError as error:
                failure = error
        raise failure

    async def _at(self, url: str, voucher: Voucher, signer: Signer, client: "httpx.AsyncClient") -> int:
        ack, token = await _exchange(client, url, To0Hello(), HelloAck, None)
        message = to0.owner_sign(ack, voucher, self._wait_seconds, self._addresses, signer)
        accepted, _ = await _exchange(client, url, message, AcceptOwner, token)
        return accepted.wait_seconds

    async def _keep(
        self, guid: str, *, due: float | None, granted: int = 0, error: str | None = None, attempts: int = 0
    ) -> None:
        now = self._now()
        values: dict[str, object] = {"to0_due": None if due is None else now + int(due * 1000)}
        values |= {"to0_attempts": attempts, "to0_error": error}
        if granted:
            values["registered_until"] = now + granted * 1000
        # A device that came ashore meanwhile is registered no more.
        mine = update(devices).where(devices.c.guid == guid, devices.c.to0_due.is_not(None))
        owned = update(devices).where(devices.c.guid == guid, devices.c.state == DeviceState.OWNED.value)

        def keep(connection: Connection) -> None:
            connection.execute(mine.values(values))
            if error is None:
                connection.execute(owned.values(state=DeviceState.REGISTERED.value))

        await self._database.write(keep)

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


async def _exchange(
    client: "httpx.AsyncClient", url: str, message: Message, answer: type[M], token: str | None
) -> tuple[M, str | None]:
    """One message to a rendezvous, and its answer; raise PeerError."""
    import httpx  # noqa: PLC0415 - imported already, by `run`

    headers = {"content-type": "application/cbor"} | ({"authorization": token} if token else {})
    try:
        response = await client.post(f"{url}/fdo/101/msg/{message.number}", content=message.encode(), headers=headers)
    except httpx.HTTPError as error:
        raise PeerError(0, message.number, f"the rendezvous at {url} cannot be reached: {error!r}") from error
    body = response.content[:_MAX_ANSWER]
    kind = response.headers.get("message-type", "")
    if kind == str(ErrorMessage.number) or (response.status_code == _FAILED and not kind):
        told = ErrorMessage.decode(body)
        raise PeerError(told.code, message.number, told.text[:500])
    if kind != str(answer.number):
        text = f"HTTP status {response.status_code} with message type {kind or 'none'}"
        raise PeerError(0, message.number, f"the rendezvous at {url} answered {text}")
    return answer.decode(body), response.headers.get("authorization")

"""The owner's memory: devices with their vouchers, and their onboardings.

Every method is one unit of work or one query; state and event are one transaction: a row and its outbox row. What
people look at is read in `queries`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from ashore.devices import DeviceState
from ashore.events import DeviceOnboarded, OnboardingFailed, OnboardingStarted, VoucherReceived
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.modules import Outcome
from ashore.fdo.types import storable
from ashore.fdo.voucher import Voucher
from ashore.sql import Database
from ashore.sql.outbox import append
from ashore.sql.prepared import Prepared, insertion
from ashore_owner.model import Failure, step_result
from ashore_owner.tables import devices, files, onboardings, outbox, waiting

SOURCE: Final = "/owner"
_LATE: Final = 60_000
"""Milliseconds. No beginning is written so late; one that is so far ahead comes from a clock that was wrong."""


class Candidate(NamedTuple):
    """A device that wants to come ashore."""

    voucher: Voucher
    serial: str
    device_info: str
    owner_key: str
    profile: str | None
    attempts: int


_GUID: Final = devices.c.guid == bindparam("device")
_SUPERSEDES: Final = or_(
    devices.c.session_at.is_(None),
    devices.c.session_at <= bindparam("at"),
    devices.c.session_at - _LATE > bindparam("at"),
)
_UNSOLD: Final = devices.c.sold_to.is_(None)
_VOUCHERS: Final = Prepared(select(devices.c.voucher, devices.c.sold_voucher).where(_GUID))
_CANDIDATE: Final = Prepared(select(*(devices.c[name] for name in Candidate._fields)).where(_GUID, _UNSOLD))
_BEGIN: Final = Prepared(
    update(devices)
    .where(_GUID, _SUPERSEDES)
    .values(
        session=bindparam("began"),
        session_at=bindparam("at"),
        attempts=devices.c.attempts + 1,
        state=DeviceState.ONBOARDING.value,
        failure=None,
    )
)
_LAST: Final = devices.c.session == bindparam("began")
_COMPLETE: Final = Prepared(
    update(devices)
    .where(_GUID, _LAST, _UNSOLD)
    .values(
        session=None,
        state=DeviceState.ONBOARDED.value,
        onboarded_at=bindparam("at"),
        replaced_by=bindparam("successor"),
        to0_due=None,
    )
)
_BREAK_OFF: Final = Prepared(
    update(devices).where(_GUID, _LAST).values(session=None, state=DeviceState.FAILED.value, failure=bindparam("why"))
)
_BLANK: Final = dict.fromkeys(devices.columns.keys())
_INSERT_DEVICE: Final = insertion(devices)
_INSERT_ONBOARDING: Final = insertion(onboardings)
_REDIRECTED: Final = Prepared(
    update(devices)
    .where(_GUID, or_(*(devices.c.state == state.value for state in (DeviceState.OWNED, DeviceState.REGISTERED))))
    .values(state=DeviceState.REDIRECTED.value)
)
_NO_LONGER_WAITING: Final = Prepared(delete(waiting).where(waiting.c.guid == bindparam("device")))


class Result(msgspec.Struct, kw_only=True):
    """How an onboarding ended. Times are milliseconds since 1970."""

    guid: str
    serial: str
    session: str
    profile: str
    started_at: int
    ended_at: int
    reuse: bool
    devmod: Devmod | None
    outcomes: list[Outcome]


class Superseded(Exception):  # noqa: N818 - a fact about the device, told to an onboarding that comes too late
    """Another onboarding of the device began after this one, or it was sold, or forgotten."""


class Store:
    """The owner's database."""

    def __init__(self, database: Database, added: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self._added = added

    async def add(self, voucher: Voucher, *, serial: str, origin: str, now: int) -> bool:
        """Keep a verified voucher; False where the device is known already."""
        is_new = await self.database.write(partial(_add, voucher, serial, origin, now))
        if is_new:
            self._added()
        return is_new

    async def voucher(self, guid: str) -> Voucher | None:
        """The voucher in its present form: as sold, where it was sold."""
        return await self.database.read(partial(_find, guid))

    async def sell(self, guid: str, extended: Voucher) -> bool:
        """Keep the voucher that was extended to a buyer: the device is no longer ours; False if it was sold already."""
        return await self.database.write(partial(_sell, guid, extended))

    async def remove(self, guid: str) -> bool:
        """Forget a device and its voucher; its ledger stays."""
        change = delete(devices).where(devices.c.guid == guid)
        return await self.database.write(lambda connection: bool(connection.execute(change).rowcount))

    async def choose_profile(self, guid: str, profile: str | None) -> bool:
        """Choose a profile by hand, or leave it to the rules again."""
        change = update(devices).where(devices.c.guid == guid).values(profile=profile)
        return await self.database.write(lambda connection: bool(connection.execute(change).rowcount))

    async def candidate(self, guid: str) -> Candidate | None:
        """The device that says this GUID, unless it is unknown or sold."""
        row = await self.database.look_up(lambda connection: _CANDIDATE.first(connection, {"device": guid}))
        return Candidate(Voucher.decode(row[0]), *row[1:]) if row else None

    def begin(self, event: OnboardingStarted, session: str, at: int) -> asyncio.Future[None]:
        """An onboarding has begun: every older one of this device is superseded, whichever is written first.

        Nobody need wait for it: the onboarding's end takes what this returns, and is written after it.
        """
        return self.database.write_soon(partial(_begin, event, session, at))

    async def finish(self, result: Result, new: Voucher | None, began: asyncio.Future[None]) -> None:
        """An onboarding is complete: voucher replaced or kept, ledger, event; raise Superseded if a later one began."""
        await self.database.write(partial(_finish, result, new), after=began)

    async def fail(self, result: Result, failure: Failure, began: asyncio.Future[None]) -> None:
        """An onboarding broke off; nothing is told where a later one began."""
        await self.database.write(partial(_fail, result, failure), after=began)

    async def redirected(self, guid: str) -> None:
        """The rendezvous has told a device where we are."""
        await self.database.write_soon(lambda connection: _REDIRECTED.change(connection, {"device": guid}))


def _add(voucher: Voucher, serial: str, origin: str, now: int, connection: Connection) -> bool:
    guid = voucher.guid.hex()
    known = _find(guid, connection)
    if known is None:
        row = _new_device(voucher, serial, origin, now) | {"to0_due": now}
        _INSERT_DEVICE.change(connection, _BLANK | row)
    elif _continues(voucher, known):
        # It comes back from a buyer, or was sold on within the house.
        row = _new_device(voucher, serial, origin, now) | {"to0_due": now, "sold_to": None, "sold_voucher": None}
        connection.execute(update(devices).where(devices.c.guid == guid).values(row))
    else:
        return False
    _NO_LONGER_WAITING.change(connection, {"device": guid})
    device_info = voucher.header.device_info
    received = VoucherReceived(guid=guid, serial=serial, device_info=device_info, origin=origin)
    append(connection, outbox, received, source=SOURCE)
    return True


def _find(guid: str, connection: Connection) -> Voucher | None:
    row = _VOUCHERS.first(connection, {"device": guid})
    return Voucher.decode(row[1] or row[0]) if row else None


def _continues(new: Voucher, known: Voucher) -> bool:
    """Whether a voucher is the known one with further sales."""
    count = len(known.entries)
    return (
        len(new.entries) > count
        and new.entries[:count] == known.entries
        and (new.header_bytes, new.hmac) == (known.header_bytes, known.hmac)
    )


def _sell(guid: str, extended: Voucher, connection: Connection) -> bool:
    known = _find(guid, connection)
    if known is None or not _continues(extended, known):
        return False
    sold = {"sold_to": extended.owner_public_key.fingerprint(), "sold_voucher": extended.encode()}
    connection.execute(update(devices).where(devices.c.guid == guid).values(**sold, to0_due=None, profile=None))
    return True


def _new_device(voucher: Voucher, serial: str, origin: str, now: int) -> dict[str, object]:
    return {
        "guid": voucher.guid.hex(),
        "serial": storable(serial),
        "device_info": storable(voucher.header.device_info),
        "owner_key": voucher.owner_public_key.fingerprint(),
        "origin": origin,
        "voucher": voucher.encode(),
        "received_at": now,
        "state": DeviceState.OWNED.value,
        "attempts": 0,
        "to0_attempts": 0,
    }


def _begin(event: OnboardingStarted, session: str, at: int, connection: Connection) -> None:
    _BEGIN.change(connection, {"device": event.guid, "began": session, "at": at})
    append(connection, outbox, event, source=SOURCE)


def _finish(result: Result, new: Voucher | None, connection: Connection) -> None:
    new_guid = new.guid.hex() if new else result.guid
    values = {"at": result.ended_at, "successor": new_guid if new else None}
    if not _COMPLETE.change(connection, _of(result) | values):
        raise Superseded(f"device {result.guid} has begun another onboarding meanwhile, or was sold or forgotten")
    if new is not None:
        row = _new_device(new, result.serial, "onboarding", result.ended_at)
        state = {"state": DeviceState.ONBOARDED.value, "onboarded_at": result.ended_at, "replaces": result.guid}
        _INSERT_DEVICE.change(connection, _BLANK | row | state)
    _write_ledger(result, "onboarded", new_guid, connection)
    event = DeviceOnboarded(
        guid=result.guid,
        new_guid=new_guid,
        profile=result.profile,
        credential_reuse=result.reuse,
        duration_ms=max(0, result.ended_at - result.started_at),
    )
    append(connection, outbox, event, source=SOURCE)


def _fail(result: Result, failure: Failure, connection: Connection) -> None:
    if not _BREAK_OFF.change(connection, _of(result) | {"why": msgspec.json.encode(failure)}):
        return
    _write_ledger(result, "failed", None, connection)
    event = OnboardingFailed(
        guid=result.guid,
        code=failure.code,
        message_number=failure.message_number,
        reason=failure.reason[:4000],
        remedy=failure.remedy,
    )
    append(connection, outbox, event, source=SOURCE)


def _of(result: Result) -> dict[str, object]:
    return {"device": result.guid, "began": result.session}


def _write_ledger(result: Result, how: str, new_guid: str | None, connection: Connection) -> None:
    row = {
        "id": result.session,
        "guid": result.guid,
        "new_guid": new_guid,
        "profile": result.profile,
        "result": how,
        "credential_reuse": result.reuse,
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "devmod": msgspec.json.encode(result.devmod) if result.devmod else None,
        "steps": msgspec.json.encode([step_result(outcome) for outcome in result.outcomes]),
    }
    _INSERT_ONBOARDING.change(connection, row)
    sent = [
        {"onboarding": result.session, "position": position, "content": outcome.content}
        for position, outcome in enumerate(result.outcomes)
        if outcome.content is not None
    ]
    if sent:
        connection.execute(insert(files), sent)

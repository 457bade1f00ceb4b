"""What people look at: pages of devices, one device with its ledger, the waiting room."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Connection, Row, Select, exists, or_, select

from ashore.devices import DeviceState
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.types import storable
from ashore.sql import Database
from ashore.sql.paging import page
from ashore.sql.prefix import begins
from ashore_owner.model import Device, Failure, Onboarding, Page, StepResult, Waiting
from ashore_owner.tables import devices, files, onboardings, waiting
from ashore_owner.waiting import WAITING_CAPACITY

LEDGER_SHOWN: Final = 20
_GUID: Final = re.compile("[0-9a-f]{6,32}")
_ASHORE: Final = (DeviceState.ONBOARDING.value, DeviceState.ONBOARDED.value)
_HIDDEN: Final = {"voucher", "sold_voucher", "session", "session_at", "to0_due", "to0_attempts"}
_SHOWN: Final = [column for column in devices.c if column.name not in _HIDDEN]


class Queries:
    """The reading side of the owner's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def devices(self, *, state: str | None, search: str | None, limit: int, cursor: str | None) -> Page:
        """A page of devices, newest first; those found by a beginning of serial or GUID in the order of serials."""
        query = select(*_SHOWN) if state is None else select(*_SHOWN).where(devices.c.state == state)
        if search:
            return await self._found(query, storable(search), limit, cursor)
        keys = (devices.c.received_at, devices.c.guid)
        return await self._page(query, keys, limit, cursor, newest_first=True)

    async def _found(self, query: Select[Any], search: str, limit: int, cursor: str | None) -> Page:
        digits = search.lower().replace("-", "")
        if cursor is None and _GUID.fullmatch(digits):
            found = await self._page(query.where(begins(devices.c.guid, digits)), (devices.c.guid,), limit, None)
            if found.items:
                return Page(items=found.items)
        return await self._page(
            query.where(begins(devices.c.serial, search)), (devices.c.serial, devices.c.guid), limit, cursor
        )

    async def _page(
        self,
        query: Select[Any],
        keys: Sequence[Column[Any]],
        limit: int,
        cursor: str | None,
        *,
        newest_first: bool = False,
    ) -> Page:
        found = await self._database.read(
            lambda connection: page(connection, query, by=keys, after=cursor, limit=limit, newest_first=newest_first)
        )
        return Page(items=[_device(row) for row in found.rows], next=found.next)

    async def device(self, guid: str) -> Device | None:
        """One device."""
        query = select(*_SHOWN).where(devices.c.guid == guid)
        row = await self._database.read(lambda connection: connection.execute(query).first())
        return _device(row) if row else None

    async def ledger(self, guid: str) -> list[Onboarding]:
        """The onboardings in which a device had or got this GUID, newest first."""
        return await self._database.read(lambda connection: _ledger(guid, connection))

    async def file(self, onboarding: str, position: int) -> bytes | None:
        """A file that a device sent."""
        query = select(files.c.content).where(files.c.onboarding == onboarding, files.c.position == position)
        return await self._database.read(lambda connection: connection.execute(query).scalar())

    async def waiting(self) -> list[Waiting]:
        """Who waits, the latest first."""
        # Who has come ashore since does not wait; to look it up here spares each onboarding a write.
        since = exists().where(devices.c.guid == waiting.c.guid, devices.c.state.in_(_ASHORE))
        query = select(waiting).where(~since).order_by(waiting.c.last_seen.desc()).limit(WAITING_CAPACITY)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return [
            Waiting(
                guid=row.guid,
                reason=row.reason,
                remedy=row.remedy,
                first_seen=when(row.first_seen),
                last_seen=when(row.last_seen),
                times=row.times,
            )
            for row in rows
        ]


def when(milliseconds: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _maybe(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else when(milliseconds)


def _device(row: Row[Any]) -> Device:
    return Device(
        guid=row.guid,
        serial=row.serial,
        device_info=row.device_info,
        state=DeviceState(row.state),
        owner_key=row.owner_key,
        origin=row.origin,
        profile=row.profile,
        received_at=when(row.received_at),
        registered_until=_maybe(row.registered_until),
        registration_error=row.to0_error,
        onboarded_at=_maybe(row.onboarded_at),
        attempts=row.attempts,
        failure=msgspec.json.decode(row.failure, type=Failure) if row.failure else None,
        replaces=row.replaces,
        replaced_by=row.replaced_by,
        sold_to=row.sold_to,
    )


def _ledger(guid: str, connection: Connection) -> list[Onboarding]:
    query = (
        select(onboardings)
        .where(or_(onboardings.c.guid == guid, onboardings.c.new_guid == guid))
        .order_by(onboardings.c.ended_at.desc())
        .limit(LEDGER_SHOWN)
    )
    return [_onboarding(row) for row in connection.execute(query)]


def _onboarding(row: Row[Any]) -> Onboarding:
    return Onboarding(
        id=row.id,
        guid=row.guid,
        new_guid=row.new_guid,
        profile=row.profile,
        result=row.result,
        credential_reuse=row.credential_reuse,
        started_at=when(row.started_at),
        ended_at=when(row.ended_at),
        devmod=msgspec.json.decode(row.devmod, type=Devmod) if row.devmod else None,
        steps=msgspec.json.decode(row.steps, type=list[StepResult]),
    )

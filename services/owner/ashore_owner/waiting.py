"""The waiting room: devices that came and could not be served, each with the one remedy that it needs.

Nothing about them is proven, so little is written: once a minute for each device, for a few at a time, and for no more
than WAITING_CAPACITY altogether.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from ashore.fdo.errors import FdoError, NotFoundError, VoucherError
from ashore.sql import StorageUnavailable
from ashore_owner.store import Store
from ashore_owner.tables import waiting

PAUSE_SECONDS: Final = 60.0
WAITING_CAPACITY: Final = 1000
"""Devices that are kept; strangers with made-up GUIDs must not fill the disk."""
AT_ONCE: Final = 64
"""Devices that are being written down; who comes meanwhile is when it comes again, so that no flood delays others."""
_REMEMBERED: Final = 5000
_NO_VOUCHER: Final = (
    "Import its voucher: `ashore voucher import FILE`, or ask its manufacturer to sell it to this owner."
)
_NO_PROFILE: Final = "Choose a profile: `ashore profile assign GUID NAME`, or add a rule."
_OTHER_KEY: Final = "Its voucher belongs to another key: have it extended to one of this owner's keys."


class WaitingRoom:
    """Who waits, and why."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._writing = 0

    async def refused(self, guid: str, error: FdoError) -> None:
        """A device that is not proven was refused."""
        is_of_interest = isinstance(error, (NotFoundError, VoucherError)) and self._writing < AT_ONCE
        if not is_of_interest or not self._is_news(guid):
            return
        self._writing += 1
        try:
            unit = partial(_write, guid, error.reason, _remedy(error), int(self._clock() * 1000))
            await self._store.database.write(unit)
        except StorageUnavailable:
            # The device comes again.
            self._seen.pop(guid, None)
        finally:
            self._writing -= 1

    def _is_news(self, guid: str) -> bool:
        now = self._clock()
        # A clock that was set back must not make anybody wait for the time that it had before.
        if 0 <= now - self._seen.get(guid, -PAUSE_SECONDS) < PAUSE_SECONDS:
            return False
        self._seen[guid] = now
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def _remedy(error: FdoError) -> str:
    if "profile" in error.reason:
        return _NO_PROFILE
    return _OTHER_KEY if "belongs to" in error.reason else _NO_VOUCHER


def _write(guid: str, reason: str, remedy: str, now: int, connection: Connection) -> None:
    again = (
        update(waiting)
        .where(waiting.c.guid == guid)
        .values(reason=reason, remedy=remedy, last_seen=now, times=waiting.c.times + 1)
    )
    if connection.execute(again).rowcount:
        return
    if connection.execute(select(func.count()).select_from(waiting)).scalar_one() >= WAITING_CAPACITY:
        oldest = select(waiting.c.guid).order_by(waiting.c.last_seen).limit(1).scalar_subquery()
        connection.execute(delete(waiting).where(waiting.c.guid == oldest))
    row = {"guid": guid, "reason": reason, "remedy": remedy, "first_seen": now, "last_seen": now, "times": 1}
    connection.execute(insert(waiting), row)

"""The waiting room: devices that came and could not be served, each with the one remedy that it needs.

Nothing about them is proven, so little is written: once a minute for each device, and never more than the store keeps.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ashore.fdo.errors import FdoError, NotFoundError, VoucherError
from ashore.sql import StorageUnavailable
from ashore_owner.store import Store

PAUSE_SECONDS: Final = 60.0
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

    async def refused(self, guid: str, error: FdoError) -> None:
        """A device that is not proven was refused."""
        if not isinstance(error, (NotFoundError, VoucherError)) or not self._is_news(guid):
            return
        try:
            await self._store.wait(guid, error.reason, _remedy(error), int(self._clock() * 1000))
        except StorageUnavailable:
            # The device comes again.
            self._seen.pop(guid, None)

    def _is_news(self, guid: str) -> bool:
        now = self._clock()
        if now - self._seen.get(guid, -PAUSE_SECONDS) < PAUSE_SECONDS:
            return False
        self._seen[guid] = now
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def _remedy(error: FdoError) -> str:
    if "profile" in error.reason:
        return _NO_PROFILE
    return _OTHER_KEY if "belongs to" in error.reason else _NO_VOUCHER

"""What the owner listens to: vouchers that are sold to it, and devices that are on their way."""

import base64
import time

import structlog

from ashore.bus import Bus, TryLater
from ashore.cose import Signer
from ashore.events import DeviceRedirected, Envelope, VoucherExtended, open_event
from ashore.fdo import voucher as vouchers
from ashore.sql import StorageUnavailable
from ashore_owner.store import Store

DURABLE = "owner"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Subscribers:
    """Reactions to events, idempotent: an event that comes twice changes nothing."""

    def __init__(self, bus: Bus, store: Store, signers: dict[str, Signer]) -> None:
        self._bus = bus
        self._store = store
        self._signers = signers

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._bus.consume(DURABLE, [VoucherExtended.name, DeviceRedirected.name], self._react)

    async def _react(self, envelope: Envelope) -> None:
        event = open_event(envelope)
        try:
            match event:
                case VoucherExtended():
                    await self._take(event)
                case DeviceRedirected():
                    await self._store.redirected(event.guid)
        except StorageUnavailable as error:
            raise TryLater(str(error)) from error

    async def _take(self, event: VoucherExtended) -> None:
        """Take a voucher that was sold to one of our keys; those of other owners are none of our business."""
        if event.owner_key not in self._signers:
            return
        voucher = vouchers.Voucher.decode(base64.b64decode(event.voucher))
        vouchers.verify(voucher)
        added = await self._store.add(voucher, serial=event.serial, origin="event", now=int(time.time() * 1000))
        if added:
            log.info("voucher received", guid=event.guid, serial=event.serial, origin="event")

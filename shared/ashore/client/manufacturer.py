"""The manufacturer service's REST API."""

from datetime import datetime
from typing import Literal

import msgspec

from ashore.client.connection import Connection
from ashore.fdo.rvinfo import Directive

VoucherState = Literal["issued", "extended"]


class VoucherSummary(msgspec.Struct, kw_only=True):
    """A voucher in a list."""

    guid: str
    serial: str
    device_info: str
    state: str
    """`issued`: the manufacturer's own; `extended`: sold."""
    key_type: str
    owner_key: str
    """Fingerprint: SHA-256 of the SubjectPublicKeyInfo, hex."""
    created_at: datetime
    extended_at: datetime | None = None


class VoucherDetail(VoucherSummary, kw_only=True):
    """A voucher with what it says."""

    digest: str
    key_encoding: str
    device_key: str
    owners: list[str]
    """Fingerprints, the manufacturer's first, the present owner's last."""
    rv_info: list[Directive]


class VoucherPage(msgspec.Struct):
    """A part of the list."""

    items: list[VoucherSummary]
    next: str | None = None


class SaleRule(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Devices that fit are sold to these keys as soon as they are made."""

    serial: str | None = None
    device_info: str | None = None
    owner_keys: str


class RvInfoSet(msgspec.Struct):
    """What new devices are told, and what some of them would not understand."""

    directives: list[Directive]
    warnings: list[str] = []


class Key(msgspec.Struct):
    """One of a service's public keys."""

    kind: str
    fingerprint: str
    pem: str


class ManufacturerClient:
    """What the manufacturer service can be asked; every call may raise ClientError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def vouchers(
        self,
        *,
        serial: str | None = None,
        state: VoucherState | None = None,
        search: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> VoucherPage:
        """A part of the list of vouchers; `search` is how a GUID or a serial number begins."""
        query = {"serial": serial, "state": state, "search": search, "limit": limit, "cursor": cursor}
        return await self.connection.get("/vouchers", VoucherPage, query)

    async def voucher(self, guid: str) -> VoucherDetail:
        """One voucher."""
        return await self.connection.get(f"/vouchers/{guid}", VoucherDetail)

    async def voucher_pem(self, guid: str) -> bytes:
        """One voucher as a PEM block."""
        return await self.connection.get_bytes(f"/vouchers/{guid}/pem")

    async def voucher_cbor(self, guid: str) -> bytes:
        """One voucher as it is."""
        return await self.connection.get_bytes(f"/vouchers/{guid}/cbor")

    async def extend(self, guid: str, owner_key: str) -> VoucherDetail:
        """Sell a device: `owner_key` is the buyer's key or bundle in PEM."""
        return await self.connection.send("POST", f"/vouchers/{guid}/extend", {"owner_key": owner_key}, VoucherDetail)

    async def rvinfo(self) -> list[Directive]:
        """Where new devices look for their owner."""
        return await self.connection.get("/rvinfo", list[Directive])

    async def put_rvinfo(self, directives: list[Directive]) -> RvInfoSet:
        """Tell new devices to look somewhere else."""
        return await self.connection.send("PUT", "/rvinfo", directives, RvInfoSet)

    async def sale_rules(self) -> list[SaleRule]:
        """To whom new devices are sold."""
        return await self.connection.get("/sale-rules", list[SaleRule])

    async def put_sale_rules(self, rules: list[SaleRule]) -> list[SaleRule]:
        """Replace the sale rules."""
        return await self.connection.send("PUT", "/sale-rules", rules, list[SaleRule])

    async def keys(self) -> list[Key]:
        """The manufacturer's public keys."""
        return await self.connection.get("/keys", list[Key])

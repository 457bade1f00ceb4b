"""The rendezvous service's REST API."""

from datetime import datetime
from typing import Literal

import msgspec

from ashore.client.connection import Connection

RuleKind = Literal["owner", "manufacturer", "voucher"]
Verdict = Literal["allow", "deny"]


class Registration(msgspec.Struct, kw_only=True):
    """Where the owner of one device is, and for how long that holds."""

    guid: str
    owner_key: str
    manufacturer_key: str
    sales: int
    """How often the voucher was extended."""
    addresses: list[str]
    registered_at: datetime
    expires_at: datetime


class RegistrationPage(msgspec.Struct):
    """A part of the list."""

    items: list[Registration]
    next: str | None = None


class AdmissionRule(msgspec.Struct, kw_only=True):
    """Whose devices may be registered, or must not."""

    kind: str
    """`owner`, `manufacturer` or `voucher`."""
    id: str
    """Fingerprint of the key, or a device's GUID; hex."""
    verdict: str
    """`allow` or `deny`."""
    comment: str = ""
    set_by: str = ""
    set_at: datetime | None = None


class AdmissionRulePage(msgspec.Struct):
    """A part of the rules, and the keys that are admitted without one."""

    items: list[AdmissionRule]
    next: str | None = None
    trusted_keys: list[str] = []


class RendezvousClient:
    """What the rendezvous service can be asked; every call may raise ClientError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def registrations(self, *, limit: int = 50, cursor: str | None = None) -> RegistrationPage:
        """A part of the list of registrations."""
        return await self.connection.get("/registrations", RegistrationPage, {"limit": limit, "cursor": cursor})

    async def registration(self, guid: str) -> Registration:
        """One registration."""
        return await self.connection.get(f"/registrations/{guid}", Registration)

    async def forget(self, guid: str) -> None:
        """End a registration; its owner may register again."""
        await self.connection.order("DELETE", f"/registrations/{guid}")

    async def rules(self, *, limit: int = 50, cursor: str | None = None) -> AdmissionRulePage:
        """A part of the rules that say whose devices may be registered."""
        return await self.connection.get("/rules", AdmissionRulePage, {"limit": limit, "cursor": cursor})

    async def put_rule(self, kind: RuleKind, name: str, verdict: Verdict, comment: str = "") -> AdmissionRule:
        """Allow or deny an owner's or a manufacturer's key (by fingerprint), or one device's voucher (by GUID)."""
        order = {"verdict": verdict, "comment": comment}
        return await self.connection.send("PUT", f"/rules/{kind}/{name}", order, AdmissionRule)

    async def remove_rule(self, kind: RuleKind, name: str) -> None:
        """Take a rule back."""
        await self.connection.order("DELETE", f"/rules/{kind}/{name}")

"""The owner service's REST API."""

from collections.abc import Mapping

from ashore.client.connection import Connection
from ashore.client.manufacturer import Key
from ashore.client.owner_model import DeviceDetails, DevicePage, Imported, ImportReport, Profile, Rule, Waiting

__all__ = ["Imported", "OwnerClient"]


class OwnerClient:
    """What the owner service can be asked; every call may raise ClientError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def devices(
        self, *, state: str | None = None, search: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DevicePage:
        """A part of the list of devices; `search` is how a GUID or a serial number begins."""
        query = {"state": state, "search": search, "limit": limit, "cursor": cursor}
        return await self.connection.get("/devices", DevicePage, query)

    async def device(self, guid: str) -> DeviceDetails:
        """One device with its ledger."""
        return await self.connection.get(f"/devices/{guid}", DeviceDetails)

    async def assign(self, guid: str, profile: str | None) -> None:
        """Choose a device's profile; None leaves it to the rules."""
        await self.connection.order("PUT", f"/devices/{guid}/profile", {"profile": profile})

    async def waiting(self) -> list[Waiting]:
        """Who came and could not be served."""
        return await self.connection.get("/waiting", list[Waiting])

    async def file(self, onboarding: str, position: int) -> bytes:
        """A file that a device sent in a step of an onboarding."""
        return await self.connection.get_bytes(f"/onboardings/{onboarding}/files/{position}")

    async def import_vouchers(self, content: bytes, *, serial: str | None = None) -> list[Imported]:
        """Hand in vouchers, PEM blocks or one in CBOR; the serial number of the device where there is only one."""
        return (await self.connection.send("POST", "/vouchers", content, ImportReport, {"serial": serial})).items

    async def voucher_pem(self, guid: str) -> bytes:
        """A device's voucher as a PEM block."""
        return await self.connection.get_bytes(f"/vouchers/{guid}/pem")

    async def forget(self, guid: str) -> None:
        """Forget a device and its voucher."""
        await self.connection.order("DELETE", f"/vouchers/{guid}")

    async def extend(self, guid: str, owner_key: str) -> bytes:
        """Sell a device on: `owner_key` is the buyer's key or bundle in PEM. The answer is the extended voucher."""
        return await self.connection.order("POST", f"/vouchers/{guid}/extend", {"owner_key": owner_key})

    async def register(self, guid: str) -> None:
        """Register the device at its rendezvous as soon as possible (TO0)."""
        await self.connection.order("POST", f"/vouchers/{guid}/register")

    async def keys(self) -> list[Key]:
        """The owner's public keys."""
        return await self.connection.get("/keys", list[Key])

    async def profiles(self) -> list[str]:
        """The names of all profiles."""
        return await self.connection.get("/profiles", list[str])

    async def profile(self, name: str) -> Profile:
        """One profile."""
        return await self.connection.get(f"/profiles/{name}", Profile)

    async def put_profile(self, name: str, profile: Profile | Mapping[str, object]) -> Profile:
        """Keep a profile; the service checks it, so a mapping may come straight from a file."""
        return await self.connection.send("PUT", f"/profiles/{name}", profile, Profile)

    async def remove_profile(self, name: str) -> None:
        """Forget a profile."""
        await self.connection.order("DELETE", f"/profiles/{name}")

    async def rules(self) -> list[Rule]:
        """What chooses a profile, in order."""
        return await self.connection.get("/rules", list[Rule])

    async def put_rules(self, rules: object) -> list[Rule]:
        """Replace the rules: Rules, or what a file says."""
        return await self.connection.send("PUT", "/rules", rules, list[Rule])

    async def resources(self) -> list[str]:
        """The names of the files that profiles may send."""
        return await self.connection.get("/resources", list[str])

    async def put_resource(self, name: str, content: bytes) -> None:
        """Keep a file that profiles may send."""
        await self.connection.order("PUT", f"/resources/{name}", content)

    async def remove_resource(self, name: str) -> None:
        """Forget such a file."""
        await self.connection.order("DELETE", f"/resources/{name}")

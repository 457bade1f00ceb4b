"""What commands about vouchers and devices share: from what a user types to one GUID."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from ashore_cli.errors import CommandError
from ashore_cli.output import short

if TYPE_CHECKING:
    # The clients are slow to import.
    from ashore.client.manufacturer import ManufacturerClient
    from ashore.client.owner import OwnerClient

_GUID: Final = re.compile(r"[0-9a-f]{32}")
_SHOWN: Final = 5
_ENOUGH: Final = 50


class Found(Protocol):
    """What the search gives."""

    @property
    def guid(self) -> str:
        """Hex."""
        ...

    @property
    def serial(self) -> str:
        """As the device said it."""
        ...


Search = Callable[[str], Awaitable[Sequence[Found]]]


async def guid_at_owner(owner: "OwnerClient", text: str) -> str:
    """The GUID of one of the owner's devices, by the beginning of its GUID or of its serial number."""

    async def search(prefix: str) -> Sequence[Found]:
        return (await owner.devices(search=prefix, limit=_ENOUGH)).items

    return await _resolve(text, search, "the owner has no device")


async def guid_at_manufacturer(manufacturer: "ManufacturerClient", text: str) -> str:
    """The GUID of one of the manufacturer's vouchers, by the beginning of its GUID or of its serial number."""

    async def search(prefix: str) -> Sequence[Found]:
        return (await manufacturer.vouchers(search=prefix, limit=_ENOUGH)).items

    return await _resolve(text, search, "the manufacturer has no voucher")


async def _resolve(text: str, search: Search, nothing: str) -> str:
    plain = text.lower().replace("-", "")
    if _GUID.fullmatch(plain):
        return plain
    found = await search(text)
    # A device that was onboarded has a former self of the same serial number.
    found = [one for one in found if not getattr(one, "replaced_by", None)] or found
    # A whole serial number is meant even where it begins others: demo-1 and demo-10.
    exact = [one for one in found if one.serial == text]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0].guid
    if not found:
        raise CommandError(f"{nothing} whose GUID or serial number begins with '{text}'", remedy="list them all first")
    names = ", ".join(f"{short(one.guid)} ({one.serial})" for one in found[:_SHOWN])
    raise CommandError(f"'{text}' is the beginning of several: {names}", remedy="give more of it")

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
    from ashore.client.rendezvous import RendezvousClient

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

    return await _resolve(text, search, "the owner has no device", "owner list")


async def guid_at_manufacturer(manufacturer: "ManufacturerClient", text: str) -> str:
    """The GUID of one of the manufacturer's vouchers, by the beginning of its GUID or of its serial number."""

    async def search(prefix: str) -> Sequence[Found]:
        return (await manufacturer.vouchers(search=prefix, limit=_ENOUGH)).items

    return await _resolve(text, search, "the manufacturer has no voucher", "voucher list")


async def guid_at_rendezvous(rendezvous: "RendezvousClient", text: str) -> str:
    """The GUID of a registered device, by its beginning, which is what the list shows."""
    from ashore.client.connection import collect  # noqa: PLC0415 - see the import for typing above

    plain = _plain(text, "rendezvous list")
    if _GUID.fullmatch(plain):
        return plain
    registered, _ = await collect(
        lambda size, cursor: rendezvous.registrations(limit=size, cursor=cursor),
        _SHOWN,
        lambda one: one.guid.startswith(plain),
    )
    found = [one.guid for one in registered]
    if len(found) == 1:
        return found[0]
    raise _not_one(text, found, "no device is registered whose GUID", "rendezvous list")


async def _resolve(text: str, search: Search, nothing: str, everything: str) -> str:
    plain = _plain(text, everything)
    if _GUID.fullmatch(plain):
        return plain
    found = await search(text)
    # A device that was onboarded has a former self of the same serial number.
    found = [one for one in found if not getattr(one, "replaced_by", None)] or found
    # A whole serial number is meant even where it begins others: demo-1 and demo-10.
    exact = [one for one in found if one.serial == text]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0].guid
    names = [f"{short(one.guid)} ({one.serial})" for one in found[:_SHOWN]]
    raise _not_one(text, names, f"{nothing} whose GUID or serial number", everything)


def _not_one(text: str, names: Sequence[str], nothing: str, everything: str) -> CommandError:
    """What to say of a beginning that several have, or none."""
    if names:
        return CommandError(f"'{text}' is the beginning of several: {', '.join(names)}", remedy="give more of it")
    return CommandError(f"{nothing} begins with '{text}'", remedy=f"see `ashore {everything}`")


def _plain(text: str, everything: str) -> str:
    if plain := text.lower().replace("-", ""):
        return plain
    raise CommandError("an empty GUID names no device", remedy=f"see `ashore {everything}`")

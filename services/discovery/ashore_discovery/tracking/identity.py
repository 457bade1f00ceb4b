"""By what a device is recognised: its names, the strongest first, and the key that is made from the strongest.

No value is trusted because it should be unique. Makers ship thousands of devices with one serial number, one hardware
address, one UUID; what is known to be such is left out here, and what turns out to be is demoted by the registry.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ashore_discovery.model import IDENTITY_RANKS, Identity, IdentityKind

MERGING: Final[frozenset[str]] = frozenset(IDENTITY_RANKS) - {"address"}
"""What makes two sightings one device. An address belongs to somebody else tomorrow."""
CONTRADICTING: Final[tuple[IdentityKind, ...]] = ("certificate", "serial")
"""What one device has only one of, whoever looks."""
LOCAL: Final = frozenset({"path", "address", "id"})
"""What says nothing on another node."""

_SHORTEST_SERIAL: Final = 4
_MAC: Final = re.compile(r"[0-9a-f]{12}")
_FAKES: Final = frozenset(
    {
        "unknown", "none", "null", "default", "default string", "to be filled by o.e.m.", "not specified",
        "0123456789", "1234567890", "123456789", "12345678", "0123456789abcdef", "123456789abc", "serial", "n/a",
        "00000000-0000-0000-0000-000000000000", "03000200-0400-0500-0006-000700080009",
    }
)  # fmt: skip


def names(identity: Identity, handler: str, id: str) -> list[str]:  # noqa: A002 - a sighting's own word
    """Everything by which it is recognised, as `kind:value`, the strongest first; its handler's name for it is last."""
    found = [
        f"{kind}:{value}"
        for kind in IDENTITY_RANKS
        if kind in identity
        for value in (_sane(kind, text) for text in _values(identity[kind]))
        if value
    ]
    return [*dict.fromkeys(found), f"id:{handler}/{id}"]


def spelt(name: str) -> str:
    """A name that a person has written, in its one spelling; empty if it identifies nobody."""
    kind, _, value = name.strip().partition(":")
    if kind == "id":
        return name.strip() if "/" in value else ""
    known = next((one for one in IDENTITY_RANKS if one == kind), None)
    sane = _sane(known, value) if known else ""
    return f"{kind}:{sane}" if sane else ""


def kind_of(name: str) -> str:
    """The kind of a name."""
    return name.partition(":")[0]


def key_of(name: str, *, node: str, shared: bool) -> str:
    """The key of a device whose strongest name this is: `serial-k5qmlo2m5vqyn3tz`."""
    kind = kind_of(name)
    place = f"@{node}" if kind in LOCAL and not shared else ""
    return f"{kind}-{digest(name + place)}"


@lru_cache(maxsize=256)
def digest(text: str) -> str:
    """80 bits of a hash, in base32: enough for a million devices without an accident."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:10]).decode().lower()


def contradict(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether a strong fact says that these are two devices."""
    first, second = set(one), set(other)
    for kind in CONTRADICTING:
        left = {name for name in first if kind_of(name) == kind}
        right = {name for name in second if kind_of(name) == kind}
        if left and right and not left & right:
            return True
    return False


def _values(value: str | list[str] | tuple[str, ...]) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value


def _sane(kind: IdentityKind, text: str) -> str:
    """The value in its one spelling; empty if it identifies nothing."""
    value = text.strip().lower().removeprefix("urn:uuid:").removeprefix("uuid:")
    if not value or value in _FAKES:
        return ""
    if kind == "mac":
        return _sane_mac(value)
    if kind == "serial":
        own = value.rpartition("/")[2]
        return "" if own in _FAKES or len(own) < _SHORTEST_SERIAL or len(set(own)) == 1 else value
    return "" if kind == "uuid" and len(set(value) - {"-"}) == 1 else value


def _sane_mac(value: str) -> str:
    """A hardware address that its maker has given: neither a group's, nor one that software has made up."""
    plain = re.sub(r"[:.-]", "", value)
    if not _MAC.fullmatch(plain) or len(set(plain)) == 1:
        return ""
    # Bit 0 of the first byte: a group. Bit 1: locally administered, as containers and virtual machines are.
    return "" if int(plain[:2], 16) & 0b11 or plain.startswith("000000") else plain

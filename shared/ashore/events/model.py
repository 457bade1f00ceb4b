"""What an event is, and the kinds of fields that events are made of."""

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

# A lone "$" would let a trailing newline through. Where the length is fixed it cannot.
Token = Annotated[str, Meta(pattern=r"^[a-z0-9-]+$(?!\n)", min_length=1, max_length=128)]
Guid = Annotated[
    str,
    Meta(pattern="^[0-9a-f]{32}$", min_length=32, max_length=32, description="The device's FDO GUID: 32 hex digits"),
]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64)]
Serial = Annotated[str, Meta(max_length=4096, description="The serial number, as the device said it in DI")]
DeviceInfo = Annotated[str, Meta(max_length=4096, description="The device's model, as the device said it in DI")]
Addresses = Annotated[
    list[str], Meta(max_length=64, description="Where the owner service can be reached, as URLs, best first")
]
Count = Annotated[int, Meta(ge=0)]


class EventError(ValueError):
    """Not an event of ours: the message says which part of it is wrong."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact: what happened, and to whom."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    subject_fields: ClassVar[tuple[str, ...]] = ("guid",)

    @classmethod
    def type(cls) -> str:
        """The CloudEvents type, with the version: `dev.ashore.voucher-issued.v1`."""
        return f"dev.ashore.{cls.name}.v{cls.version}"

    @property
    def subject(self) -> str:
        """Where it is published: the name, then one token for each of `subject_fields`."""
        return ".".join((self.name, *(getattr(self, field) for field in self.subject_fields)))

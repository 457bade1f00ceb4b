"""What comes out of the tracker, and whom it asks what is wanted."""

from typing import Literal, Protocol

import msgspec

from ashore.events import Match
from ashore_discovery.model import Facet
from ashore_discovery.tracking.departure import Departure
from ashore_discovery.tracking.device import Device, View

ChangeKind = Literal["appeared", "changed", "disappeared", "unknown"]


class Change(msgspec.Struct, frozen=True):
    """Something to tell."""

    kind: ChangeKind
    view: View
    wire_at: float
    """When the first byte of its cause was there; 0 where it has none but the time."""


class Ask(msgspec.Struct, frozen=True):
    """Something to ask a handler."""

    what: Literal["probe", "prove", "enrich"]
    """`prove` is a probe of what nobody has been told of yet."""
    facet: Facet


Outcomes = list[Change | Ask]


class Desk(Protocol):
    """Who knows what is wanted."""

    def matches(self, device: Device) -> dict[str, Match]:
        """By configuration: what its broker gets."""
        ...

    def departure(self, configuration: str) -> Departure:
        """When an absent device is gone for it."""
        ...

    def kin(self, device: Device) -> bool:
        """Whether a change of this device may change what others match; asked before its own matches are."""
        ...

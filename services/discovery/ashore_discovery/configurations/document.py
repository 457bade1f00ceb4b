"""The form of a configuration, and of the file on a node that holds some."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ashore_discovery.matching.filters import Filter
from ashore_discovery.model import IdentityKind
from ashore_discovery.tracking.departure import Departure
from ashore_discovery.tracking.rulings import MOST_RULINGS, Ruling

MOST_CONFIGURATIONS: Final = 256
JsonObject = dict[str, Any]


class Configuration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to look for, under a name."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$(?!\n)",
            max_length=128,
            description="As a Kubernetes name: a-z, 0-9, - and .",
        ),
    ]
    handler: Annotated[str, Meta(max_length=128, description="Which discovery handler finds it")]
    details: Annotated[JsonObject, Meta(description="What the handler wants to know; see its own reference")] = {}
    match: Annotated[Filter, Meta(description="Which of the devices that the handler offers")] | None = None
    departure: Annotated[Departure, Meta(description="When an absent device is gone")] = Departure()
    identity: Annotated[
        list[IdentityKind],
        Meta(description="What names an instance, best first: `[path]` means whatever is plugged in there"),
    ] = []
    nodes: Annotated[list[str], Meta(description="Names of nodes, `*` stands for anything; by default all")] = []

    @property
    def token(self) -> str:
        """The name as a part of a subject."""
        return re.sub(r"[^a-z0-9-]", "-", self.name)

    def problems(self) -> Iterator[str]:
        """What is wrong with it beyond its types, a sentence each."""
        if self.match is not None:
            yield from self.match.problems()


class NodeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file of a node: how its handlers work, and what they look for."""

    handlers: Annotated[dict[str, JsonObject], Meta(description="Settings of handlers, by their names")] = {}
    configurations: Annotated[list[Configuration], Meta(max_length=MOST_CONFIGURATIONS)] = []
    devices: Annotated[list[Ruling], Meta(max_length=MOST_RULINGS, description="What people say of devices")] = []

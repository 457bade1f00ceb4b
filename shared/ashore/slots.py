"""Slots: how device plugins and the broker launcher speak about who uses a device.

An instance has as many slots as capacity, `<instance>-0` and so on. Its usage names those that are taken, in Akri's
words: `<node>` where a container asked for the instance, `C:<virtual id>:<node>` where it asked for the configuration
and was given this device. A device plugin asks on `broker-launcher.slots.<verb>.<site>`, and one place decides for all
nodes of a site.
"""

from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from ashore.events.workloads import Name, token_of

CLAIM: Final = "claim"
RELEASE: Final = "release"
USAGE: Final = "usage"
MOST_SLOTS: Final = 1000

Number = Annotated[int, Meta(ge=0, lt=MOST_SLOTS, description="Which slot of the instance")]
NodeName = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9.-]+$(?!\n)")]
Holder = Annotated[
    str,
    Meta(
        max_length=320,
        pattern=r"^$(?!\n)|^C:[a-z0-9.-]+$(?!\n)",
        description="Empty for the instance's own resource, `C:<virtual id>` for the configuration's",
    ),
]


def subject(verb: str, site: str) -> str:
    """Where a verb is asked at a site."""
    return f"broker-launcher.slots.{verb}.{site}"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A node wants a slot. The same claim again is granted again."""

    namespace: Name
    instance: Name
    node: NodeName
    slot: Number
    holder: Holder = ""


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the node has the slot, and if not, why, and who has."""

    granted: bool = False
    problem: str = ""
    holder: str = ""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A node uses slots no more."""

    namespace: Name
    instance: Name
    node: NodeName
    slots: Annotated[list[Number], Meta(max_length=MOST_SLOTS)]


class ReleaseAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The slots that the node had and that are free now."""

    released: list[int] = []
    problem: str = ""


class UsageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """A node asks which slots it has."""

    node: NodeName


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A slot that a node has."""

    namespace: str
    instance: str
    slot: int
    holder: str = ""


class UsageAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every slot that the node has."""

    slots: list[Held] = []
    problem: str = ""


class User(NamedTuple):
    """Who uses a slot: a node, and which resource of it."""

    node: str
    holder: str = ""

    @property
    def virtual(self) -> str:
        """The virtual id of the configuration's resource, empty for the instance's."""
        return self.holder.removeprefix("C:")

    def is_at(self, node: str) -> bool:
        """Whether that node has it; a node has the name of Kubernetes or, with dashes for dots, that of its agent."""
        return token_of(self.node) == token_of(node)

    def __str__(self) -> str:
        return f"{self.holder}:{self.node}" if self.holder else self.node


def user(value: str) -> User | None:
    """Who uses it, from a value of the usage; None where it is free."""
    if not value:
        return None
    holder, _, node = value.rpartition(":")
    return User(node, holder)


def slot_name(owner: str, number: int) -> str:
    """The name of a slot of an instance, and of a virtual slot of a configuration."""
    return f"{owner}-{number}"


def slot_number(owner: str, name: str) -> int | None:
    """Which slot of this owner that is; None where it is none."""
    text = name.removeprefix(f"{owner}-")
    if text == name or not (text.isascii() and text.isdecimal()) or len(text) > 1 + len(str(MOST_SLOTS)):
        return None
    return int(text) if str(int(text)) == text else None

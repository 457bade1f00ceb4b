"""What a node is called: by itself, by the programs on it, and in subjects of the bus."""

import re
import socket
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ashore.config import Settings

_LONGEST: Final = 128
NodeName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9.-]{0,127}$(?!\n)",
        description="This node's name, in a cluster as Kubernetes has it, where dots become dashes; by default the "
        "first part of the machine's. Discovery agent and device plugin of a node have the same.",
    ),
]


def machine_name() -> str:
    """The first part of the machine's name, as far as it may be one."""
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:_LONGEST] or "node"


class NodeSettings(Settings, frozen=True, kw_only=True):
    """Settings of a program that runs on each node."""

    site: Annotated[str, Meta(pattern="^[a-z0-9-]{1,63}$", description="The site that this node belongs to.")] = "site"
    node: NodeName = msgspec.field(default_factory=machine_name)

    def __post_init__(self) -> None:
        super().__post_init__()
        # A dot would begin the next part of a subject.
        msgspec.structs.force_setattr(self, "node", self.node.replace(".", "-"))

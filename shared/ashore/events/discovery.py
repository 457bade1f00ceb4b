"""The events of discovery: devices that a node sees, the agent that sees them, and what it is to look for.

The last message on a subject is the state: of a device on `device-seen`, of an agent on `agent-alive`, of a
configuration on `configuration-set`. Times are milliseconds since 1970, since latencies are read from them.
"""

import re
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ashore.events.model import Count, Event, Token

Value = str | int | float | bool | list[str]
"""What a fact about a device may be."""
Text = Annotated[str, Meta(max_length=4096)]
Facts = Annotated[dict[str, Value], Meta(max_length=256, description="What is known about the device, by name")]
Moment = Annotated[int, Meta(ge=0, description="Milliseconds since 1970")]
Site = Annotated[Token, Meta(description="The site")]
Node = Annotated[Token, Meta(description="The node whose agent says so")]
Mode = Literal["starting", "events", "polling", "degraded", "failed", "stopped"]
State = Literal["present", "suspect", "absent", "unknown", "gone"]


def handler_token(name: str) -> str:
    """A discovery handler as we spell it: Akri writes `debugEcho`, and lets others write what they like."""
    words = re.sub(r"([A-Z])", r"-\1", name).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True):
    """A device node that a broker needs."""

    host_path: Text
    container_path: Text = ""
    permissions: Annotated[str, Meta(pattern="^[rwm]{1,3}$")] = "rwm"


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that a broker needs."""

    host_path: Text
    container_path: Text
    read_only: bool = True


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration that wants the device, and what its broker gets."""

    configuration: Annotated[str, Meta(max_length=253)]
    instance: Annotated[Token, Meta(description="The stable name of the device for this configuration")]
    properties: Annotated[dict[str, str], Meta(description="Environment of the broker")] = {}
    device_nodes: list[DeviceNode] = []
    mounts: list[Mount] = []


class DeviceSeen(Event, frozen=True, kw_only=True):
    """A device appeared on a node, has changed, has disappeared, or it is unknown whether it is still there."""

    name: ClassVar[str] = "device-seen"
    subject_fields: ClassVar[tuple[str, ...]] = ("site", "node", "handler", "key")
    site: Site
    node: Node
    handler: Annotated[Token, Meta(description="The handler that saw it first")]
    key: Annotated[Token, Meta(description="The device's name, made from the strongest fact that identifies it")]
    change: Annotated[
        Literal["appeared", "changed", "disappeared", "unknown"], Meta(description="What this event is about")
    ]
    state: Annotated[State, Meta(description="How sure it is that the device is there; `gone` when it disappeared")]
    epoch: Annotated[Moment, Meta(description="The agent's snapshot that this belongs to; a later one is larger")]
    revision: Annotated[int, Meta(ge=1, description="Grows with each event of the device, within an epoch")]
    cause: Annotated[
        str, Meta(max_length=256, description="What was seen: `add`, `hello`, `probe-missed`, `unmatched`")
    ]
    snapshot: Annotated[bool, Meta(description="Said again for a new epoch, and not because anything happened")] = False
    shared: Annotated[bool, Meta(description="Whether agents of other nodes can see the same device")] = False
    flapping: Annotated[bool, Meta(description="Whether it comes and goes so often that departures are held")] = False
    facts: Facts = {}
    endpoints: Annotated[list[Text], Meta(max_length=64, description="Where it can be reached: URLs or paths")] = []
    facets: Annotated[list[Text], Meta(max_length=64, description="How it is seen: `handler:id` of each handler")] = []
    aliases: Annotated[list[Token], Meta(max_length=64, description="Other keys that its facts would make")] = []
    matches: Annotated[list[Match], Meta(max_length=256, description="The configurations that want it")] = []
    wire_at: Annotated[Moment, Meta(description="When the first byte or the kernel's event was there, in ms")]
    seen_at: Annotated[Moment, Meta(description="When the agent had understood it, in ms since 1970")]


class HandlerState(msgspec.Struct, frozen=True, kw_only=True):
    """One handler on one node, in short."""

    name: Token
    mode: Mode
    reason: Annotated[str, Meta(max_length=1024, description="Why it is degraded or has failed")] = ""
    devices: Count = 0


class AgentAlive(Event, frozen=True, kw_only=True):
    """The agent of a node is alive, or retired. Devices of it with an epoch below this one are no longer there."""

    name: ClassVar[str] = "agent-alive"
    subject_fields: ClassVar[tuple[str, ...]] = ("site", "node")
    site: Site
    node: Node
    epoch: Annotated[Moment, Meta(description="The last snapshot that is complete; 0 before the first")]
    interval_seconds: Annotated[float, Meta(ge=0, description="When the next one comes; three missing mean it is lost")]
    release: Annotated[str, Meta(max_length=64, description="The release of the agent")]
    started_at: Annotated[Moment, Meta(description="When the agent was started, in ms since 1970")]
    devices: Annotated[Count, Meta(description="How many devices it sees, wanted or not")]
    handlers: Annotated[list[HandlerState], Meta(max_length=256, description="How its handlers work")] = []
    retired: Annotated[
        bool, Meta(description="A person has said that there is no agent any more; its next word takes this back")
    ] = False


class ConfigurationSet(Event, frozen=True, kw_only=True):
    """What the agents of a site are to look for, by the configuration's name; or what people say of a device."""

    name: ClassVar[str] = "configuration-set"
    subject_fields: ClassVar[tuple[str, ...]] = ("site", "token")
    site: Site
    token: Annotated[Token, Meta(description="The configuration's name, as a token; with a digest where it has dots")]
    configuration: Annotated[msgspec.Raw, Meta(description="The configuration; null takes it away")]
    ruling: Annotated[
        msgspec.Raw,
        Meta(description="What people say of a device's identity, on a token of its own; null takes it away"),
    ] = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


DISCOVERY_EVENTS: tuple[type[Event], ...] = (DeviceSeen, AgentAlive, ConfigurationSet)

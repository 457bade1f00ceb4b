"""The words that all layers share: what a handler has seen of something, and how that something is recognised.

Everything here is pure. Sightings come from strangers on a network, so they are checked for their size at this border
and nowhere later.
"""

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ashore.events import DeviceNode, Mount, Value

Facts = dict[str, Value]
IdentityKind = Literal["certificate", "serial", "uuid", "mac", "application", "client", "path", "address"]
IDENTITY_RANKS: Final[tuple[IdentityKind, ...]] = (
    "certificate",  # thumbprint of a certificate or of a TPM's key
    "serial",  # serial number together with vendor and model: "axis/m3045/accc8e0a0b0c"
    "uuid",  # endpoint reference of WS-Discovery, UDN of UPnP
    "mac",  # globally unique hardware addresses
    "application",  # ApplicationUri of OPC UA together with its host
    "client",  # client of MQTT, edge node of Sparkplug
    "path",  # where it is plugged in: USB port, PCI slot
    "address",  # IP address and port: somebody else's tomorrow
)
"""What identifies a device, the strongest first."""
Identity = dict[IdentityKind, str | list[str]]

MOST_FACTS: Final = 192
LONGEST_ID: Final = 512
LONGEST_TEXT: Final = 4096
LARGEST_SIGHTING: Final = 64 * 1024


class SightingError(ValueError):
    """What a handler has yielded cannot be used; the text says why."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a sighting is on the wire, where handlers outside the agent's process send it."""

    id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID, description="The handler's own, lasting name for it")]
    kind: Annotated[
        Literal["seen", "gone", "bye", "missed"],
        Meta(
            description="`seen`: it is there; `gone`: it certainly is not (its will is published, say); "
            "`bye`: it says that it leaves, and may be back at once; `missed`: it should have been heard of"
        ),
    ] = "seen"
    cause: Annotated[str, Meta(max_length=64, description="What happened: `add`, `hello`, `probe-match`")] = "seen"
    facts: Annotated[Facts, Meta(max_length=MOST_FACTS, description="What is known, by name")] = {}
    identity: Annotated[Identity, Meta(description="What it can be recognised by")] = {}
    endpoints: Annotated[list[str], Meta(max_length=16, description="Where it can be reached: URLs or paths")] = []
    ttl: Annotated[float, Meta(gt=0, description="For how many seconds this holds without another word")] | None = None
    wire_at: Annotated[float, Meta(ge=0, description="When the first byte was there, in seconds since 1970")] = 0.0


class Sighting(Said, frozen=True, kw_only=True):
    """What a handler has seen of one thing, at one moment."""

    record: msgspec.Struct | None = None
    """What only the handler's own `offer`, `probe` and `enrich` want to know; it never leaves the agent."""

    def check(self) -> None:
        """Raise SightingError where it is too large for anybody's good, or not what it says."""
        try:
            body = msgspec.json.encode(msgspec.structs.replace(self, record=None))
            _SAID.decode(body)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise SightingError(f"{self.id[:64]!r}: {error}") from error
        if self.ttl is not None and not math.isfinite(self.ttl):
            # JSON has no such numbers, so it is not seen above.
            raise SightingError(f"{self.id[:64]!r}: {self.ttl} is no time to live")
        if len(body) > LARGEST_SIGHTING:
            raise SightingError(f"{self.id[:64]!r}: {len(body)} bytes, and {LARGEST_SIGHTING} are taken")
        if any(len(text) > LONGEST_TEXT for text in (*_texts(self.facts), *self.endpoints)):
            raise SightingError(f"{self.id[:64]!r}: a text is longer than {LONGEST_TEXT} characters")


_SAID: Final = msgspec.json.Decoder(Said)


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be seen has been said since `begun`: what was not said is missing.

    A handler yields this after each whole enumeration or scan. Where its lists are the truth (`Handler.exhaustive`),
    what is missing is gone; otherwise it is suspected, and probed.
    """

    begun: Annotated[float, Meta(description="When the enumeration began, by `Context.clock`")]
    within: Annotated[str, Meta(description="Only of what has an `id` that begins so; by default of everything")] = ""


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing will be heard for a while of whatever has an `id` that begins so: it is unknown, not gone.

    A handler that listens at several places yields this when one of them is lost. One that has only one raises.
    """

    within: Annotated[str, Meta(min_length=1, description="How the ids begin")]
    cause: Annotated[str, Meta(max_length=64)] = "listener-lost"


class Facet(msgspec.Struct, kw_only=True):
    """A device as one handler sees it; a device has several where several handlers see it."""

    source: str
    """Who listens: the handler, and its interface where there is one for each."""
    handler: str
    id: str
    facts: Facts = {}
    identity: Identity = {}
    endpoints: list[str] = []
    record: msgspec.Struct | None = None

    @property
    def name(self) -> str:
        """As events name it."""
        return f"{self.handler}:{self.id}"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration wants the device, and its broker gets this."""

    properties: dict[str, str] = {}
    device_nodes: list[DeviceNode] = []
    mounts: list[Mount] = []


class Refusal(msgspec.Struct, frozen=True):
    """A configuration does not want the device, and why, for people."""

    why: str


class Learnt(msgspec.Struct, frozen=True, kw_only=True):
    """What asking the device itself has told: it is added to what the wire said."""

    facts: Facts = {}
    identity: Identity = {}
    endpoints: list[str] = []


def _texts(facts: Facts) -> list[str]:
    found: list[str] = []
    for value in facts.values():
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            found += value
    return found

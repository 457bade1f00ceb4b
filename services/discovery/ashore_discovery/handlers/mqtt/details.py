"""What a configuration may say about devices at MQTT brokers, and what the node's file says about the brokers."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.addresses import with_port

Prefix = Annotated[str, Meta(pattern=r"^[^+#\s\x00/]+(/[^+#\s\x00/]+)*\Z", max_length=128)]
Pointer = Annotated[str, Meta(pattern=r"^(/[^\x00]*)?\Z", max_length=256)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]*\Z", max_length=64)]
Late = Literal["wait", "listen", "ask"]
LATE: tuple[Late, ...] = ("wait", "listen", "ask")
"""What costs more comes later."""


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our own scheme: `ashore/v1/SITE/DEVICE/birth`, `death` and `seen`."""

    prefix: Annotated[Prefix, Meta(description="What stands before site and device")] = "ashore/v1"

    @property
    def label(self) -> str:
        """What tells it from other schemes."""
        return f"own:{self.prefix}"


class HomeAssistant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Home Assistant's discovery: `homeassistant/COMPONENT/[NODE/]OBJECT/config`."""

    prefix: Annotated[Prefix, Meta(description="Home Assistant's discovery prefix")] = "homeassistant"

    @property
    def label(self) -> str:
        """What tells it from other schemes."""
        return f"home-assistant:{self.prefix}"


class Sparkplug(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sparkplug B: edge nodes, and devices behind them."""

    late: Annotated[
        Late,
        Meta(
            description="How to learn of who was born before we came, since births are not retained: `wait` for "
            "births; `listen` to data as signs of life, too; `ask` such a node for a rebirth, which is a write"
        ),
    ] = "listen"

    @property
    def label(self) -> str:
        """What tells it from other schemes."""
        return "sparkplug"


class Gone(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which messages of a topic map mean that the device is gone; an empty one always does."""

    pointer: Annotated[Pointer, Meta(description="Where in the JSON; by default the whole payload")] = ""
    values: Annotated[list[str], Meta(min_length=1, max_length=32, description="`offline`, say; numbers as text")]


class TopicMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any other topics on which devices can be recognised."""

    name: Annotated[Name, Meta(description="Of this map. The same name at one broker means the same map")]
    topic: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=512,
            description="`plant/{line}/{device}/status`: each name in braces is one level; `#` at the end is any more",
        ),
    ]
    id: Annotated[
        str, Meta(max_length=256, description="`{line}-{device}`; by default all names of the topic, with `/`")
    ] = ""
    facts: Annotated[
        dict[Name, Pointer], Meta(max_length=64, description='Facts from the payload: `model: "/info/model"`')
    ] = {}
    serial: Annotated[Pointer | None, Meta(description="Where the payload has the device's serial number")] = None
    gone: Annotated[Gone | None, Meta(description="Which messages mean that it is gone")] = None
    ttl: Annotated[
        Annotated[float, Meta(gt=0, le=604_800)] | None,
        Meta(description="Seconds of silence after which it is doubted"),
    ] = None
    retained: Annotated[
        bool, Meta(description="Whether the topic is retained, so that what the broker does not have is gone")
    ] = True

    @property
    def label(self) -> str:
        """What tells it from other schemes."""
        return f"map:{self.name}"


AnyScheme = Own | HomeAssistant | Sparkplug | TopicMap


class MqttDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say."""

    broker: Annotated[Name, Meta(description="Which of the brokers in the node's file")] = "default"
    own: Annotated[Own | None, Meta(description="Our own scheme; `{}` takes its defaults")] = None
    home_assistant: Annotated[HomeAssistant | None, Meta(description="Home Assistant's discovery; `{}` will do")] = None
    sparkplug: Annotated[Sparkplug | None, Meta(description="Sparkplug B; `{}` will do")] = None
    maps: Annotated[list[TopicMap], Meta(max_length=32, description="Any other topics")] = []
    facts: Annotated[
        dict[str, Annotated[str, Meta(max_length=256)]],
        Meta(max_length=32, description="Only devices whose facts look like this: `model: M30*`, whatever the case"),
    ] = {}

    def schemes(self) -> list[AnyScheme]:
        """All that it asks for."""
        return [*(one for one in (self.own, self.home_assistant, self.sparkplug) if one is not None), *self.maps]


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the broker is recognised, and how it recognises us. References are `file:NAME` or `env:NAME`."""

    ca: Annotated[str, Meta(description="Reference to certificates to trust; by default those of the system")] = ""
    certificate: Annotated[str, Meta(description="Reference to our own certificate")] = ""
    key: Annotated[str, Meta(description="Reference to its key")] = ""
    server_name: Annotated[bool, Meta(description="Whether the certificate must name the host")] = True


class Broker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One broker."""

    host: Annotated[str, Meta(min_length=1, max_length=255, description="Name or address")]
    port: Annotated[int, Meta(ge=0, le=65535, description="By default 1883, with TLS 8883")] = 0
    username: Annotated[str, Meta(max_length=256, description="Who we are")] = ""
    password: Annotated[str, Meta(description="Reference to the password: `file:NAME` or `env:NAME`")] = ""
    tls: Annotated[Tls | None, Meta(description="`{}` trusts what the system trusts")] = None
    protocol: Annotated[
        Literal["3.1.1", "5"], Meta(description="nats-server speaks 3.1.1 only; 5 has the broker keep to `largest`")
    ] = "3.1.1"
    client_id: Annotated[str, Meta(max_length=128, description="By default a new one for each connection")] = ""
    keepalive: Annotated[int, Meta(ge=1, le=3600, description="Seconds after which a silent link is tested")] = 10
    qos: Annotated[Literal[0, 1], Meta(description="Of subscriptions")] = 1
    spaces: Annotated[
        bool, Meta(description="Whether a topic may have spaces: nats-server closes the connection over one")
    ] = False
    largest: Annotated[
        int, Meta(ge=256, le=16 * 1024 * 1024, description="Bytes of a message; a larger one is not looked at")
    ] = 256 * 1024
    queue: Annotated[int, Meta(ge=16, le=100_000, description="Messages that may wait for us")] = 10_000
    settle_seconds: Annotated[
        float, Meta(gt=0, le=60, description="So long without a retained message, and all were there")
    ] = 1.0
    return_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="After we have come to the broker, so long others may take before they are missed",
        ),
    ] = 30.0
    longest_pause_seconds: Annotated[float, Meta(gt=0, le=3600, description="Between two attempts, at most")] = 30.0

    @property
    def url(self) -> str:
        """For people, and for the brokers that are started for a device."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{with_port(self.host, self.address_port)}"

    @property
    def address_port(self) -> int:
        """The port."""
        return self.port or (8883 if self.tls else 1883)


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    brokers: Annotated[dict[Name, Broker], Meta(max_length=32, description="Brokers by the names for them")] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What only this handler knows of a device."""

    broker: str
    scheme: str
    topic: str
    url: str


Plan = dict[str, dict[str, AnyScheme]]
"""The schemes by their labels, for each broker."""


def plan_of(details: list[MqttDetails]) -> Plan:
    """All that is asked for, once."""
    plan: Plan = {}
    for one in details:
        wanted = plan.setdefault(one.broker, {})
        for scheme in one.schemes():
            known = wanted.get(scheme.label)
            if isinstance(scheme, Sparkplug) and isinstance(known, Sparkplug):
                wanted[scheme.label] = max(scheme, known, key=lambda each: LATE.index(each.late))
            elif known is None:
                wanted[scheme.label] = scheme
    return plan

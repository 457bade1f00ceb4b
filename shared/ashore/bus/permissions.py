"""Who may do what on the bus: one NATS user for each service, allowed only its own subjects.

A user's inbox is private (`_INBOX_<name>`), so that nobody reads another's answers. It may publish its own facts, make
and read its own consumers, and read its own values. Only `admin` declares streams. Devices have no user here at all:
they speak FDO to the services. The command line reads events, and publishes only what people decide: what agents look
for, and that an agent is retired. It may order that a dead letter is tried again, which names the letter and cannot
carry another event.
"""

import msgspec

from ashore.events import DEAD_LETTERS, FACTS, PRESENCE, RENDEZVOUS, STREAMS, stream_of

JSON = dict[str, object]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user of the bus, by what it does there."""

    name: str
    admin: bool = False
    publishes: tuple[str, ...] = ()
    """Names of the events that it publishes."""
    consumes: tuple[str, ...] = ()
    """Names of the events that it consumes, with its own name as durable."""
    keeps: tuple[str, ...] = ()
    """First tokens of the values in RENDEZVOUS that are its own."""
    follows: bool = False
    """Whether it may read every stream of events."""
    amends: bool = False
    """Whether it may order that dead letters are tried again, and delete them."""
    replicas: bool = False
    """Whether its replicas ask one another, on `replica.<name>.<replica>`."""
    reads: tuple[str, ...] = ()
    """Names of the events that it follows, and no others."""
    serves: tuple[str, ...] = ()
    """Subjects on which it answers requests."""
    asks: tuple[str, ...] = ()
    """Subjects on which it asks others."""


USERS: tuple[User, ...] = (
    User(name="admin", admin=True),
    User(
        name="manufacturer",
        publishes=("voucher-issued", "voucher-extended"),
        replicas=True,
    ),
    User(
        name="rendezvous",
        publishes=("owner-registered", "device-redirected"),
        keeps=("rendezvous-blob", "rendezvous-rule"),
        replicas=True,
    ),
    User(
        name="owner",
        # A resale extends the voucher once more, and that is the owner's to do.
        publishes=(
            "voucher-received",
            "voucher-extended",
            "onboarding-started",
            "onboarding-failed",
            "device-onboarded",
        ),
        consumes=("voucher-extended", "device-redirected"),
        replicas=True,
    ),
    User(
        name="discovery",
        publishes=("device-seen", "agent-alive"),
        reads=("configuration-set",),
        serves=("discovery.>", "discovery-agent.>"),
        # Handlers outside the agent's process are told what to look for.
        asks=("discovery-handler.>",),
    ),
    User(
        name="broker-launcher",
        publishes=(
            "instance-added",
            "instance-changed",
            "instance-removed",
            "workload-launched",
            "workload-failed",
            "workload-finished",
            "workload-stopped",
            "configuration-set",
        ),
        reads=(
            "device-seen",
            "agent-alive",
            "configuration-set",
            "instance-added",
            "instance-changed",
            "instance-removed",
            "workload-launched",
            "workload-failed",
            "workload-finished",
            "workload-stopped",
        ),
        serves=("broker-launcher.>",),
    ),
    User(
        name="device-plugin",
        reads=("instance-added", "instance-changed", "instance-removed"),
        # Who uses which slot is decided in one place.
        asks=("broker-launcher.slots.*.*",),
    ),
    User(name="cli", follows=True, amends=True, publishes=("configuration-set", "agent-alive"), asks=("discovery.>",)),
)

ANNOUNCEMENTS = "ashore.v1.>"
"""Where devices say over MQTT that they are there: `ashore/v1/SITE/DEVICE/birth`."""
_READABLE = (FACTS, PRESENCE, DEAD_LETTERS)


def permissions(user: User) -> JSON:
    """Return the user's permissions in the server's own terms."""
    if user.admin:
        return {"publish": ">", "subscribe": ">"}
    inbox = f"_INBOX_{user.name}.>"
    listens = [inbox, *user.serves]
    if user.replicas:
        listens.append(f"replica.{user.name}.*")
    if user.consumes:
        listens.append(f"retry.{user.name}.*")
    return {
        "publish": {"allow": _publishes(user), **({"deny": _of_others(user)} if user.follows else {})},
        "subscribe": {"allow": listens},
        # An answer may go to the inbox of whoever asked, once.
        "allow_responses": {"max": 1, "expires": "1m"},
    }


def _publishes(user: User) -> list[str]:
    allowed = ["$JS.API.INFO", *(f"$JS.API.STREAM.INFO.{stream.name}" for stream in STREAMS)]
    allowed += [f"{name}.>" for name in user.publishes]
    allowed += _consuming(user) + _keeping(user) + _reading(user)
    if user.amends:
        allowed += ["retry.*.*", f"$JS.API.STREAM.MSG.DELETE.{DEAD_LETTERS.name}"]
    if user.replicas:
        allowed.append(f"replica.{user.name}.*")
    return [*allowed, *user.asks]


def _consuming(user: User) -> list[str]:
    if not user.consumes:
        return []
    rights = [right for name in user.consumes for right in _consumer(f"{user.name}-{name}", name)]
    # Its own letters it may write, and read again when it is told to: whatever the consumer's name, the server compares
    # the filter in the subject with the one that is asked for.
    letters = f"dead-letter.{user.name}"
    return [*rights, f"{letters}.*", f"$JS.API.CONSUMER.CREATE.{DEAD_LETTERS.name}.*.{letters}.>"]


def _keeping(user: User) -> list[str]:
    if not user.keeps:
        return []
    rights = [f"$JS.API.STREAM.PURGE.{RENDEZVOUS.name}"]
    for name in user.keeps:
        rights += [f"{name}.>", f"$JS.API.DIRECT.GET.{RENDEZVOUS.name}.{name}.>"]
    return rights


def _reading(user: User) -> list[str]:
    rights = [right for stream in _READABLE for right in _reader(stream.name)] if user.follows else []
    for name in user.reads:
        stream = stream_of([name]).name
        # With its one filter in the subject a reader can be held to that event.
        rights += [f"$JS.API.CONSUMER.CREATE.{stream}.*.{name}.>", f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"]
    return rights


def _consumer(consumer: str, event: str) -> list[str]:
    stream = stream_of([event]).name
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{event}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
        # Servers are about to change the shape of these subjects: domain and account come first in the new one.
        f"$JS.ACK.{stream}.{consumer}.>",
        f"$JS.ACK.*.*.{stream}.{consumer}.>",
    ]


def _reader(stream: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
    ]


def _of_others(user: User) -> list[str]:
    """The consumers of services, which a reader could otherwise change, or empty in their place.

    A right cannot be for names with a beginning, so a reader may make consumers of any name but these.
    """
    names = [(other, event) for other in USERS if other is not user for event in other.consumes]
    taken = [f"{stream_of([event]).name}.{other.name}-{event}" for other, event in names]
    verbs = ("CREATE.{}", "CREATE.{}.>", "MSG.NEXT.{}")
    return [f"$JS.API.CONSUMER.{verb.format(one)}" for one in taken for verb in verbs]


def mqtt_permissions() -> JSON:
    """Return what an MQTT client may do: listen to facts, and announce devices. It sees `/` for `.`.

    What is announced is a hint to discovery and nothing else: no stream keeps it, and no event can be made of it.
    """
    subjects = [*FACTS.subjects, *PRESENCE.subjects, ANNOUNCEMENTS]
    # `voucher-issued/#` also means the level above, and the server asks for both.
    above = [subject.removesuffix(".>") for subject in subjects]
    return {"publish": {"allow": [ANNOUNCEMENTS]}, "subscribe": {"allow": [*subjects, *above, "$MQTT.sub.>"]}}

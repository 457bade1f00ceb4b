"""Who may do what on the bus: one NATS user for each service, allowed only its own subjects.

A user's inbox is private (`_INBOX_<name>`), so that nobody reads another's answers. It may publish its own facts, make
and read its own consumers, and read its own values. Only `admin` declares streams. Devices have no user here at all:
they speak FDO to the services.
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
    User(name="cli", follows=True, publishes=("configuration-set",), asks=("discovery.>",)),
)

_READABLE = (FACTS, PRESENCE, DEAD_LETTERS)


def permissions(user: User) -> JSON:
    """Return the user's permissions in the server's own terms."""
    if user.admin:
        return {"publish": ">", "subscribe": ">"}
    inbox = f"_INBOX_{user.name}.>"
    replicas = [f"replica.{user.name}.*"] if user.replicas else []
    return {
        "publish": {"allow": _publishes(user)},
        "subscribe": {"allow": [inbox, *replicas, *user.serves]},
        # An answer may go to the inbox of whoever asked, once.
        "allow_responses": {"max": 1, "expires": "1m"},
    }


def _publishes(user: User) -> list[str]:
    allowed = ["$JS.API.INFO", *(f"$JS.API.STREAM.INFO.{stream.name}" for stream in STREAMS)]
    allowed += [f"{name}.>" for name in user.publishes]
    for name in user.consumes:
        allowed += _consumer(f"{user.name}-{name}", name)
    if user.consumes:
        allowed.append(f"dead-letter.{user.name}.*")
    for name in user.keeps:
        allowed += [f"{name}.>", f"$JS.API.DIRECT.GET.{RENDEZVOUS.name}.{name}.>"]
    if user.keeps:
        allowed.append(f"$JS.API.STREAM.PURGE.{RENDEZVOUS.name}")
    if user.follows:
        allowed += [right for stream in _READABLE for right in _reader(stream.name)]
    for name in user.reads:
        stream = stream_of([name]).name
        # With its one filter in the subject a reader can be held to that event.
        allowed += [f"$JS.API.CONSUMER.CREATE.{stream}.*.{name}.>", f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"]
    if user.replicas:
        allowed.append(f"replica.{user.name}.*")
    return [*allowed, *user.asks]


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


def mqtt_permissions() -> JSON:
    """Return what an MQTT client may do: listen to facts. An MQTT client sees `/` for `.`."""
    subjects = [*FACTS.subjects, *PRESENCE.subjects]
    # `voucher-issued/#` also means the level above, and the server asks for both.
    above = [subject.removesuffix(".>") for subject in subjects]
    return {"publish": {"deny": [">"]}, "subscribe": {"allow": [*subjects, *above, "$MQTT.sub.>"]}}

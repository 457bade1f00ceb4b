"""How an event travels: a CloudEvents envelope around it, and the dead letter around one that could not be handled."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec
from msgspec import Meta

from ashore.events.discovery import DISCOVERY_EVENTS
from ashore.events.fdo import FDO_EVENTS
from ashore.events.model import Count, Event, EventError, Token
from ashore.events.workloads import WORKLOAD_EVENTS

MAX_EVENT_BYTES = 1024 * 1024
"""No envelope is larger: the payload limit of a NATS server as it is delivered."""

T = TypeVar("T")


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """CloudEvents 1.0 in JSON, structured: the whole event stands in the body, since headers do not survive MQTT."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=256, description="Unique; also the `Nats-Msg-Id`")]
    source: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="Who says so: a service, as in `/owner`, or one replica of it, as in `/rendezvous/<replica>`",
        ),
    ]
    type: Annotated[
        str,
        Meta(
            pattern=r"^dev\.ashore\.[a-z0-9-]+\.v[0-9]+$(?!\n)",
            max_length=256,
            description="Name and version of the event",
        ),
    ]
    subject: Annotated[
        str, Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$(?!\n)", max_length=512, description="The NATS subject")
    ]
    time: Annotated[datetime, Meta(tz=True, description="When it happened: RFC 3339")]
    datacontenttype: Literal["application/json"]
    data: Annotated[msgspec.Raw, Meta(description="The event itself, by its type")]
    traceparent: Annotated[str, Meta(max_length=256, description="W3C Trace Context")] | None = None


class DeadLetter(Event, frozen=True, kw_only=True):
    """A message that a service could not handle, parked for people to look at."""

    name: ClassVar[str] = "dead-letter"
    subject_fields: ClassVar[tuple[str, ...]] = ("durable", "event")
    durable: Annotated[Token, Meta(description="Who gave up")]
    event: Annotated[Token, Meta(description="The event's name")]
    stream: Annotated[str, Meta(max_length=64, description="Where the message still stands")]
    sequence: Annotated[Count, Meta(description="Its place in that stream")]
    attempts: Annotated[int, Meta(ge=1, description="How many times it was delivered")]
    reason: Annotated[str, Meta(max_length=4096, description="Why it could not be handled")]
    envelope: Envelope | None = None
    body: Annotated[str, Meta(description="Where it is no envelope: the first 64 KiB of it, in base64")] | None = None


FACT_EVENTS: tuple[type[Event], ...] = (*FDO_EVENTS, *WORKLOAD_EVENTS)
PRESENCE_EVENTS: tuple[type[Event], ...] = DISCOVERY_EVENTS
EVENTS: tuple[type[Event], ...] = (*FACT_EVENTS, *PRESENCE_EVENTS, DeadLetter)

_EVENTS_BY_TYPE = {event.type(): event for event in EVENTS}
_ENVELOPES = msgspec.json.Decoder(Envelope)


def envelope(
    event: Event,
    *,
    source: str,
    id: str,  # noqa: A002 - the name in CloudEvents
    time: datetime,
    traceparent: str | None = None,
) -> Envelope:
    """Put the event in its envelope; EventError if a field of either breaks the contract."""
    data = msgspec.json.encode(event)
    _checked(data, type(event), event.name)
    wrapped = Envelope(
        specversion="1.0",
        id=id,
        source=source,
        type=event.type(),
        subject=event.subject,
        time=time,
        datacontenttype="application/json",
        data=msgspec.Raw(data),
        traceparent=traceparent,
    )
    return decode(encode(wrapped))


def encode(envelope: Envelope) -> bytes:
    """The body as it is published."""
    return msgspec.json.encode(envelope)


def decode(body: bytes) -> Envelope:
    """Read a body that may come from anyone; EventError says what is wrong with it. The data is not looked into yet."""
    if len(body) > MAX_EVENT_BYTES:
        raise EventError(f"this event has {len(body)} bytes, and {MAX_EVENT_BYTES} is the most that is taken")
    try:
        return _ENVELOPES.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EventError(f"this is no CloudEvents envelope: {error}") from error


def open_event(envelope: Envelope) -> Event:
    """Take the event out; EventError if its type is unknown here, or its data and its subject do not agree."""
    event_type = _EVENTS_BY_TYPE.get(envelope.type)
    if event_type is None:
        raise EventError(f"events of type {envelope.type} are unknown to this release; update this service")
    event = _checked(bytes(envelope.data), event_type, envelope.type)
    if event.subject != envelope.subject:
        raise EventError(f"the data of this event is about {event.subject}, but its subject is {envelope.subject}")
    return event


def _checked(data: bytes, event_type: type[T], label: str) -> T:
    try:
        return msgspec.json.decode(data, type=event_type)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EventError(f"the data of {label} breaks the contract: {error}") from error

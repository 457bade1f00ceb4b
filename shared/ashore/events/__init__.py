"""The contract between the services: every event, its subject, its payload, and the streams that keep them.

An event says what happened, in the past tense, once. Its subject is its name and then the tokens that say to whom:
`voucher-issued.<guid>`. Its body is a CloudEvents 1.0 envelope in JSON. No event ever holds a secret.

This module is pure: identifiers and times are handed in, and how a body travels is `ashore.bus`'s business. The
AsyncAPI document is generated from the Structs below (`ashore.events_asyncapi`), so their descriptions are the manual.
"""

from ashore.events.discovery import (
    AgentAlive,
    ConfigurationSet,
    DeviceNode,
    DeviceSeen,
    HandlerState,
    Match,
    Mode,
    Mount,
    State,
    Value,
    handler_token,
)
from ashore.events.envelopes import (
    EVENTS,
    FACT_EVENTS,
    MAX_EVENT_BYTES,
    PRESENCE_EVENTS,
    DeadLetter,
    Envelope,
    decode,
    encode,
    envelope,
    open_event,
)
from ashore.events.fdo import (
    DeviceOnboarded,
    DeviceRedirected,
    OnboardingFailed,
    OnboardingStarted,
    OwnerRegistered,
    VoucherExtended,
    VoucherIssued,
    VoucherReceived,
)
from ashore.events.model import Event, EventError
from ashore.events.streams import (
    DEAD_LETTERS,
    FACTS,
    PRESENCE,
    RENDEZVOUS,
    STREAMS,
    Stream,
    stream_of,
)
from ashore.events.workloads import (
    InstanceAdded,
    InstanceChanged,
    InstanceNode,
    InstanceRemoved,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadLaunched,
    WorkloadStopped,
    token_of,
)

__all__ = [
    "DEAD_LETTERS",
    "EVENTS",
    "FACTS",
    "FACT_EVENTS",
    "MAX_EVENT_BYTES",
    "PRESENCE",
    "PRESENCE_EVENTS",
    "RENDEZVOUS",
    "STREAMS",
    "AgentAlive",
    "ConfigurationSet",
    "DeadLetter",
    "DeviceNode",
    "DeviceOnboarded",
    "DeviceRedirected",
    "DeviceSeen",
    "Envelope",
    "Event",
    "EventError",
    "HandlerState",
    "InstanceAdded",
    "InstanceChanged",
    "InstanceNode",
    "InstanceRemoved",
    "Match",
    "Mode",
    "Mount",
    "OnboardingFailed",
    "OnboardingStarted",
    "OwnerRegistered",
    "State",
    "Stream",
    "Value",
    "VoucherExtended",
    "VoucherIssued",
    "VoucherReceived",
    "WorkloadFailed",
    "WorkloadFinished",
    "WorkloadLaunched",
    "WorkloadStopped",
    "decode",
    "encode",
    "envelope",
    "handler_token",
    "open_event",
    "stream_of",
    "token_of",
]

"""The AsyncAPI 3.0 document of the bus, made from the events themselves, so that it cannot fall behind them."""

import msgspec

from ashore.events import EVENTS, STREAMS, Envelope, Event, stream_of

_REFERENCE = "#/components/schemas/{name}"


def asyncapi() -> dict[str, object]:
    """Return the document, ready for JSON or YAML."""
    _, schemas = msgspec.json.schema_components((Envelope, *EVENTS), ref_template=_REFERENCE)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:ashore:events",
        "info": {
            "title": "ashore events",
            "version": "1.0.0",
            "description": "Every fact that ashore knows, as CloudEvents 1.0 on NATS. An MQTT client sees `/` for "
            "`.`. Events come at least once: handle them idempotently, by `id`.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {"host": "localhost:4222", "protocol": "nats"},
            "mqtt": {"host": "localhost:1883", "protocol": "mqtt", "protocolVersion": "3.1.1"},
        },
        "channels": {event.name: _channel(event) for event in EVENTS},
        "operations": {f"on-{event.name}": _operation(event) for event in EVENTS},
        "components": {"messages": {event.__name__: _message(event) for event in EVENTS}, "schemas": schemas},
        "x-streams": [msgspec.to_builtins(stream) for stream in STREAMS],
    }


def _channel(event: type[Event]) -> dict[str, object]:
    return {
        "address": ".".join((event.name, *(f"{{{field}}}" for field in event.subject_fields))),
        "description": f"{_summary(event)} Kept in the stream {stream_of([event.name]).name}.",
        "parameters": {field: {"description": _description(event, field)} for field in event.subject_fields},
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
    }


def _operation(event: type[Event]) -> dict[str, object]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{event.name}"},
        "messages": [{"$ref": f"#/channels/{event.name}/messages/{event.__name__}"}],
    }


def _message(event: type[Event]) -> dict[str, object]:
    return {
        "name": event.type(),
        "title": event.__name__,
        "summary": _summary(event),
        "contentType": "application/cloudevents+json",
        "payload": {
            "allOf": [
                {"$ref": _REFERENCE.format(name=Envelope.__name__)},
                {
                    "properties": {
                        "type": {"const": event.type()},
                        "data": {"$ref": _REFERENCE.format(name=event.__name__)},
                    }
                },
            ]
        },
    }


def _summary(event: type[Event]) -> str:
    return (event.__doc__ or event.name).strip()


def _description(event: type[Event], field: str) -> str:
    known = msgspec.json.schema_components((event,))[1][event.__name__]["properties"]
    if field not in known:
        # A part of the subject that is made from another field: what it is, its own docstring says.
        return str(getattr(event, field).__doc__)
    return str(known[field].get("description", field))

"""What a configuration says to one of Akri's handlers, and what is asked of the handler because of it.

Akri's own form is taken as it is: `discoveryDetails`, which only the handler understands, and `discoveryProperties`.
Whatever else the details are is sent as `discoveryDetails`, in JSON: handlers read YAML, and JSON is YAML.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.handler import HandlerError

MOST_PROPERTIES: Final = 256
_NAME: Final = r"^[_A-Za-z][_A-Za-z0-9]*$(?!\n)"
_AKRIS: Final = {"discoveryDetails", "discoveryProperties"}


class Property(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """One of `discoveryProperties`: a value, or a reference to a secret, or nothing but its name."""

    name: Annotated[str, Meta(pattern=_NAME, max_length=256)]
    value: Annotated[str | None, Meta(description="As it is")] = None
    secret: Annotated[str | None, Meta(description="`file:NAME` or `env:NAME`; instead of Akri's `valueFrom`")] = None
    optional: Annotated[bool, Meta(description="Whether a secret that cannot be read is left out")] = False


class Details(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say: this form of Akri's, or anything else, which is sent as `discoveryDetails`."""

    discoveryDetails: Annotated[  # noqa: N815 - as Akri writes it
        str | dict[str, Any], Meta(description="For the handler alone: a text, or what is sent as JSON")
    ] = ""
    discoveryProperties: Annotated[  # noqa: N815 - as Akri writes it
        list[Property], Meta(max_length=MOST_PROPERTIES, description="Values beside the details, secrets above all")
    ] = []


class AkriSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say of one of Akri's handlers, under its name."""

    silence_seconds: Annotated[
        float, Meta(ge=0, le=86400, description="Who has sent no list for so long has found nothing; 0: never")
    ] = 60.0


class Anything(msgspec.Struct, frozen=True, kw_only=True):
    """Details as they were written."""

    raw: dict[str, Any] = {}


class Query(msgspec.Struct, frozen=True, order=True):
    """What is asked of a handler: configurations that say the same share one stream."""

    details: str
    properties: tuple[Property, ...] = ()

    def opened(self, secret: Callable[[str], str]) -> dict[str, bytes | None]:
        """The properties with their secrets; raise HandlerError where one is missing that must not be."""
        found: dict[str, bytes | None] = {}
        for one in self.properties:
            if one.secret is None:
                found[one.name] = None if one.value is None else one.value.encode()
                continue
            try:
                found[one.name] = secret(one.secret).encode()
            except HandlerError:
                if not one.optional:
                    raise
        return found


def query_of(raw: dict[str, Any]) -> Query:
    """What these details ask; raise ConfigurationError."""
    if not raw.keys() & _AKRIS:
        return Query(_text(raw) if raw else "")
    details = read(Details, raw, "details")
    for one in details.discoveryProperties:
        if one.value is not None and one.secret is not None:
            raise ConfigurationError([f"details.discoveryProperties: '{one.name}' has a value and a secret"])
    names = [one.name for one in details.discoveryProperties]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError([f"details.discoveryProperties has {', '.join(twice)} twice"])
    return Query(_text(details.discoveryDetails), tuple(sorted(details.discoveryProperties)))


def _text(details: str | dict[str, Any]) -> str:
    return details if isinstance(details, str) else msgspec.json.encode(details, order="sorted").decode()

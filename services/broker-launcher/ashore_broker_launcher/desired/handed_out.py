"""What the agents of a site are told of a configuration: the document of `configuration-set`. Pure.

Our own handlers get their details as an object. For all others that are Akri's business: the text as it was written,
with `discoveryProperties` beside it, in Akri's order of places: the value, a ConfigMap's `data`, its `binaryData`, a
Secret. ConfigMaps are read for this; Secrets never are: an agent gets a reference, and looks for the file in its folder
of secrets.
"""

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec

from ashore.events import handler_token
from ashore_broker_launcher.cluster import JsonObject, Key
from ashore_broker_launcher.desired.details import DetailsError, read
from ashore_broker_launcher.model import Configuration, DiscoveryProperty, KeyReference
from ashore_broker_launcher.names import bus_name

DETAILS: Final = "spec.discoveryHandler.discoveryDetails"
PROPERTIES: Final = "spec.discoveryHandler.discoveryProperties"
_TAKES_PROPERTIES: Final = "discoveryProperties"
_REFERENCES: Final = ("file:", "env:")
_PASSED_ON: Final = ("match", "departure", "identity", "nodes")


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What the document depends on beside the configuration."""

    handlers: Mapping[str, Collection[str]] = {}
    """Our own handlers, and which names their details may have; all others are Akri's."""
    config_maps: Mapping[Key, JsonObject] | None = None
    """All that `references` names and that exist; None leaves them unread, where only the form is looked at."""
    shared_namespaces: Collection[str] = ()
    """Whose Secrets and ConfigMaps every configuration may name, beside those of its own namespace."""


class HandedOut(msgspec.Struct, frozen=True, kw_only=True):
    """The document, or why there is none."""

    document: JsonObject | None = None
    problems: list[str] = []
    """What is wrong with the configuration, a sentence each."""
    missing: list[str] = []
    """What it refers to and is not there yet, a sentence each: look again when ConfigMaps change."""


class _Value(msgspec.Struct, frozen=True):
    """What a property comes to: a text, a reference to a file, or nothing but its name."""

    text: str | None = None
    secret: str | None = None


def references(configuration: Configuration) -> set[Key]:
    """The ConfigMaps that it names."""
    found = (_reference(one, secret=False) for one in _properties(configuration))
    return {(one.namespace, one.name) for one in found if one is not None}


def handed_out(configuration: Configuration, world: World) -> HandedOut:
    """What agents are told of it."""
    handler = handler_token(configuration.spec.discovery_handler.name)
    if not handler:
        return HandedOut(problems=["spec.discoveryHandler.name has neither a letter nor a digit"])
    problems: list[str] = []
    missing: list[str] = []
    values = _values(configuration, world, problems, missing)
    details = _details(configuration, world, handler, values, problems)
    if handler in world.handlers:
        own = configuration.metadata.namespace
        problems += [
            f"spec.discoveryHandler refers to '{one}': what is secret is taken from the configuration's own namespace, "
            f"by a secretKeyRef or as file:{own}.NAME.KEY, or from ASHORE_SHARED_NAMESPACES of the launcher"
            for one in _strangers(details, (own, *world.shared_namespaces))
        ]
    if problems or missing:
        return HandedOut(problems=problems, missing=missing)
    namespace, name = configuration.key
    document: JsonObject = {"name": bus_name(namespace, name), "handler": handler, "details": details}
    for field in _PASSED_ON:
        value = getattr(configuration.spec, field)
        if value:
            document[field] = value
    return HandedOut(document=document)


def _details(
    configuration: Configuration, world: World, handler: str, values: dict[str, _Value], problems: list[str]
) -> JsonObject:
    text = configuration.spec.discovery_handler.discovery_details
    if handler not in world.handlers:
        return _akris(configuration, text, values)
    try:
        details = read(text)
    except DetailsError as error:
        problems.append(f"{DETAILS}: {error}")
        return {}
    if not values or _TAKES_PROPERTIES not in world.handlers[handler]:
        return details
    said = details.get(_TAKES_PROPERTIES) or {}
    if not isinstance(said, dict):
        return details
    told = {name: value.text if value.text is not None else value.secret for name, value in values.items()}
    return {**details, _TAKES_PROPERTIES: {**said, **{name: one for name, one in told.items() if one is not None}}}


def _strangers(part: object, namespaces: Collection[str]) -> Iterator[str]:
    """References, wherever they stand, to what is not of these namespaces: our handlers would follow them."""
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _strangers(one, namespaces)
    elif isinstance(part, str) and part.startswith(_REFERENCES):
        own = any(part.startswith(f"file:{one}.") for one in namespaces)
        if not own or "/" in part:
            yield part[:64]


def _akris(configuration: Configuration, text: str, values: dict[str, _Value]) -> JsonObject:
    optional = {one.name for one in _properties(configuration) if _is_optional(one)}
    told: list[JsonObject] = []
    for name, value in values.items():
        one: JsonObject = {"name": name}
        if value.text is not None:
            one["value"] = value.text
        elif value.secret is not None:
            one |= {"secret": value.secret, **({"optional": True} if name in optional else {})}
        told.append(one)
    return {"discoveryDetails": text, **({_TAKES_PROPERTIES: told} if told else {})}


def _values(configuration: Configuration, world: World, problems: list[str], missing: list[str]) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    for index, one in enumerate(_properties(configuration)):
        wrong = list(_wrong(one, configuration.metadata.namespace, world.shared_namespaces))
        if one.name in found:
            wrong.append("is there twice")
        if wrong:
            problems += [f"{PROPERTIES}[{index}] '{one.name[:64]}' {why}" for why in wrong]
            continue
        try:
            value = _value(one, world.config_maps)
        except _MissingError as error:
            missing.append(f"{PROPERTIES}[{index}] '{one.name[:64]}': {error}")
            continue
        if value is not None:
            found[one.name] = value
    return found


class _MissingError(Exception):
    """What a property refers to cannot be used as it is; the text says why."""


def _wrong(one: DiscoveryProperty, own: str, shared: Collection[str]) -> Iterator[str]:
    if one.value is not None and one.value_from is not None:
        yield "has a value and a valueFrom: keep one"
    if one.value_from is None:
        return
    given = [part for part in (one.value_from.secret_key_ref, one.value_from.config_map_key_ref) if part is not None]
    if len(given) != 1:
        yield "needs exactly one of secretKeyRef and configMapKeyRef in its valueFrom"
    for reference in given:
        if not reference.key:
            yield f"names no key of '{reference.name[:64]}'"
        if "/" in f"{reference.namespace}{reference.name}{reference.key}":
            yield "has a slash in a name"
        if reference.namespace != own and reference.namespace not in shared:
            yield (
                f"refers to the namespace '{reference.namespace[:64]}', and the configuration is in '{own}': add "
                f"`namespace: {own}`, or name the other in the launcher's ASHORE_SHARED_NAMESPACES"
            )


def _value(one: DiscoveryProperty, config_maps: Mapping[Key, JsonObject] | None) -> _Value | None:
    """What it comes to; None where it is optional and not there. Raise _MissingError."""
    if one.value is not None or one.value_from is None:
        return _Value(text=one.value)
    secret = _reference(one, secret=True)
    if secret is not None:
        return _Value(secret=f"file:{secret.namespace}.{secret.name}.{secret.key}")
    reference = _reference(one, secret=False)
    if reference is None or config_maps is None:
        return _Value()
    try:
        return _Value(text=_text(reference, config_maps.get((reference.namespace, reference.name))))
    except KeyError as error:
        if reference.optional:
            return None
        raise _MissingError(str(error.args[0])) from error


def _text(reference: KeyReference, config_map: JsonObject | None) -> str:
    """A key of a ConfigMap; raise KeyError with why not, or _MissingError where it can never be sent."""
    place = f"ConfigMap '{reference.name}' in '{reference.namespace}'"
    if config_map is None:
        raise KeyError(f"there is no {place}")
    text = (config_map.get("data") or {}).get(reference.key)
    if text is not None:
        return str(text)
    binary = (config_map.get("binaryData") or {}).get(reference.key)
    if binary is None:
        raise KeyError(f"the {place} has no key '{reference.key}'")
    try:
        return base64.b64decode(str(binary), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _MissingError(
            f"the key '{reference.key}' of the {place} is not text, and nothing else is sent"
        ) from error


def _properties(configuration: Configuration) -> list[DiscoveryProperty]:
    return configuration.spec.discovery_handler.discovery_properties or []


def _reference(one: DiscoveryProperty, *, secret: bool) -> KeyReference | None:
    if one.value is not None or one.value_from is None:
        return None
    return one.value_from.secret_key_ref if secret else one.value_from.config_map_key_ref


def _is_optional(one: DiscoveryProperty) -> bool:
    secret = _reference(one, secret=True)
    return secret is not None and secret.optional

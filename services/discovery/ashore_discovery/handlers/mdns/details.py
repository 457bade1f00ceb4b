"""What a configuration may say, and whether a service is what it wants."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ashore.events import Value
from ashore_discovery.handlers.globs import Glob, fits
from ashore_discovery.handlers.mdns.presets import KINDS, Preset
from ashore_discovery.handlers.mdns.service import SUBTYPE
from ashore_discovery.model import Facts

SERVICE_TYPE: Final = re.compile(
    r"_(?=[0-9_-]*[a-z])(?!\S*--)[a-z0-9](?:[a-z0-9_-]{0,60}[a-z0-9])?\._(?:tcp|udp)", re.IGNORECASE
)
"""RFC 6763, section 7, without its 15 characters and with underscores: makers took neither seriously."""
_SUBTYPE: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}", re.IGNORECASE)
_Value = Annotated[str, Meta(max_length=256)]


class TxtRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition on one key of the TXT record; exactly one of `equals`, `glob` and `present`."""

    key: Annotated[str, Meta(min_length=1, max_length=64, description="Whatever its case")]
    equals: Annotated[_Value | None, Meta(description="Its value is this, whatever its case")] = None
    glob: Annotated[_Value | None, Meta(description="Its value looks like this: `Axis*`")] = None
    present: Annotated[bool | None, Meta(description="Whether the key is there at all")] = None


class MdnsDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a configuration may say."""

    services: Annotated[
        list[Annotated[str, Meta(max_length=160)]],
        Meta(max_length=64, description="Service types: `_http._tcp`; or subtypes: `_universal._sub._ipp._tcp`"),
    ] = []
    presets: Annotated[
        list[Preset], Meta(max_length=32, description="Kinds of devices, where service types are not known by heart")
    ] = []
    names: Annotated[
        list[Glob], Meta(max_length=64, description="The instance's name looks like one of these: `Gate *`")
    ] = []
    exclude_names: Annotated[
        list[Glob], Meta(max_length=64, description="The instance's name looks like none of these")
    ] = []
    txt: Annotated[list[TxtRule], Meta(max_length=64, description="All of these hold for the TXT record")] = []


class MdnsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    check_seconds: Annotated[
        float, Meta(ge=0, description="How often each host is asked whether it is there; 0 is never")
    ] = 1.5
    all_types: Annotated[
        bool, Meta(description="Browse every service type that anybody announces, for the inventory")
    ] = False
    most_services: Annotated[int, Meta(ge=1, le=50_000, description="So many are looked at on each interface")] = 2000


def service_type(text: str) -> str:
    """In its one spelling: people write `_HTTP._tcp.local.`, too."""
    return text.strip().lower().removesuffix(".").removesuffix(".local")


def types_of(details: Sequence[MdnsDetails]) -> frozenset[str]:
    """All service types that these configurations need."""
    named = {service_type(text) for one in details for text in one.services}
    return frozenset(named | {text for one in details for preset in one.presets for text in KINDS[preset].services})


def problems_of(details: MdnsDetails) -> Iterator[str]:
    """What is wrong beyond types, a sentence each."""
    if not details.services and not details.presets:
        yield "it looks for nothing: add service types to 'services', or 'presets'"
    for text in details.services:
        own, subtyped, kind = service_type(text).rpartition(SUBTYPE)
        if not SERVICE_TYPE.fullmatch(kind) or (subtyped and not _SUBTYPE.fullmatch(own)):
            yield f"'{text}' is no service type: write _name._tcp or _name._udp, or _subtype._sub._name._tcp"
    for rule in details.txt:
        given = [name for name in ("equals", "glob", "present") if getattr(rule, name) is not None]
        if len(given) != 1:
            yield f"the rule for the TXT key '{rule.key}' needs exactly one of equals, glob, present"


def refusal(details: MdnsDetails, facts: Facts) -> str | None:
    """Why the service is not what the configuration wants; None where it is."""
    found, name = str(facts.get("type", "")), str(facts.get("name", ""))
    if not _kind_fits(details, found, name, facts.get("subtypes")):
        return f"'{found}' is none of its service types"
    if details.names and not any(fits(name, pattern) for pattern in details.names):
        return f"its name is '{name[:80]}', not like {', '.join(details.names)}"
    excluded = next((pattern for pattern in details.exclude_names if fits(name, pattern)), None)
    if excluded is not None:
        return f"its name is '{name[:80]}', and {excluded} is excluded"
    wrong = (_wrong(rule, facts) for rule in details.txt)
    return next((why for why in wrong if why is not None), None)


def _kind_fits(details: MdnsDetails, found: str, name: str, subtypes: Value | None) -> bool:
    own = subtypes if isinstance(subtypes, list) else []
    if {found, *(f"{one}{SUBTYPE}{found}" for one in own)} & set(map(service_type, details.services)):
        return True
    kinds = (KINDS[preset] for preset in details.presets)
    return any(found in kind.services and fits(name, kind.names.get(found, "*")) for kind in kinds)


def _wrong(rule: TxtRule, facts: Facts) -> str | None:
    """Why a rule does not hold; None where it does."""
    key = rule.key.lower()
    value = facts.get(f"txt.{key}")
    if rule.present is not None:
        there = value is not None
        return None if there is rule.present else f"the TXT key {key} is {'there' if there else 'not there'}"
    if value is None:
        return f"the TXT key {key} is not known"
    if rule.glob is not None:
        return None if fits(str(value), rule.glob) else f"the TXT key {key} is '{str(value)[:80]}', not {rule.glob}"
    same = str(value).casefold() == (rule.equals or "").casefold()
    return None if same else f"the TXT key {key} is '{str(value)[:80]}', not {rule.equals}"

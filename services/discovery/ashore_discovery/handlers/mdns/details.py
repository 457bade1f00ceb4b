"""What a configuration may say, and whether a service is what it wants."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.mdns.presets import KINDS, Preset
from ashore_discovery.model import Facts

SERVICE_TYPE: Final = re.compile(
    r"_(?=[0-9_-]*[a-z])(?!\S*--)[a-z0-9](?:[a-z0-9_-]{0,60}[a-z0-9])?\._(?:tcp|udp)", re.IGNORECASE
)
"""RFC 6763, section 7, without its 15 characters and with underscores: makers took neither seriously."""
_Value = Annotated[str, Meta(max_length=256)]
_Glob = Annotated[str, Meta(min_length=1, max_length=256)]


class TxtRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A condition on one key of the TXT record; exactly one of `equals`, `glob` and `present`."""

    key: Annotated[str, Meta(min_length=1, max_length=64, description="Whatever its case")]
    equals: Annotated[_Value | None, Meta(description="Its value is this, whatever its case")] = None
    glob: Annotated[_Value | None, Meta(description="Its value looks like this: `Axis*`")] = None
    present: Annotated[bool | None, Meta(description="Whether the key is there at all")] = None


class MdnsDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a configuration may say."""

    services: Annotated[
        list[Annotated[str, Meta(max_length=64)]], Meta(max_length=64, description="Service types: `_http._tcp`")
    ] = []
    presets: Annotated[
        list[Preset], Meta(max_length=32, description="Kinds of devices, where service types are not known by heart")
    ] = []
    names: Annotated[
        list[_Glob], Meta(max_length=64, description="The instance's name looks like one of these: `Gate *`")
    ] = []
    exclude_names: Annotated[
        list[_Glob], Meta(max_length=64, description="The instance's name looks like none of these")
    ] = []
    txt: Annotated[list[TxtRule], Meta(max_length=64, description="All of these hold for the TXT record")] = []


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
        if not SERVICE_TYPE.fullmatch(service_type(text)):
            yield f"'{text}' is no service type: write _name._tcp or _name._udp"
    for rule in details.txt:
        given = [name for name in ("equals", "glob", "present") if getattr(rule, name) is not None]
        if len(given) != 1:
            yield f"the rule for the TXT key '{rule.key}' needs exactly one of equals, glob, present"


def refusal(details: MdnsDetails, facts: Facts) -> str | None:
    """Why the service is not what the configuration wants; None where it is."""
    found, name = str(facts.get("type", "")), str(facts.get("name", ""))
    if not _kind_fits(details, found, name):
        return f"'{found}' is none of its service types"
    if details.names and not any(_like(name, pattern) for pattern in details.names):
        return f"its name is '{name[:80]}', not like {', '.join(details.names)}"
    excluded = next((pattern for pattern in details.exclude_names if _like(name, pattern)), None)
    if excluded is not None:
        return f"its name is '{name[:80]}', and {excluded} is excluded"
    wrong = (_wrong(rule, facts) for rule in details.txt)
    return next((why for why in wrong if why is not None), None)


def _kind_fits(details: MdnsDetails, found: str, name: str) -> bool:
    if any(service_type(text) == found for text in details.services):
        return True
    kinds = (KINDS[preset] for preset in details.presets)
    return any(found in kind.services and _like(name, kind.names.get(found, "*")) for kind in kinds)


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
        return None if _like(str(value), rule.glob) else f"the TXT key {key} is '{str(value)[:80]}', not {rule.glob}"
    same = str(value).casefold() == (rule.equals or "").casefold()
    return None if same else f"the TXT key {key} is '{str(value)[:80]}', not {rule.equals}"


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text.casefold(), pattern.casefold())

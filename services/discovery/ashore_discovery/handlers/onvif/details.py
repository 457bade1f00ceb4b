"""What a configuration of the handler `onvif` may say, as in Akri, and what the node's file may. Pure."""

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.onvif import credentials
from ashore_discovery.model import Facet, Offer, Refusal

Properties = dict[str, Annotated[str, Meta(max_length=4096)]]
_PROPERTIES_HELP: Final = (
    "Users and passwords under Akri's keys: `username_default`, `password_default`, `username_UUID` and "
    "`password_UUID` with `_` for `-`, `device_credential_list`, `device_credential_ref_list`. A password is a "
    "reference: `file:NAME` or `env:NAME`"
)


class FilterList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Akri's filter: only these, or all but these."""

    action: Annotated[Literal["Include", "Exclude"], Meta(description="Only these, or all but these")] = "Include"
    items: Annotated[list[Annotated[str, Meta(max_length=1024)]], Meta(max_length=1024)] = []


class OnvifDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What a configuration may say: the same as in Akri."""

    ip_addresses: Annotated[FilterList, Meta(description="Its addresses")] | None = None
    mac_addresses: Annotated[FilterList, Meta(description="Its hardware addresses, whatever their case")] | None = None
    scopes: (
        Annotated[FilterList, Meta(description="Its scopes, as a whole: `onvif://www.onvif.org/type/ptz`")] | None
    ) = None
    uuids: Annotated[FilterList, Meta(description="Its UUIDs, with or without `urn:uuid:`")] | None = None
    discovery_timeout_seconds: Annotated[
        float, Meta(gt=0, le=60, description="How long answers to a look around are waited for")
    ] = 1.0
    discovery_properties: Annotated[Properties, Meta(max_length=2048, description=_PROPERTIES_HELP)] = {}


class OnvifSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    probe_seconds: Annotated[
        float, Meta(ge=1, description="How often it looks around, for devices that do not say hello")
    ] = 15.0
    check_seconds: Annotated[
        float, Meta(ge=0.5, description="How often each device is asked whether it is there, where there are few")
    ] = 1.0
    enrich: Annotated[bool, Meta(description="Whether devices are asked for maker, model, firmware and addresses")] = (
        True
    )
    ipv6: Annotated[bool, Meta(description="Whether it also listens and asks over IPv6")] = True
    credentials: Annotated[
        Properties, Meta(max_length=2048, description=f"For all configurations. {_PROPERTIES_HELP}")
    ] = {}


def problems(details: OnvifDetails) -> Iterable[str]:
    """What is wrong with it, a sentence each."""
    yield from credentials.problems(details.discovery_properties)
    for address in details.mac_addresses.items if details.mac_addresses else ():
        if not re.fullmatch(r"([0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}", address):
            yield f"macAddresses: '{address[:64]}' is no hardware address"


def offer(details: OnvifDetails, facet: Facet) -> Offer | Refusal:
    """A device that passes all filters, with what Akri's brokers know."""
    facts = facet.facts
    checks: tuple[tuple[str, FilterList | None, list[str], Callable[[str], str]], ...] = (
        ("address", details.ip_addresses, _listed(facts.get("addresses")), str.lower),
        ("hardware address", details.mac_addresses, _listed(facts.get("mac")), _plain_mac),
        ("scope", details.scopes, _listed(facts.get("scopes")), str),
        ("UUID", details.uuids, _listed(facts.get("uuid")), _plain_uuid),
    )
    for what, wanted, values, plain in checks:
        why = _refused(what, wanted, {plain(value) for value in values}, plain)
        if why:
            return Refusal(why)
    named = {
        "ONVIF_DEVICE_SERVICE_URL": facts.get("url"),
        "ONVIF_DEVICE_UUID": facts.get("uuid"),
        "ONVIF_DEVICE_IP_ADDRESS": facts.get("ip"),
        "ONVIF_DEVICE_MAC_ADDRESS": facts.get("mac"),
    }
    return Offer(properties={name: value for name, value in named.items() if isinstance(value, str)})


def _refused(what: str, wanted: FilterList | None, values: set[str], plain: Callable[[str], str]) -> str | None:
    if wanted is None or (wanted.action == "Exclude" and not wanted.items):
        return None
    if not values and what == "hardware address":
        # Akri, too, leaves out a device that it cannot judge.
        return "its hardware address is not known: it has not been asked yet, does not tell, or wants credentials"
    named = values & {plain(item) for item in wanted.items}
    if wanted.action == "Include":
        return None if named else f"no {what} of it is included: {', '.join(sorted(values))[:300] or 'it has none'}"
    return f"its {what} is excluded: {', '.join(sorted(named))[:300]}" if named else None


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _plain_mac(text: str) -> str:
    return re.sub(r"[:.-]", "", text.lower())


def _plain_uuid(text: str) -> str:
    return text.strip().lower().removeprefix("urn:").removeprefix("uuid:")

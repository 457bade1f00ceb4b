"""A service as its records tell it: what is kept of them, its facts, its identity.

Everything in here comes from strangers. A name, a key or a value that is not what RFC 6763 allows is left out, and the
rest is kept: a printer with one odd key is a printer.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from ashore_discovery.handlers.mdns.presets import KNOWN, Known
from ashore_discovery.model import Facts, Identity

LARGEST_TXT: Final = 8192
MOST_PAIRS: Final = 96
LONGEST_KEY: Final = 64
MOST_ADDRESSES: Final = 8
LONGEST_NAME: Final = 255
SUBTYPE: Final = "._sub."
_MAC_AT_END: Final = re.compile(r"[0-9a-fA-F]{12}$")
_NOT_FOR_VARIABLES: Final = re.compile(r"[^A-Z0-9]+")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of a service type."""

    name: str
    type: str
    host: str = ""
    port: int = 0
    txt: dict[str, str] | None = None
    addresses: list[str] = []
    subtypes: tuple[str, ...] = ()
    """Those that somebody looks for: `_universal` of `_universal._sub._ipp._tcp`."""

    @property
    def types(self) -> set[str]:
        """Everything that may be looked for so that it is found."""
        return {self.type, *(f"{one}{SUBTYPE}{self.type}" for one in self.subtypes)}

    @property
    def id(self) -> str:
        """Names of DNS are the same whatever their case."""
        return f"{self.name}.{self.type}.local".lower()

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to ask for."""
        return bool(self.host) and self.txt is not None and bool(self.addresses)


def read_txt(data: bytes) -> dict[str, str]:
    """The pairs of a TXT record, keys in lower case; the first of several wins, as RFC 6763, section 6.4 says."""
    found: dict[str, str] = {}
    data, at = data[:LARGEST_TXT], 0
    while at < len(data) and len(found) < MOST_PAIRS:
        part = data[at + 1 : at + 1 + data[at]]
        # What is cut off says something else than what was meant.
        whole = len(part) == data[at]
        at += 1 + data[at]
        key, _, value = part.partition(b"=")
        if whole and key and len(key) <= LONGEST_KEY and key.isascii() and key.decode("ascii").isprintable():
            found.setdefault(key.decode("ascii").lower(), _text(value))
    return found


def _text(value: bytes) -> str:
    """As text where it is one; otherwise in hexadecimal, so that it fits into a variable of a broker."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return f"0x{value.hex()}"
    return text if text.isprintable() else f"0x{value.hex()}"


def read_name(alias: str, service: str) -> str | None:
    """The instance's name out of `Name._type._tcp.local.`; None where it is not one of this type."""
    suffix = f".{service}.local."
    name = alias[: -len(suffix)]
    fits = len(alias) <= LONGEST_NAME and alias.lower().endswith(suffix)
    return name if fits and name and name.isprintable() else None


def read_host(server: str) -> str:
    """A host's name; empty where it is none."""
    return server.rstrip(".") if len(server) <= LONGEST_NAME and server.isprintable() else ""


def read_addresses(packed: Iterable[bytes], interface: str | None) -> list[str]:
    """Addresses that a device can have, IPv4 first; those that hold on one link only name its interface."""
    found: list[tuple[int, str]] = []
    for one in packed:
        if len(one) not in (4, 16):
            continue
        address = ipaddress.ip_address(one)
        if address.is_unspecified or address.is_multicast or address.is_loopback:
            continue
        local = address.version == 6 and address.is_link_local  # noqa: PLR2004 - the version of IP
        scope = f"%{interface}" if local and interface else ""
        found.append((address.version + local, f"{address}{scope}"))
    return [text for _, text in sorted(set(found))][:MOST_ADDRESSES]


def facts_of(service: Service) -> Facts:
    """What filters may look at."""
    found: Facts = {"name": service.name, "type": service.type}
    if service.subtypes:
        found["subtypes"] = list(service.subtypes)
    if service.host:
        found |= {"host": service.host, "port": service.port}
    if service.addresses:
        found |= {"ip": service.addresses[0], "addresses": list(service.addresses)}
    known, txt = KNOWN.get(service.type, Known()), service.txt or {}
    if known.vendor:
        found["vendor"] = known.vendor
    for fact, keys in known.facts.items():
        value = _first(txt, keys)
        if value:
            found[fact] = value
    return found | {f"txt.{key}": value for key, value in txt.items()}


def identity_of(service: Service) -> Identity:
    """What its maker calls unique where that is known; and in any case its name, together with its host."""
    known, txt = KNOWN.get(service.type, Known()), service.txt or {}
    found: Identity = {}
    for kind, keys in known.identity.items():
        value = _first(txt, keys)
        if value:
            found[kind] = value
    in_name = _MAC_AT_END.search(service.name) if known.mac_in_name else None
    if in_name:
        found.setdefault("mac", in_name[0])
    if found and service.addresses:
        # Without the port: services of one device are not two devices with the same hardware address.
        found["address"] = service.addresses[0]
    if service.host:
        found["application"] = f"dns-sd:{service.name}@{service.host}"
    return found


def endpoints_of(service: Service) -> list[str]:
    """Where it can be reached."""
    known = KNOWN.get(service.type, Known())
    scheme = known.scheme or service.type.rpartition("._")[2]
    path = (service.txt or {}).get(known.path or "", "").lstrip("/")
    return [f"{scheme}://{_bracketed(one)}:{service.port}/{path}".rstrip("/") for one in service.addresses]


def properties_of(facts: Facts) -> dict[str, str]:
    """What a broker gets."""
    found: dict[str, str] = {}
    for fact, variable in _VARIABLES.items():
        if fact in facts:
            found[variable] = str(facts[fact])
    addresses = facts.get("addresses")
    if isinstance(addresses, list):
        found["MDNS_ADDRESSES"] = ",".join(addresses)
    for fact, value in sorted(facts.items()):
        variable = _NOT_FOR_VARIABLES.sub("_", fact.upper()) if fact.startswith("txt.") else ""
        if variable:
            found.setdefault(variable, str(value))
    return found


_VARIABLES: Final = {
    "name": "MDNS_NAME",
    "type": "MDNS_TYPE",
    "host": "MDNS_HOST",
    "port": "MDNS_PORT",
    "ip": "MDNS_ADDRESS",
}


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _first(txt: dict[str, str], keys: Iterable[str]) -> str | None:
    return next((txt[key] for key in keys if txt.get(key)), None)

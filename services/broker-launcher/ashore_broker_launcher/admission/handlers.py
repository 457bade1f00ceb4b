"""What our own handlers understand, from `handler_schemas.json`, which `make docs` writes from their code.

A handler that is not among them is no mistake: Akri's and other people's register while agents run.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Final

import msgspec

from ashore_broker_launcher.admission import udev
from ashore_broker_launcher.admission.filters import filter_problems
from ashore_broker_launcher.admission.schemas import Schema
from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.handed_out import DETAILS, PROPERTIES

FILE: Final = "handler_schemas.json"
_MAC: Final = re.compile(r"([0-9A-Fa-f]{2}[:-]?){5}[0-9A-Fa-f]{2}")
_OPCUA: Final = re.compile(r"opc\.tcp://[^/\s]+.*")
_SECRETS: Final = "password_"  # the beginning of a name
_REFERENCES: Final = ("file:", "env:")


class _Document(msgspec.Struct, frozen=True):
    configuration: JsonObject
    details: dict[str, JsonObject]


@functools.cache
def _schemas() -> tuple[Schema, dict[str, Schema]]:
    document = msgspec.json.decode(files(__package__).joinpath(FILE).read_bytes(), type=_Document)
    return Schema(document.configuration), {name: Schema(one) for name, one in document.details.items()}


@functools.cache
def known() -> Mapping[str, frozenset[str]]:
    """Our own handlers, and which names their details may have."""
    return {name: schema.fields for name, schema in _schemas()[1].items()}


def problems(document: JsonObject) -> Iterator[str]:
    """What agents would refuse of a document that they are handed."""
    whole, by_name = _schemas()
    form = whole.problems({**document, "details": {}}, "spec")
    yield from form or filter_problems(document.get("match"))
    details, handler = document["details"], document["handler"]
    schema = by_name.get(handler)
    if schema is None:
        return
    found = schema.problems(details, DETAILS)
    if handler == "udev" and any(one.startswith(f"{DETAILS}.permissions") for one in found):
        # Akri's own words, which people and scripts look for.
        found = [f"{udev.BAD_PERMISSIONS}: {one}" for one in found]
    yield from found
    if not found:
        yield from _RULES.get(handler, _no_rules)(details)


def _no_rules(_details: JsonObject) -> Iterator[str]:
    yield from ()


def _udev(details: JsonObject) -> Iterator[str]:
    for index, rule in enumerate(details["udevRules"]):
        problem = udev.problem(rule)
        if problem:
            yield f"{DETAILS}.udevRules[{index}] {problem}"


def _onvif(details: JsonObject) -> Iterator[str]:
    for address in (details.get("macAddresses") or {}).get("items", ()):
        if not _MAC.fullmatch(address):
            yield f"{DETAILS}.macAddresses: '{address[:64]}' is no hardware address"
    for name, value in (details.get("discoveryProperties") or {}).items():
        if name.startswith(_SECRETS) and not str(value).startswith(_REFERENCES):
            yield f"{PROPERTIES} '{name[:64]}' holds a secret that everybody can read: use valueFrom.secretKeyRef"


def _opcua(details: JsonObject) -> Iterator[str]:
    urls = ((details.get("opcuaDiscoveryMethod") or {}).get("standard") or {}).get("discoveryUrls")
    if urls == []:
        yield f"{DETAILS}: discoveryUrls is empty: name a discovery server, as in opc.tcp://192.168.0.10:4840"
    for url in urls or ():
        if not _OPCUA.fullmatch(url):
            yield f"{DETAILS}: '{url[:64]}' is no URL of OPC UA over TCP: write opc.tcp://HOST:4840"


def _mdns(details: JsonObject) -> Iterator[str]:
    if not details.get("services") and not details.get("presets"):
        yield f"{DETAILS} looks for nothing: add service types to 'services', or 'presets'"


_RULES: Final = {"udev": _udev, "onvif": _onvif, "opcua": _opcua, "mdns": _mdns}

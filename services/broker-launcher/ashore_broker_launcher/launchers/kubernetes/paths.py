"""Where objects are found in an API, and which kinds there are.

Kinds, namespaces and names may come from what users wrote, so nothing of them gets into a path that could lead out of
its place.
"""

import re
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from ashore_broker_launcher.cluster import JsonObject, Kind, NotFound, Refused

_VERSION: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?v[a-z0-9]{1,62}")
_UNSAFE: Final = frozenset({"", ".", ".."})


class _Resource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class Resources(msgspec.Struct):
    """What one version of a group serves."""

    resources: list[_Resource]


def group(api_version: str) -> str:
    """The path of a group and version; NotFound for what can be none."""
    if not _VERSION.fullmatch(api_version):
        raise NotFound(f"there is no API {api_version[:100]!r}")
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def kinds(api_version: str, served: Resources) -> dict[str, Kind]:
    """The kinds that are served, by name; subresources are none."""
    return {
        one.kind: Kind(api_version, one.kind, one.name, one.namespaced)
        for one in served.resources
        if "/" not in one.name
    }


def collection(kind: Kind, namespace: str = "") -> str:
    """The path of all objects of a kind: of one namespace, or of all."""
    place = f"/namespaces/{_part(namespace)}" if kind.namespaced and namespace else ""
    return f"{group(kind.api_version)}{place}/{_part(kind.plural)}"


def single(kind: Kind, namespace: str, name: str, subresource: str = "") -> str:
    """The path of one object."""
    if kind.namespaced and not namespace:
        raise Refused(f"{kind.name} {name}: it must say in which namespace it is", 400)
    path = f"{collection(kind, namespace)}/{_part(name)}"
    return f"{path}/{subresource}" if subresource else path


def of(kind: Kind, body: JsonObject, subresource: str = "") -> str:
    """The path of an object that is at hand."""
    metadata = body.get("metadata") or {}
    return single(kind, metadata.get("namespace") or "", metadata.get("name") or "", subresource)


def query(**parameters: str | int | bool) -> str:
    """A query of what is not empty."""
    told = {name: _value(value) for name, value in parameters.items() if value}
    return f"?{urlencode(told)}" if told else ""


def _value(value: str | int | bool) -> str:  # noqa: FBT001
    return "true" if value is True else str(value)


def _part(text: str) -> str:
    if text in _UNSAFE:
        raise Refused(f"{text!r} can be the name of no object", 400)
    return quote(text, safe="")

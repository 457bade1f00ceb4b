"""What a configuration and the node's file may say of OPC UA, and which servers that wants.

The form is Akri's, with two things added: globs among names, and the servers that a discovery server has heard of on
its network.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ashore_discovery.handlers.globs import fits, texts
from ashore_discovery.handlers.opcua.places import parse
from ashore_discovery.model import Facet, Offer, Refusal

Name = Annotated[str, Meta(min_length=1, max_length=256)]


class _Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """As Akri spells it."""


class Standard(_Form, frozen=True, kw_only=True):
    """The standard's own way of discovery."""

    discovery_urls: Annotated[
        list[Name],
        Meta(max_length=64, description="Where to ask for servers: discovery servers, or servers themselves"),
    ] = msgspec.field(default_factory=lambda: ["opc.tcp://localhost:4840/"])
    find_servers_on_network: Annotated[
        bool, Meta(description="Also those that a discovery server has heard of by multicast, without a registration")
    ] = False


class Method(_Form, frozen=True, kw_only=True):
    """How servers are found; there is one way so far."""

    standard: Standard = Standard()


class Names(_Form, frozen=True, kw_only=True):
    """A choice by the names of applications."""

    action: Annotated[
        Literal["Include", "Exclude"], Meta(description="Whether only these are wanted, or all but these")
    ] = "Include"
    items: Annotated[list[Name], Meta(max_length=1000, description="Names, exactly as they are")] = []
    globs: Annotated[list[Name], Meta(max_length=100, description="Names that look like this: `Press *`")] = []

    def takes(self, name: str) -> bool:
        """Whether an application with this name is wanted."""
        named = name in self.items or any(fits(name, glob, exactly=True) for glob in self.globs)
        return named is (self.action == "Include")


class OpcuaDetails(_Form, frozen=True, kw_only=True):
    """What a configuration may say."""

    opcua_discovery_method: Annotated[Method, Meta(description="How servers are found")] = Method()
    application_names: Annotated[Names | None, Meta(description="Which applications are wanted; by default all")] = None


class OpcuaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    scan_seconds: Annotated[float, Meta(gt=0, description="How often discovery servers are asked")] = 10.0
    check_seconds: Annotated[float, Meta(gt=0, description="How often known servers are asked whether they live")] = 2.5
    answer_seconds: Annotated[
        float, Meta(gt=0, le=60, description="How long an answer of a discovery server may take")
    ] = 3.0
    jitter: Annotated[
        float, Meta(ge=0, lt=1, description="By which part waits differ, so that agents do not ask in step")
    ] = 0.2
    most_servers: Annotated[int, Meta(ge=1, description="So many servers are believed of one discovery server")] = 1000


class Question(NamedTuple):
    """One URL to ask, in its one spelling."""

    url: str
    network: bool
    """Whether anybody wants to know of servers on its network."""


Plan = tuple[Question, ...]


def plan(details: Iterable[OpcuaDetails]) -> Plan:
    """Every URL once."""
    wanted: dict[str, bool] = {}
    for one in details:
        for url in asked_by(one):
            network = one.opcua_discovery_method.standard.find_servers_on_network
            wanted[url] = wanted.get(url, False) or network
    return tuple(Question(url, network) for url, network in sorted(wanted.items()))


def asked_by(details: OpcuaDetails) -> list[str]:
    """The URLs of a configuration, in their one spelling."""
    places = (parse(url) for url in details.opcua_discovery_method.standard.discovery_urls)
    return [place.url for place in places if place is not None]


def problems(details: OpcuaDetails) -> Iterator[str]:
    """What is wrong beyond types."""
    urls = details.opcua_discovery_method.standard.discovery_urls
    if not urls:
        yield "discoveryUrls is empty: name a discovery server, as in opc.tcp://192.168.0.10:4840"
    for url in urls:
        if parse(url) is None:
            yield f"'{url}' is no URL of OPC UA over TCP: write opc.tcp://HOST:4840"


def offer(details: OpcuaDetails, facet: Facet) -> Offer | Refusal:
    """Whether the configuration wants the server, and what its broker gets."""
    wanted = set(asked_by(details))
    found = set(texts(facet.facts.get("found_by")))
    if details.opcua_discovery_method.standard.find_servers_on_network:
        found |= set(texts(facet.facts.get("found_on_network_by")))
    if not wanted & found:
        return Refusal(f"no discovery server of this configuration names it: not {', '.join(sorted(wanted)) or 'any'}")
    name = _text(facet, "application_name")
    if details.application_names is not None and not details.application_names.takes(name):
        side = "is not among" if details.application_names.action == "Include" else "is excluded by"
        return Refusal(f"its name '{name}' {side} applicationNames")
    told = {
        "OPCUA_DISCOVERY_URL": _text(facet, "url"),
        "OPCUA_APPLICATION_NAME": name,
        "OPCUA_APPLICATION_URI": _text(facet, "application_uri"),
    }
    return Offer(properties={name: value for name, value in told.items() if value})


def _text(facet: Facet, name: str) -> str:
    value = facet.facts.get(name)
    return value if isinstance(value, str) else ""

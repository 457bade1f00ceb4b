"""WS-Discovery: Hello, Bye, ProbeMatches and ResolveMatches read, Probe and Resolve written. Pure.

ONVIF has the namespace of 2005/04; devices that also are something else use that of 2009/01 (WS-Discovery 1.1), and
some mix both. So what is read is found by local names, and what is written exists in both.
"""

import re
from typing import Final, Literal, cast, get_args
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import msgspec

from ashore_discovery.handlers import markup
from ashore_discovery.handlers.markup import MarkupError, child, children, local, text, words

LARGEST: Final = 16 * 1024
"""SOAP-over-UDP recommends to stay below one packet of 1500 bytes; whoever lists many scopes does not."""
MOST_TARGETS: Final = 64
MOST_SCOPES: Final = 64
MOST_XADDRS: Final = 8
LONGEST_EPR: Final = 256

PORT: Final = 3702
GROUP_IPV4: Final = "239.255.255.250"
GROUP_IPV6: Final = "ff02::c"

Kind = Literal["Hello", "Bye", "ProbeMatches", "ResolveMatches", "Probe", "Resolve"]
Version = Literal["2005/04", "2009/01"]
_KINDS: Final = (*get_args(Kind), "ProbeMatch", "ResolveMatch")
_DISCOVERY: Final = {
    "2005/04": "http://schemas.xmlsoap.org/ws/2005/04/discovery",
    "2009/01": "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01",
}
_ADDRESSING: Final = {
    "2005/04": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "2009/01": "http://www.w3.org/2005/08/addressing",
}
_TO: Final = {
    "2005/04": "urn:schemas-xmlsoap-org:ws:2005:04:discovery",
    "2009/01": "urn:docs-oasis-open-org:ws-dd:ns:discovery:2009:01",
}
_ONVIF_TYPES: Final = frozenset(
    {
        "NetworkVideoTransmitter",
        "NetworkVideoDisplay",
        "NetworkVideoStorage",
        "NetworkVideoAnalytics",
        "AccessControl",
    }
)
_ONVIF_SCOPE: Final = "onvif://www.onvif.org/"
_RELATES: Final = re.compile(rb"RelatesTo[^>]{0,256}>\s*([^<\s]{1,256})\s*<")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device, in WS-Discovery's word a target service, as one message tells of it."""

    epr: str
    """Its endpoint reference: the name that it should keep for ever, mostly `urn:uuid:...`."""
    types: list[str] = []
    """Without prefixes, since some devices do not declare theirs."""
    scopes: list[str] = []
    xaddrs: list[str] = []
    metadata_version: int = 0

    @property
    def is_onvif(self) -> bool:
        """Whether it says so; printers and computers use WS-Discovery, too."""
        return bool(_ONVIF_TYPES & set(self.types)) or any(scope.startswith(_ONVIF_SCOPE) for scope in self.scopes)

    @property
    def is_complete(self) -> bool:
        """Whether it says where it is and what it is; a Hello need not."""
        return bool(self.xaddrs and (self.types or self.scopes))


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    kind: Kind
    version: Version = "2005/04"
    message_id: str = ""
    relates_to: str = ""
    targets: list[Target] = []


def parse(datagram: bytes) -> Message:
    """Read a datagram; raise MarkupError."""
    root = markup.read(datagram, LARGEST)
    header, body = child(root, "Header"), child(root, "Body")
    head = next((one for one in (body if body is not None else ()) if local(one) in _KINDS), None)
    if head is None:
        raise MarkupError("no message of WS-Discovery")
    name = local(head)
    matches = _matches(body, head, name)
    return Message(
        kind=cast(Kind, name + "es" if name.endswith("Match") else name),
        version="2009/01" if str(head.tag).startswith(f"{{{_DISCOVERY['2009/01']}}}") else "2005/04",
        message_id=text(child(header, "MessageID")),
        relates_to=text(child(header, "RelatesTo")),
        targets=[one for one in map(_target, matches[:MOST_TARGETS]) if one is not None],
    )


def relates_to(datagram: bytes) -> str:
    """What a datagram answers, without reading all of it; empty where it answers nothing."""
    found = _RELATES.search(datagram)
    return found[1].decode("ascii", "replace") if found else ""


def probe(message_id: str, types: str = "dn:NetworkVideoTransmitter", version: Version = "2005/04") -> bytes:
    """Ask who is of this type."""
    wanted = f"<d:Types>{escape(types)}</d:Types>" if types else ""
    return _envelope(version, "Probe", message_id, f"<d:Probe>{wanted}</d:Probe>")


def resolve(message_id: str, epr: str, version: Version = "2005/04") -> bytes:
    """Ask where this one is."""
    reference = f"<a:EndpointReference><a:Address>{escape(epr)}</a:Address></a:EndpointReference>"
    return _envelope(version, "Resolve", message_id, f"<d:Resolve>{reference}</d:Resolve>")


def canonical(epr: str) -> str:
    """An endpoint reference in its one spelling."""
    bare = epr.strip().lower()
    bare = bare.removeprefix("urn:").removeprefix("uuid:")
    return f"urn:uuid:{bare}" if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bare) else epr.strip()


def _matches(body: Element | None, head: Element, name: str) -> list[Element]:
    """Where the targets are; some cameras leave out the element around the matches."""
    if name in ("ProbeMatch", "ResolveMatch"):
        return list(children(body, name))
    if name in ("ProbeMatches", "ResolveMatches"):
        return list(children(head, name.removesuffix("es")))
    return [head] if name in ("Hello", "Bye") else []


def _target(element: Element) -> Target | None:
    epr = canonical(text(child(element, "EndpointReference", "Address")))
    if not epr or len(epr) > LONGEST_EPR or not epr.isprintable():
        return None
    version = text(child(element, "MetadataVersion"))
    return Target(
        epr=epr,
        types=[word.rpartition(":")[2] for word in words(child(element, "Types"), MOST_SCOPES)],
        scopes=words(child(element, "Scopes"), MOST_SCOPES),
        xaddrs=words(child(element, "XAddrs"), MOST_XADDRS),
        metadata_version=int(version) if version.isascii() and version.isdigit() and len(version) <= 10 else 0,  # noqa: PLR2004
    )


def _envelope(version: Version, action: str, message_id: str, body: str) -> bytes:
    discovery, addressing = _DISCOVERY[version], _ADDRESSING[version]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="{addressing}" xmlns:d="{discovery}"'
        ' xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">'
        f"<s:Header><a:Action>{discovery}/{action}</a:Action><a:MessageID>{escape(message_id)}</a:MessageID>"
        f"<a:To>{_TO[version]}</a:To></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()

"""The description of a device: fetched over a very small HTTP, and read from XML.

The address of a description comes from a stranger. It is followed only to the device that has named it and only into
networks that are allowed, redirects are not followed at all, and size and time have limits.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError  # only the words; what reads is defusedxml

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ashore_discovery.limits import Network
from ashore_discovery.model import Facts, Identity, Learnt

LARGEST: Final = 128 * 1024
_LARGEST_HEAD: Final = 16 * 1024
_MOST_LINES: Final = 100
_SECONDS: Final = 3.0
_LONGEST_TEXT: Final = 200
_MOST_ELEMENTS: Final = 5000
_HIGHEST_PORT: Final = 65535
_SAFE_PATH: Final = re.compile(r"[!-~]*")
_TEXTS: Final = {
    "name": "friendlyName",
    "vendor": "manufacturer",
    "model": "modelName",
    "model_number": "modelNumber",
    "model_description": "modelDescription",
    "serial": "serialNumber",
    "device_type": "deviceType",
}


class DescriptionError(Exception):
    """The device does not describe itself in a way that can be used; the text says why."""


class Where(NamedTuple):
    """A description's address that may be asked."""

    host: str
    port: int
    target: str
    name: str
    """What the device calls its host, for it to hear again."""


def where(location: str, addresses: Sequence[str], network: Network, interface: str | None) -> Where:
    """Whom to ask; raise DescriptionError where that is not allowed."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        raise DescriptionError(f"{location[:200]!r} is no URL") from error
    bare = host.partition("%")[0]
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or not _SAFE_PATH.fullmatch(target) or port > _HIGHEST_PORT:
        raise DescriptionError(f"{location[:200]!r} is no address of a description")
    if not network.allows(bare) or bare not in addresses:
        raise DescriptionError(f"{bare[:64]!r} is not the device itself, or not in a network that may be asked")
    scoped = f"{bare}%{interface}" if bare.lower().startswith("fe80:") and interface else bare
    return Where(scoped, port, target, f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}")


async def fetch(place: Where) -> bytes:
    """The description; raise DescriptionError, OSError, TimeoutError."""
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(place.host, place.port, limit=_LARGEST_HEAD)
        try:
            lines = (
                f"GET {place.target} HTTP/1.1",
                f"HOST: {place.name}",
                "CONNECTION: close",
                "ACCEPT: text/xml",
                "",
                "",
            )
            writer.write("\r\n".join(lines).encode())
            return await read_answer(reader)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise DescriptionError(f"{place.name} does not speak HTTP: {error}") from error
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer."""
    status = (await _line(reader)).split()
    if not status or not status[0].startswith("HTTP/1.") or status[1:2] != ["200"]:
        raise DescriptionError(f"it answers {' '.join(status)[:100]!r}")
    headers: dict[str, str] = {}
    for _ in range(_MOST_LINES):
        line = await _line(reader)
        if not line:
            break
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip().lower()
    else:
        raise DescriptionError("it has too many headers")
    if headers.get("transfer-encoding", "").endswith("chunked"):
        return await _chunks(reader)
    length = int(headers.get("content-length", LARGEST))
    return await _body(reader, length, exact="content-length" in headers)


async def _body(reader: asyncio.StreamReader, length: int, *, exact: bool) -> bytes:
    if not 0 <= length <= LARGEST:
        raise DescriptionError(f"it is larger than {LARGEST} bytes")
    if exact:
        return await reader.readexactly(length)
    body = b""
    while more := await reader.read(LARGEST):
        body += more
        if len(body) > LARGEST:
            raise DescriptionError(f"it is larger than {LARGEST} bytes")
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await _line(reader)).partition(";")[0], 16):
        if not 0 < size <= LARGEST - len(body):
            raise DescriptionError(f"it is larger than {LARGEST} bytes")
        body += await reader.readexactly(size)
        await _line(reader)
    return body


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil(b"\n")
    return line.decode("latin-1").strip()


def read(body: bytes, udn: str) -> Learnt:
    """What the description says of the device; raise DescriptionError."""
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise DescriptionError(f"its description is no XML that may be read: {error!r}") from error
    devices = [one for one in _elements(root) if _name(one) == "device"]
    own = next((one for one in devices if _text(one, "UDN").lower() == f"uuid:{udn}"), None)
    if own is None:
        raise DescriptionError(f"its description is not of uuid:{udn}")
    facts: Facts = {fact: text for fact, name in _TEXTS.items() if (text := _text(own, name))}
    services = sorted({_text(one, "serviceType") for one in _elements(own) if _name(one) == "service"} - {""})
    if services:
        facts["services"] = services[:64]
    identity: Identity = {}
    serial, model = facts.get("serial"), facts.get("model")
    if serial and model:
        identity["serial"] = f"{facts.get('vendor', '')}/{model}/{serial}".lower()
    return Learnt(facts=facts, identity=identity)


def _elements(root: Element) -> Iterator[Element]:
    for count, element in enumerate(root.iter()):
        if count > _MOST_ELEMENTS:
            raise DescriptionError(f"its description has more than {_MOST_ELEMENTS} elements")
        yield element


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Element, name: str) -> str:
    found = next((one.text or "" for one in element if _name(one) == name), "")
    return " ".join(found.split())[:_LONGEST_TEXT]

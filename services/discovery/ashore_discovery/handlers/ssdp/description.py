"""The description of a device: fetched over HTTP, and read from XML.

The address of a description comes from a stranger. It is followed only to the device that has named it and only into
networks that are allowed, redirects are not followed at all, and size and time have limits.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from xml.etree.ElementTree import Element  # only the word; what reads is markup.py

from ashore_discovery.handlers import markup
from ashore_discovery.handlers.http import Place, ask, place
from ashore_discovery.handlers.markup import MarkupError, child, local, text
from ashore_discovery.limits import Network
from ashore_discovery.model import Facts, Identity, Learnt

LARGEST: Final = 128 * 1024
_SECONDS: Final = 3.0
_LONGEST_TEXT: Final = 200
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


def where(location: str, addresses: Sequence[str], network: Network, interface: str | None) -> Place:
    """Whom to ask; raise DescriptionError where that is not allowed."""
    found = place(location, interface)
    if found is None or found.tls:
        raise DescriptionError(f"{location[:200]!r} is no address of a description")
    bare = found.host.partition("%")[0]
    if not network.allows(bare) or bare not in addresses:
        raise DescriptionError(f"{bare!r} is not the device itself, or not in a network that may be asked")
    return found


async def fetch(found: Place) -> bytes:
    """The description; raise DescriptionError, HttpError, TimeoutError."""
    async with asyncio.timeout(_SECONDS):
        answer = await ask(found, {"Accept": "text/xml"}, largest=LARGEST)
    if answer.status != HTTPStatus.OK:
        raise DescriptionError(f"{found.authority} answers with status {answer.status}")
    return answer.body


def read(body: bytes, udn: str) -> Learnt:
    """What the description says of the device; raise DescriptionError."""
    try:
        root = markup.read(body, LARGEST)
    except MarkupError as error:
        raise DescriptionError(f"its description is no XML that may be read: {error}") from error
    devices = [one for one in root.iter() if local(one) == "device"]
    own = next((one for one in devices if _text(one, "UDN").lower() == f"uuid:{udn}"), None)
    if own is None:
        raise DescriptionError(f"its description is not of uuid:{udn}")
    facts: Facts = {fact: said for fact, name in _TEXTS.items() if (said := _text(own, name))}
    services = sorted({_text(one, "serviceType") for one in own.iter() if local(one) == "service"} - {""})
    if services:
        facts["services"] = services[:64]
    identity: Identity = {}
    serial, model = facts.get("serial"), facts.get("model")
    if serial and model:
        identity["serial"] = f"{facts.get('vendor', '')}/{model}/{serial}".lower()
    return Learnt(facts=facts, identity=identity)


def _text(element: Element, name: str) -> str:
    return text(child(element, name))[:_LONGEST_TEXT]

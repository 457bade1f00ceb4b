"""SOAP 1.2 envelopes, written and read. Pure.

What is read comes from a stranger: no DTD, no entities, a limit for depth and elements; that for bytes is `web`'s.
Cameras use prefixes and namespaces so freely that elements are found by their local names alone.
"""

import re
from datetime import UTC, datetime
from typing import Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

DEVICE: Final = "http://www.onvif.org/ver10/device/wsdl"
_SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
_MOST_ELEMENTS: Final = 4096
_DEEPEST: Final = 32
_LONGEST: Final = 512
_REFUSED: Final = frozenset({"NotAuthorized", "FailedAuthentication", "InvalidSecurity", "InvalidSecurityToken"})
_DURATION: Final = re.compile(
    r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,6})?)S)?)?", re.ASCII
)


class MarkupError(ValueError):
    """What was sent cannot be read; the text says why."""


def envelope(operation: str, content: str = "", security: str = "") -> bytes:
    """A request."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{_SOAP}"><s:Header>{security}</s:Header>'
        f'<s:Body><tds:{operation} xmlns:tds="{DEVICE}">{content}</tds:{operation}></s:Body></s:Envelope>'
    ).encode()


def read(data: bytes) -> Element:
    """The root of an answer; raise MarkupError."""
    parser = DefusedXMLParser(target=TreeBuilder(), forbid_dtd=True)
    try:
        # Cameras put line breaks before the declaration, where none may be.
        parser.feed(data.strip(b"\0\r\n\t "))
        root = parser.close()
    except (DefusedXmlException, ParseError, ValueError, LookupError) as error:
        # LookupError is an encoding that nobody knows.
        raise MarkupError(f"no XML that is taken: {str(error)[:200] or type(error).__name__}") from error
    if not isinstance(root, Element):
        raise MarkupError("no element")
    _measure(root)
    return root


def local(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def child(element: Element | None, *path: str) -> Element | None:
    """The first child with that local name, and so on down the path."""
    for name in path:
        element = None if element is None else next((one for one in element if local(one) == name), None)
    return element


def descendant(element: Element | None, name: str) -> Element | None:
    """The first element with that local name, wherever it is."""
    return None if element is None else next((one for one in element.iter() if local(one) == name), None)


def text(element: Element | None) -> str:
    """Its text on one line, printable and not too long."""
    words = "" if element is None else " ".join((element.text or "").split())
    return "".join(letter for letter in words if letter.isprintable())[:_LONGEST]


def fault(root: Element) -> str | None:
    """What a fault says; none where it is no fault."""
    found = child(root, "Body", "Fault")
    if found is None:
        return None
    codes = [text(one).rpartition(":")[2] for one in found.iter() if local(one) in ("Value", "faultcode")]
    said = text(descendant(found, "Text")) or text(descendant(found, "faultstring"))
    return f"{'/'.join(code for code in codes if code)[:200]}: {said[:200]}"


def refuses(root: Element) -> bool:
    """Whether it is a fault that says: not without the right password."""
    found = child(root, "Body", "Fault")
    return found is not None and any(text(one).rpartition(":")[2] in _REFUSED for one in found.iter())


def says_yes(element: Element | None, name: str) -> bool:
    """Whether a capability is there: an attribute in newer answers, an element in older ones."""
    for one in element.iter() if element is not None else ():
        said = one.get(name, text(one) if local(one) == name else "")
        if said.strip().lower() in ("true", "1"):
            return True
    return False


def seconds(duration: str) -> float:
    """An xs:duration in seconds; nothing where there is none, or one of months, or what is none."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        return 0.0
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def moment(answer: Element) -> float | None:
    """The time in an answer to GetSystemDateAndTime, in seconds since 1970."""
    utc = descendant(answer, "UTCDateTime")
    fields = [text(child(utc, "Date", name)) for name in ("Year", "Month", "Day")]
    fields += [text(child(utc, "Time", name)) for name in ("Hour", "Minute", "Second")]
    try:
        # A leap second is the 60th, which no datetime knows.
        year, month, day, hour, minute, second = (int(one[:5]) for one in fields)
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _measure(root: Element) -> None:
    left, level = _MOST_ELEMENTS, [root]
    for _ in range(_DEEPEST):
        left -= len(level)
        if left < 0:
            raise MarkupError(f"more than {_MOST_ELEMENTS} elements")
        level = [one for element in level for one in element]
        if not level:
            return
    raise MarkupError(f"more than {_DEEPEST} levels")

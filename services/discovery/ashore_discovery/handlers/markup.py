"""XML from strangers: no DTD, no entities, and a limit for bytes, depth and elements.

Prefixes and namespaces are used so freely by devices that elements are found by their local names alone.
"""

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

MOST_ELEMENTS: Final = 4096
DEEPEST: Final = 32
LONGEST: Final = 1024


class MarkupError(ValueError):
    """What was sent cannot be read; the text says why."""


def read(data: bytes, most_bytes: int) -> Element:
    """The root of a document; raise MarkupError."""
    if len(data) > most_bytes:
        raise MarkupError(f"{len(data)} bytes, and {most_bytes} are taken")
    # Without a target of its own it builds slow elements of another class.
    parser = DefusedXMLParser(target=TreeBuilder(), forbid_dtd=True)
    try:
        # Cameras put line breaks before the declaration, where none may be.
        parser.feed(data.strip(b"\0\r\n\t "))
        root = parser.close()
    except (DefusedXmlException, ParseError, ValueError, LookupError) as error:
        # LookupError: an encoding that nobody knows.
        raise MarkupError(f"no XML that is taken: {error!r}") from error
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
        if element is None:
            return None
        element = next((one for one in element if local(one) == name), None)
    return element


def children(element: Element | None, name: str) -> Iterator[Element]:
    """All children with that local name."""
    return (one for one in (element if element is not None else ()) if local(one) == name)


def descendant(element: Element | None, name: str) -> Element | None:
    """The first element with that local name, wherever it is."""
    return None if element is None else next((one for one in element.iter() if local(one) == name), None)


def text(element: Element | None) -> str:
    """Its text on one line, not too long."""
    return "" if element is None else " ".join((element.text or "").split())[:LONGEST]


def words(element: Element | None, most: int) -> list[str]:
    """Its text as a list, each once."""
    found = [] if element is None else (element.text or "").split()
    return [word for word in dict.fromkeys(found[: 2 * most]) if len(word) <= LONGEST][:most]


def _measure(root: Element) -> None:
    left = MOST_ELEMENTS
    level = [root]
    for _ in range(DEEPEST):
        left -= len(level)
        if left < 0:
            raise MarkupError(f"more than {MOST_ELEMENTS} elements")
        level = [one for element in level for one in element]
        if not level:
            return
    raise MarkupError(f"more than {DEEPEST} levels")

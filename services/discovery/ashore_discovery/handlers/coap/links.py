"""Lists of links, as servers and directories say what they have (RFC 6690): `</temp>;rt="temperature";if=sensor`."""

import re
from typing import Final, NamedTuple

LARGEST: Final = 32 * 1024
_MOST_LINKS: Final = 256
_MOST_ATTRIBUTES: Final = 16
_LONGEST_TEXT: Final = 200
_TARGET: Final = re.compile(r"\s*<([^<>]*)>")
_ATTRIBUTE: Final = re.compile(r';\s*([^\s=;,"<>]+)(?:="((?:[^"\\]|\\.)*)"|=([^\s;,"]*))?\s*', re.DOTALL)
_NEXT: Final = re.compile(r"\s*,")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class LinkError(Exception):
    """What was said is no list of links; the text says why."""


class Link(NamedTuple):
    """One thing that a server has."""

    target: str
    attributes: dict[str, str]

    def words(self, name: str) -> list[str]:
        """An attribute that is a list."""
        return self.attributes.get(name, "").split()


def parse(body: bytes) -> list[Link]:
    """The links; what is too much is left out. Raise LinkError."""
    if len(body) > LARGEST:
        raise LinkError(f"a list of more than {LARGEST} bytes")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise LinkError("a list that is no UTF-8") from error
    found: list[Link] = []
    at = 0
    while text[at:].strip() and len(found) < _MOST_LINKS:
        if found:
            at = _end(_NEXT.match(text, at))
        target = _TARGET.match(text, at)
        at = _end(target)
        attributes, at = _attributes(text, at)
        found.append(Link(_clean(target[1] if target else ""), attributes))
    return found


def _attributes(text: str, at: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    while (one := _ATTRIBUTE.match(text, at)) is not None:
        at = one.end()
        if len(found) < _MOST_ATTRIBUTES:
            quoted = re.sub(r"\\(.)", r"\1", one[2], flags=re.DOTALL) if one[2] is not None else one[3]
            # Of an attribute that is there twice the first one counts.
            found.setdefault(_clean(one[1]).lower(), _clean(quoted or ""))
    return found, at


def _end(match: "re.Match[str] | None") -> int:
    if match is None:
        raise LinkError("a list that is cut off, or none")
    return match.end()


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("", text)[:_LONGEST_TEXT]

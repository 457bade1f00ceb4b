"""SSDP's datagrams: announcements, answers, and the search itself (UPnP Device Architecture 2.0, section 1).

Devices spell headers as they like, and leave out what they should not; a message is read as long as it says which
device it is of. It is read from a stranger, so everything has a limit.
"""

import re
from typing import Final, Literal, NamedTuple

GROUP_4: Final = "239.255.255.250"
GROUPS_6: Final = ("ff02::c", "ff05::c")
PORT: Final = 1900
ROOT: Final = "upnp:rootdevice"
EVERYTHING: Final = "ssdp:all"

_MOST_LINES: Final = 64
_LONGEST_LINE: Final = 1024
_LONGEST_TEXT: Final = 400
_MOST_DIGITS: Final = 10
_SHORTEST_AGE: Final = 30
_LONGEST_AGE: Final = 86_400
_USUAL_AGE: Final = 1800
_UDN: Final = re.compile(r"uuid:([^\s:]{1,128})(?:::(\S.*))?", re.IGNORECASE)
_AGE: Final = re.compile(r"max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Kind = Literal["alive", "byebye", "update", "answer"]
_KINDS: Final[dict[str, Kind]] = {"ssdp:alive": "alive", "ssdp:byebye": "byebye", "ssdp:update": "update"}


class Message(NamedTuple):
    """What a device says of itself."""

    kind: Kind
    udn: str
    """The unique name of the device, without `uuid:`."""
    target: str
    """What of it: the root device, a type of device or of service; `uuid:...` is the device itself."""
    location: str
    server: str
    max_age: int
    boot_id: int | None
    config_id: int | None


def parse(body: bytes) -> Message | None:
    """What the datagram says; None where it is no announcement and no answer, or makes no sense."""
    first, _, rest = body.partition(b"\n")
    headers = _headers(rest)
    match first.upper().split():
        case [b"NOTIFY", b"*", *_]:
            kind, target = _KINDS.get(headers.get("nts", "").lower()), headers.get("nt", "")
        case [version, b"200", *_] if version.startswith(b"HTTP/1."):
            kind, target = "answer", headers.get("st", "")
        case _:
            return None
    found = _UDN.fullmatch(headers.get("usn", "")) or _UDN.fullmatch(target)
    if kind is None or found is None:
        return None
    return Message(
        kind=kind,
        udn=found[1].lower(),
        target=target or found[2] or "",
        location=headers.get("location", headers.get("al", "")),
        server=headers.get("server", ""),
        max_age=_max_age(headers.get("cache-control", "")),
        boot_id=_number(headers, "nextbootid.upnp.org" if kind == "update" else "bootid.upnp.org"),
        config_id=_number(headers, "configid.upnp.org"),
    )


def search(target: str, host: str, wait: int) -> bytes:
    """A search for the target, to be answered within that many seconds."""
    lines = ("M-SEARCH * HTTP/1.1", f"HOST: {host}", 'MAN: "ssdp:discover"', f"MX: {wait}", f"ST: {target}", "", "")
    return "\r\n".join(lines).encode()


def _headers(text: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.split(b"\n", _MOST_LINES)[:_MOST_LINES]:
        name, colon, value = line[:_LONGEST_LINE].decode("utf-8", "replace").partition(":")
        if colon:
            found.setdefault(name.strip().lower(), _UNPRINTABLE.sub("", value).strip()[:_LONGEST_TEXT])
    return found


def _max_age(text: str) -> int:
    found = _AGE.search(text)
    # Zero would have us ask without end, and a year would have us believe for a year.
    return min(max(int(found[1]), _SHORTEST_AGE), _LONGEST_AGE) if found else _USUAL_AGE


def _number(headers: dict[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None

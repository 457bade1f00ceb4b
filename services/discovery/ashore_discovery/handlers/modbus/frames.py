"""Modbus over TCP: the header, and three questions (MODBUS Application Protocol 1.1b3; Messaging on TCP/IP 1.0b).

"Read device identification" (function 43, type 14) is what a device should answer. Those that do not know it may know
"report server id" (17). Any proper answer, were it a refusal, shows that somebody speaks Modbus there.
"""

import re
import struct
from typing import Final, NamedTuple

HEADER: Final = struct.Struct(">HHHB")
_LARGEST: Final = 254
_SMALLEST: Final = 2
_LONGEST_TEXT: Final = 200
_IDENTIFY: Final = 0x2B
_DEVICE: Final = 0x0E
_SERVER_ID: Final = 0x11
_READ: Final = 0x03
_REFUSED: Final = 0x80
_HEAD: Final = 6
"""Type, level, conformity, whether more follows, with which object, and how many are here."""
_FOLLOWS: Final = 0xFF
_REGULAR: Final = 0x02
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\uffff]")

NO_PATH: Final = frozenset({0x0A, 0x0B})
"""A gateway says that nobody is there with this unit id."""
FAILURE: Final = 0x04
OBJECTS: Final = {0: "vendor", 1: "product", 2: "revision", 3: "url", 4: "product_name", 5: "model", 6: "application"}


class FrameError(Exception):
    """What was answered is not Modbus; the text says why."""


class RefusedError(Exception):
    """The device has answered, but with an exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Objects(NamedTuple):
    """A part of the identification."""

    texts: dict[str, str]
    regular: bool
    """Whether there is more than vendor, product and revision to ask for."""
    after: int | None
    """The object with which it goes on."""


def request(transaction: int, unit: int, body: bytes) -> bytes:
    """A question with its header."""
    return HEADER.pack(transaction, 0, len(body) + 1, unit) + body


def header(data: bytes) -> tuple[int, int, int]:
    """Transaction, unit, and how many bytes follow; raise FrameError."""
    transaction, protocol, length, unit = HEADER.unpack(data)
    if protocol != 0 or not _SMALLEST <= length <= _LARGEST + 1:
        raise FrameError("no header of Modbus")
    return transaction, unit, length - 1


def identify(level: int, first: int) -> bytes:
    """Ask for the identification: level 1 is vendor, product and revision, level 2 the names as well."""
    return bytes((_IDENTIFY, _DEVICE, level, first))


def read_register() -> bytes:
    """Ask for the first register: some answer for units that are not there until one wants to know something."""
    return struct.pack(">BHH", _READ, 0, 1)


def server_id() -> bytes:
    """Ask for the server id."""
    return bytes((_SERVER_ID,))


def checked(body: bytes, function: int) -> bytes:
    """What follows the function in an answer; raise RefusedError, FrameError."""
    if len(body) >= _SMALLEST and body[0] == function | _REFUSED:
        raise RefusedError(body[1])
    if not body or body[0] != function:
        raise FrameError("an answer to something else")
    return body[1:]


def objects(body: bytes) -> Objects:
    """The identification in an answer; raise RefusedError, FrameError."""
    rest = checked(body, _IDENTIFY)
    if len(rest) < _HEAD or rest[0] != _DEVICE:
        raise FrameError("no identification")
    conformity, more, after, count = rest[2:_HEAD]
    texts: dict[str, str] = {}
    rest = rest[_HEAD:]
    for _ in range(count):
        if len(rest) < _SMALLEST or len(rest) < _SMALLEST + rest[1]:
            raise FrameError("an identification that is cut off")
        name, value, rest = OBJECTS.get(rest[0]), text(rest[2 : 2 + rest[1]]), rest[2 + rest[1] :]
        if name and value:
            texts[name] = value
    return Objects(texts, conformity & 0x7F >= _REGULAR, after if more == _FOLLOWS else None)


def server(body: bytes) -> str:
    """What the server id says, where that is text; raise RefusedError, FrameError."""
    rest = checked(body, _SERVER_ID)
    if not rest or len(rest) < 1 + rest[0]:
        raise FrameError("a server id that is cut off")
    return text(rest[1 : 1 + rest[0]])


def register(body: bytes) -> None:
    """Whether the register was told; raise RefusedError, FrameError."""
    checked(body, _READ)


def text(data: bytes) -> str:
    """Text of a stranger's, without what cannot be printed."""
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        decoded = data.decode("latin-1")
    return " ".join(_UNPRINTABLE.sub(" ", decoded).split())[:_LONGEST_TEXT]

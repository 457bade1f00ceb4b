"""CoAP on the wire (RFC 7252, section 3): four bytes, a token, options, a payload."""

import struct
from typing import Final, NamedTuple

GROUP_4: Final = "224.0.1.187"
GROUPS_6: Final = ("ff02::fd", "ff05::fd")
PORT: Final = 5683

CON: Final = 0
NON: Final = 1
ACK: Final = 2
RST: Final = 3
EMPTY: Final = 0
GET: Final = 1
CREATED: Final = 0x41
"""The first of all codes of answers."""
CONTENT: Final = 0x45

OBSERVE: Final = 6
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
URI_QUERY: Final = 15
ACCEPT: Final = 17
BLOCK2: Final = 23
LINK_FORMAT: Final = 40

_HEAD: Final = struct.Struct("!BBH")
_VERSION: Final = 1
_LONGEST_TOKEN: Final = 8
_LONGEST_NUMBER: Final = 4
_MOST_OPTIONS: Final = 64
_ONE_BYTE, _TWO_BYTES, _RESERVED = 13, 14, 15
_TWO_BYTES_FROM: Final = 269
_END: Final = 0xFF

Options = list[tuple[int, bytes]]


class MessageError(Exception):
    """What has come is no message of CoAP; the text says why."""


class Message(NamedTuple):
    """One message."""

    kind: int
    code: int
    id: int
    token: bytes = b""
    options: Options = []
    payload: bytes = b""

    def number(self, option: int) -> int | None:
        """An option that is a number."""
        value = next((value for name, value in self.options if name == option), None)
        return None if value is None or len(value) > _LONGEST_NUMBER else int.from_bytes(value, "big")

    def encode(self) -> bytes:
        """As it is sent."""
        body = _HEAD.pack(_VERSION << 6 | self.kind << 4 | len(self.token), self.code, self.id) + self.token
        before = 0
        for name, value in sorted(self.options, key=lambda option: option[0]):
            body += _option(name - before, value)
            before = name
        return body + (bytes((_END,)) + self.payload if self.payload else b"")


def decode(data: bytes) -> Message:
    """The message; raise MessageError."""
    if len(data) < _HEAD.size:
        raise MessageError("shorter than a head")
    first, code, number = _HEAD.unpack_from(data)
    length = first & 0x0F
    rest = data[_HEAD.size :]
    if first >> 6 != _VERSION or length > _LONGEST_TOKEN or len(rest) < length:
        raise MessageError("no head of CoAP")
    if code == EMPTY and (length or rest):
        raise MessageError("an empty message that is not empty")
    options, payload = _options(rest[length:])
    return Message(first >> 4 & 3, code, number, rest[:length], options, payload)


def get(path: str, query: str = "", *, more: Options | None = None) -> Options:
    """The options of a question for links."""
    path = path.removeprefix("/")
    # A slash at the end is a last part that is empty (section 6.4).
    parts = [(URI_PATH, part.encode()) for part in path.split("/")] if path else []
    queries = [(URI_QUERY, part.encode()) for part in query.split("&") if part]
    return [*parts, *queries, (ACCEPT, bytes((LINK_FORMAT,))), *(more or [])]


def _option(delta: int, value: bytes) -> bytes:
    high, delta_more = _extended(delta)
    low, length_more = _extended(len(value))
    return bytes((high << 4 | low,)) + delta_more + length_more + value


def _extended(number: int) -> tuple[int, bytes]:
    if number < _ONE_BYTE:
        return number, b""
    if number < _TWO_BYTES_FROM:
        return _ONE_BYTE, bytes((number - _ONE_BYTE,))
    return _TWO_BYTES, (number - _TWO_BYTES_FROM).to_bytes(2, "big")


def _options(data: bytes) -> tuple[Options, bytes]:
    found: Options = []
    name = 0
    while data:
        if data[0] == _END:
            if len(data) == 1:
                raise MessageError("the mark of a payload without one")
            return found, data[1:]
        lengths = data[0]
        delta, data = _number(lengths >> 4, data[1:])
        length, data = _number(lengths & 0x0F, data)
        name += delta
        if len(data) < length or len(found) >= _MOST_OPTIONS:
            raise MessageError("options that are cut off, or too many")
        found.append((name, data[:length]))
        data = data[length:]
    return found, b""


def _number(half: int, data: bytes) -> tuple[int, bytes]:
    if half < _ONE_BYTE:
        return half, data
    size = 1 if half == _ONE_BYTE else 2
    if half == _RESERVED or len(data) < size:
        raise MessageError("an option that is cut off")
    value = int.from_bytes(data[:size], "big") + (_ONE_BYTE if size == 1 else _TWO_BYTES_FROM)
    return value, data[size:]

"""As much of Sparkplug B's protobuf payloads as births, deaths and a request for a rebirth need.

The wire format is a list of (field number, wire type, value); what is not asked for is skipped by its length. Every
length is held against what is there, numbers end after ten bytes, and the number of metrics is bounded.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

MOST_METRICS: Final = 10_000
_LONGEST_VARINT: Final = 10
_BOOLEAN: Final = 11
_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
"""Data types of signed integers, which are sent as unsigned ones of so many bits or more."""
_NAME, _DATATYPE, _INT, _LONG, _FLOAT, _DOUBLE, _FLAG, _STRING = 1, 4, 10, 11, 12, 13, 14, 15
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Metric(msgspec.Struct, frozen=True):
    """A value with its name; None where it has none that we read."""

    name: str
    value: str | int | float | bool | None = None


class Payload(msgspec.Struct, frozen=True):
    """What is read of a payload."""

    metrics: list[Metric]

    def value(self, name: str) -> str | int | float | bool | None:
        """The value of the metric with this name."""
        return next((one.value for one in self.metrics if one.name == name), None)


def decode(data: bytes) -> Payload:
    """Read a payload; raise ValueError."""
    metrics: list[Metric] = []
    for number, kind, value in _fields(data):
        if number == 2 and kind == _BYTES:  # noqa: PLR2004 - Payload.metrics
            if len(metrics) >= MOST_METRICS:
                raise ValueError(f"more than {MOST_METRICS} metrics")
            metrics.append(_metric(bytes(value)))
    return Payload(metrics)


def rebirth(milliseconds: int) -> bytes:
    """A command to an edge node: be born again."""
    name = b"Node Control/Rebirth"
    metric = _field(_NAME, name) + _number(3, milliseconds) + _number(_DATATYPE, _BOOLEAN) + _number(_FLAG, 1)
    return _number(1, milliseconds) + _field(2, metric)


def _metric(data: bytes) -> Metric:
    name, datatype = "", 0
    value: str | int | float | bool | None = None
    for number, kind, raw in _fields(data):
        if isinstance(raw, memoryview):
            if number == _NAME and kind == _BYTES:
                name = str(raw, "utf-8")
            else:
                value = _from_bytes(number, kind, raw, value)
        elif number == _DATATYPE:
            datatype = raw
        elif number in (_INT, _LONG):
            value = raw
        elif number == _FLAG:
            value = bool(raw)
    bits = _SIGNED.get(datatype)
    if bits and isinstance(value, int) and not isinstance(value, bool):
        value &= (1 << bits) - 1
        value -= (value >> (bits - 1)) << bits
    return Metric(name, value)


def _from_bytes(
    number: int,
    kind: int,
    raw: memoryview,
    value: str | float | bool | None,  # noqa: FBT001 - a metric's value
) -> str | float | bool | None:
    if number == _STRING and kind == _BYTES:
        return str(raw, "utf-8")
    if number == _FLOAT and kind == _FIXED32:
        return float(struct.unpack("<f", raw)[0])
    if number == _DOUBLE and kind == _FIXED64:
        return float(struct.unpack("<d", raw)[0])
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int, int | memoryview]]:
    view, at = memoryview(data), 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field without a number")
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, kind, value
            continue
        if kind == _BYTES:
            length, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if length > len(view) - at:
            raise ValueError("it ends too early")
        yield number, kind, view[at : at + length]
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_LONGEST_VARINT):
        if at + index >= len(view):
            raise ValueError("it ends too early")
        byte = view[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + index + 1
    raise ValueError("a number is too long")


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:  # noqa: PLR2004 - seven bits in each byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3) + _encoded(value)


def _field(field: int, value: bytes) -> bytes:
    return _encoded(field << 3 | _BYTES) + _encoded(len(value)) + value

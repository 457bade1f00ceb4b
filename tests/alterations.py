"""What a broken or hostile peer makes of a right message: every way in which a body can be wrong, one at a time.

An alteration is a function, not a body, so that it can be made to the message of another session: where it alters is a
path into the decoded item, through arrays, maps, tags, and byte strings that hold CBOR themselves.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from ashore import cbor

Path = tuple[object, ...]
Form = Callable[[object], object]

TAG: Final = "tag"
INSIDE: Final = "inside"
"""Steps of a path: to the value of a tag, and into a byte string. The others are indexes of arrays, and keys of maps in
a tuple of one."""
CUTS: Final = 6
FLIPS: Final = 32
_DEEP: Final = 40
_DER: Final = 24


class Alteration(NamedTuple):
    """One way to be wrong, and its name."""

    name: str
    of: Callable[[bytes], bytes]


class Raw(bytes):
    """Bytes that are written as they are."""


def alterations(sample: bytes) -> list[Alteration]:
    """All alterations of a message like this one."""
    found = [*_of_bytes(len(sample))]
    for path, item in _places(cbor.loads(sample), ()):
        for name, form in _forms(item):
            found.append(Alteration(f"{name} at {'/'.join(map(str, path))}", partial(_altered, path, form)))
    return found


def write(item: object) -> bytes:
    """Encode, with whatever is raw in it."""
    match item:
        case Raw():
            return bytes(item)
        case list() | tuple():
            return _head(4, len(item)) + b"".join(map(write, item))
        case Mapping():
            return _head(5, len(item)) + b"".join(write(key) + write(value) for key, value in item.items())
        case cbor.Tag():
            return _head(6, item.tag) + write(item.value)
    return cbor.dumps(item)


def _of_bytes(size: int) -> Iterator[Alteration]:
    for name, body in _JUNK.items():
        yield Alteration(name, lambda _, body=body: body)
    for part in range(CUTS):
        yield Alteration(f"cut at {part}/{CUTS}", lambda body, part=part: body[: max(1, len(body) * part // CUTS)])
    yield Alteration("without its last byte", lambda body: body[:-1])
    yield Alteration("with a byte behind it", lambda body: body + b"\x00")
    yield Alteration("twice", lambda body: body * 2)
    for place in range(min(FLIPS, size)):
        for bit in (0, 7):
            yield Alteration(f"bit {bit} flipped at {place}/{FLIPS}", partial(_flipped, place, bit))


_JUNK: Final = {
    "nothing": b"",
    "ones": b"\xff" * 100,
    "zeros": bytes(100),
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "an empty array": b"\x80",
    "an empty map": b"\xa0",
    "an endless array": b"\x9f" * 100,
    "an array that is too deep": b"\x81" * 10_000 + b"\x80",
    "a huge array": b"\x9b" + b"\xff" * 8,
    "a large array": b"\x9a\x7f\xff\xff\xff\x00",
    "a huge byte string": b"\x5b\x7f" + b"\xff" * 7,
    "a huge text": b"\x7b\x00\x00\x00\x01" + bytes(4),
    "a huge map": b"\xbb" + b"\xff" * 8,
    "an encryption of nothing": b"\xd0\x83\x40\xa0\x40",
    "a MAC of nothing": b"\xd1\x84\x40\xa0\x40\x40",
    "a tag of a tag": b"\xd0" * 12 + b"\x80",
    "a bignum": b"\xc2\x49\x01" + bytes(8),
    "much": b"\x59\xff\xfc" + bytes(0xFFFC),
    "too much": b"\x5a\x00\x01\x00\x00" + bytes(0x10000),
}


def _flipped(place: int, bit: int, body: bytes) -> bytes:
    return _changed(body, len(body) * place // FLIPS, bit)


def _places(item: object, path: Path) -> Iterator[tuple[Path, object]]:
    yield path, item
    match item:
        case list() | tuple():
            for index, part in enumerate(item):
                yield from _places(part, (*path, index))
        case Mapping():
            for key, value in item.items():
                yield from _places(value, (*path, (key,)))
        case cbor.Tag():
            yield from _places(item.value, (*path, TAG))
        case bytes():
            inside = _inside(item)
            if inside is not None:
                yield from _places(inside, (*path, INSIDE))


def _inside(data: bytes) -> object:
    """The array, map or tagged item that a byte string holds; None for other byte strings."""
    try:
        item = cbor.loads(data)
    except cbor.CborError:
        return None
    return item if isinstance(item, (list, Mapping, cbor.Tag)) else None


def _altered(path: Path, form: Form, body: bytes) -> bytes:
    return write(_at(cbor.loads(body), path, form))


def _at(item: object, path: Path, form: Form) -> object:
    if not path:
        return form(item)
    step, *rest = path
    match step, item:
        case "tag", cbor.Tag():
            return cbor.Tag(item.tag, _at(item.value, tuple(rest), form))
        case "inside", bytes():
            return write(_at(cbor.loads(item), tuple(rest), form))
        case int(), list() | tuple():
            return [*item[:step], _at(item[step], tuple(rest), form), *item[step + 1 :]]
        case (key,), Mapping():
            return {**item, key: _at(item[key], tuple(rest), form)}
    raise AssertionError(f"there is no {step} in {item!r}")


def _forms(item: object) -> Iterator[tuple[str, Form]]:
    for value in _WRONG:
        if write(value) != write(item):
            yield f"{value!r}"[:30], lambda _, value=value: value
    yield "depth", lambda item: Raw(b"\x81" * _DEEP + write(item))
    yield "a huge length", lambda _: Raw(b"\x9b" + b"\xff" * 8)
    match item:
        case bool() | None:
            return
        case int():
            yield "nine bytes", _long
        case bytes() | str():
            yield from _forms_of_strings(item)
        case list() | tuple():
            yield from _forms_of_arrays(item)
        case Mapping():
            yield "an endless form", lambda item: Raw(b"\xbf" + write(item)[1:] + b"\xff")
            yield "a key twice", _twice
            yield "an odd key", lambda item: {**item, (1,): 1}


def _forms_of_strings(item: bytes | str) -> Iterator[tuple[str, Form]]:
    yield "pieces", _pieces
    yield "a longer length", _long_string
    if item:
        yield "half", lambda item: item[: len(item) // 2]
        yield "double", lambda item: item * 2
    if item[:1] == b"0":
        yield from _forms_of_der()


def _forms_of_arrays(item: Sequence[object]) -> Iterator[tuple[str, Form]]:
    yield "an endless form", lambda item: Raw(b"\x9f" + b"".join(map(write, item)) + b"\xff")
    yield "one more", lambda item: [*item, 0]
    if item:
        yield "one less", lambda item: list(item[:-1])


def _forms_of_der() -> Iterator[tuple[str, Form]]:
    """Other versions, algorithms and curves: these stand at the beginning of keys, certificates and requests."""
    for place, bit in itertools.product(range(_DER), (0, 1)):
        yield f"bit {bit} of byte {place}", lambda item, place=place, bit=bit: _changed(item, place, bit)


def _changed(item: object, place: int, bit: int) -> bytes:
    altered = bytearray(item)
    altered[place % len(altered)] ^= 1 << bit
    return bytes(altered)


_WRONG: Final = (
    None, True, 0, -1, 1 << 63, (1 << 64) - 1, 1.5, b"", b"\x00" * 16, "", "\x00", "AAAA", [], [None], {}, {1: 2},
    cbor.Tag(18, [b"", {}, b"", b""]), Raw(b"\xf7"),
)  # fmt: skip


def _long(item: object) -> Raw:
    number = item if isinstance(item, int) else 0
    major, value = (0, number) if number >= 0 else (1, -1 - number)
    return Raw(bytes([major << 5 | 27]) + value.to_bytes(8, "big"))


def _pieces(item: object) -> Raw:
    return Raw((b"\x5f" if isinstance(item, bytes) else b"\x7f") + write(item) + b"\xff")


def _long_string(item: object) -> Raw:
    data = item.encode() if isinstance(item, str) else bytes(item)
    return Raw((b"\x7a" if isinstance(item, str) else b"\x5a") + len(data).to_bytes(4, "big") + data)


def _twice(item: object) -> Raw:
    pairs = [write(key) + write(value) for key, value in item.items()] or [b"\x01\x01"]
    return Raw(_head(5, len(pairs) + 1) + b"".join(pairs) + pairs[0])


def _head(major: int, value: int) -> bytes:
    """Of an array, a map or a tag: that of an integer, with another major type."""
    first, *rest = cbor.dumps(value)
    return bytes([major << 5 | first, *rest])

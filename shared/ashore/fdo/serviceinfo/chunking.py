"""Cutting key-values into messages of a given size, and putting fragments together again.

`Queue` fills messages: whole items as long as they fit, and a fragment only where a value is longer than any message
(FDO 1.1, section 3.8.2). `Joiner` is the way back: consecutive values of one key are joined, and complete CBOR items
come out as soon as they are complete. It therefore takes one item per value (C client, Java), several items in one
value (the Go client writes all new lines of a command's output so) and one item in several values, also over several
messages (Go again).
"""

from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ashore import cbor
from ashore.fdo.serviceinfo import KeyValue, ServiceInfoError, split_key

DEVICE_FRAMING: Final = 5
"""Bytes of `[is_more, [...]]` around the items, with an array head of three bytes."""
OWNER_FRAMING: Final = 6
"""The same for `[is_more, is_done, [...]]`."""
VALUE_MARGIN: Final = 40
VALUE_LIMIT: Final = 8000
"""The C client keeps a value in 8192 bytes: 8185 passed, 9000 failed (measured)."""
MESSAGE_ITEMS: Final = 500
"""The Go client blocks for ever when 1000 items are queued before it may answer."""
_SMALLEST_FRAGMENT: Final = 16
_LONGEST_STRING: Final = 65_535


def string_room(size: int) -> int:
    """Length of the longest CBOR string that fits into `size` bytes with its head; 0 when there is none."""
    if size <= 24:  # noqa: PLR2004 (RFC 8949, section 3: a head of one byte up to 23, of two up to 255, of three above)
        return max(0, size - 1)
    return size - 2 if size <= 257 else min(size - 3, _LONGEST_STRING)  # noqa: PLR2004 (the same)


def string_size(length: int) -> int:
    """Bytes that a CBOR string of this length takes, with its head."""
    return length + (1 if length < 24 else 2 if length < 256 else 3 if length < 65_536 else 5)  # noqa: PLR2004 (RFC 8949)


def item_size(key: str, length: int) -> int:
    """Bytes that a key-value takes on the wire, from the length of its value."""
    return _pair_size(key) + string_size(length)


@lru_cache(maxsize=256)
def _pair_size(key: str) -> int:
    """Bytes of a key-value without its value; there are only so many keys."""
    return 1 + string_size(len(key.encode()))


class Queue:
    """Items that wait to be sent, in order.

    `max_size` is the size of a whole message in bytes, `framing` what the message needs besides its items.
    """

    def __init__(self, max_size: int, framing: int) -> None:
        self._budget = max_size - framing
        self._value_limit = min(max_size - VALUE_MARGIN, VALUE_LIMIT)
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        """Each with its size on the wire."""
        self._size = 0

    def __len__(self) -> int:
        """Give the number of items that still wait."""
        return len(self._waiting)

    def put(self, key: str, value: bytes) -> None:
        """Append one item; `value` is one encoded CBOR item."""
        size = item_size(key, len(value))
        self._waiting.append((key, value, size))
        self._size += size

    def room(self, key: str) -> int:
        """Bytes of the longest value that the next message still takes under this key."""
        if len(self._waiting) >= MESSAGE_ITEMS:
            return 0
        return min(string_room(self._budget - self._size - _pair_size(key)), self._value_limit)

    def pack(self) -> tuple[tuple[KeyValue, ...], bool]:
        """Take what fits into one message; the second result says that its last value is only a fragment."""
        items: list[KeyValue] = []
        free = self._budget
        while self._waiting and len(items) < MESSAGE_ITEMS:
            key, value, size = self._waiting[0]
            if len(value) > self._value_limit:
                room = min(string_room(free - _pair_size(key)), self._value_limit)
                if room < _SMALLEST_FRAGMENT and items:
                    break
                self._shorten_first(room)
                return (*items, (key, value[:room])), True
            if size > free:
                break
            self._waiting.popleft()
            self._size -= size
            free -= size
            items.append((key, value))
        return tuple(items), False

    def _shorten_first(self, taken: int) -> None:
        key, value, size = self._waiting[0]
        left = item_size(key, len(value) - taken)
        self._waiting[0] = (key, value[taken:], left)
        self._size += left - size


class Joiner:
    """Puts received values together to decoded items.

    At most `max_items` key-values in a message, and `max_value` bytes in one CBOR item.
    """

    def __init__(self, *, max_items: int = 1000, max_value: int = cbor.MAX_SIZE) -> None:
        self._max_items = max_items
        self._max_value = max_value
        self._key = ""
        self._scanner = _Scanner(max_value)

    def feed(self, items: Sequence[KeyValue]) -> list[tuple[str, str, object]]:
        """Take one message's items and give `(module, message, value)` for each CBOR item that is now complete."""
        if len(items) > self._max_items:
            raise ServiceInfoError(f"{len(items)} service info items in one message, at most {self._max_items}")
        found: list[tuple[str, str, object]] = []
        for key, value in items:
            module, message = split_key(key)
            if key != self._key:
                self.finish()
                self._key = key
            for item in self._scanner.feed(value):
                found.append((module, message, item))  # noqa: PERF401 - a generator for each value costs more
        return found

    def finish(self) -> None:
        """Check that nothing is left half received; to be called when the sender has no more to say."""
        if self._scanner.buffer:
            raise ServiceInfoError(f"the value of {self._key} ends in the middle")
        self._key = ""


class _Scanner:
    """Finds the ends of CBOR items in a stream, without recursion and without looking at any byte twice."""

    def __init__(self, max_value: int) -> None:
        self._max_value = max_value
        self.buffer = bytearray()
        """What is not yet a whole item."""
        self._at = 0
        self._pending = 1

    def feed(self, data: bytes) -> list[object]:
        if not self.buffer:
            try:
                # One whole item is what nearly every value is.
                return [cbor.loads(data, max_size=self._max_value)]
            except cbor.CborError:
                pass
        self.buffer += data
        found = []
        while self._complete():
            try:
                found.append(cbor.loads(bytes(self.buffer[: self._at]), max_size=self._max_value))
            except cbor.CborError as error:
                raise ServiceInfoError(f"a service info value is not CBOR: {error}") from error
            del self.buffer[: self._at]
            self._at, self._pending = 0, 1
        if len(self.buffer) > self._max_value:
            raise ServiceInfoError(f"a service info value is longer than {self._max_value} bytes")
        return found

    def _complete(self) -> bool:
        while self._pending:
            head = _head(self.buffer, self._at)
            if head is None:
                return False
            length, children = head
            if max(length, children) > self._max_value:
                raise ServiceInfoError(f"a service info value is longer than {self._max_value} bytes")
            if self._at + length > len(self.buffer):
                return False
            self._at += length
            self._pending += children - 1
        return True


def _head(data: bytearray, at: int) -> tuple[int, int] | None:
    """Length in bytes of the item's own part, and how many items follow in it; None when the head is not yet there."""
    if at >= len(data):
        return None
    major, info = data[at] >> 5, data[at] & 31
    if info > 27:  # noqa: PLR2004 (RFC 8949, section 3: reserved, and indefinite lengths)
        raise ServiceInfoError("a service info value is not of definite length")
    width = 0 if info < 24 else 1 << (info - 24)  # noqa: PLR2004 (RFC 8949, section 3)
    if at + 1 + width > len(data):
        return None
    argument = int.from_bytes(data[at + 1 : at + 1 + width]) if width else info
    match major:
        case 2 | 3:
            return 1 + width + argument, 0
        case 4 | 5:
            return 1 + width, argument * (major - 3)
        case _:
            return 1 + width, 1 if major == 6 else 0  # noqa: PLR2004 (a tag holds one item)

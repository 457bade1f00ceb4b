"""Cutting and joining, for any values and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore import cbor
from ashore.fdo.serviceinfo import KeyValue, ServiceInfoError, message_size, split_key
from ashore.fdo.serviceinfo.chunking import (
    MESSAGE_ITEMS,
    OWNER_FRAMING,
    Joiner,
    Queue,
    item_size,
    string_room,
    string_size,
)

KEYS = st.sampled_from(["fdo_sys:write", "fdo.download:data", "a:b", "module-of-31-characters-in-all.:message"])
VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none() | st.text(max_size=300) | st.binary(max_size=3000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=40), st.integers(256, 9000))
def test_what_was_cut_is_joined_again(items: list[tuple[str, object]], size: int) -> None:
    queue = Queue(size, OWNER_FRAMING)
    for key, value in items:
        queue.put(key, cbor.dumps(value))
    joiner = Joiner()
    received: list[tuple[str, str, object]] = []
    while queue:
        packed, is_fragment = queue.pack()
        assert packed
        assert len(cbor.dumps([True, True, [list(pair) for pair in packed]])) <= size
        received += joiner.feed(packed)
        if not is_fragment:
            joiner.finish()
    assert received == [(*key.split(":"), value) for key, value in items]


@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_any_cut_of_a_stream_gives_the_same_items(items: list[object], cuts: list[int]) -> None:
    stream = b"".join(cbor.dumps(value) for value in items)
    pieces: list[KeyValue] = []
    for index in range(len(stream)):
        length = cuts[index % len(cuts)]
        pieces.append(("a:b", stream[:length]))
        stream = stream[length:]
    joiner = Joiner(max_items=20_000)
    assert [value for _, _, value in joiner.feed(pieces)] == items
    joiner.finish()


@given(st.integers(0, 70_000))
def test_room_is_the_longest_string_that_fits(size: int) -> None:
    room = string_room(size)
    if size > 0:
        assert string_size(room) <= size
    if room < 65_535:
        assert string_size(room + 1) > size


def test_the_room_that_a_queue_offers_can_be_used_to_the_last_byte() -> None:
    for size in range(256, 600):
        queue = Queue(size, OWNER_FRAMING)
        queue.put("a:b", b"\x01")
        queue.put("fdo_sys:write", cbor.dumps(bytes(string_room(queue.room("fdo_sys:write")))))
        assert len(queue.pack()[0]) == 2
        assert not queue


def test_no_value_is_longer_than_the_c_client_can_take() -> None:
    queue = Queue(64_000, OWNER_FRAMING)
    assert queue.room("fdo_sys:write") == 8000
    assert Queue(1300, OWNER_FRAMING).room("fdo_sys:write") == 1260


def test_a_message_holds_a_bounded_number_of_items() -> None:
    queue = Queue(65_000, OWNER_FRAMING)
    for _ in range(1200):
        queue.put("a:b", b"\x01")
    assert queue.room("a:b") == 0
    assert [len(queue.pack()[0]) for _ in range(3)] == [MESSAGE_ITEMS, MESSAGE_ITEMS, 200]


def test_a_value_that_ends_in_the_middle_is_refused() -> None:
    joiner = Joiner()
    joiner.feed([("a:b", b"\x42\x01")])
    with pytest.raises(ServiceInfoError, match="ends in the middle"):
        joiner.finish()
    joiner = Joiner()
    joiner.feed([("a:b", b"\x42\x01")])
    with pytest.raises(ServiceInfoError, match="ends in the middle"):
        joiner.feed([("a:c", b"\x01")])


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\x9f\xff", id="indefinite"),
        pytest.param(b"\x1c", id="reserved"),
        pytest.param(b"\x5b" + b"\xff" * 8, id="a string without end"),
        pytest.param(b"\x9b" + b"\xff" * 8, id="an array without end"),
        pytest.param(b"\x81" * 40 + b"\x01", id="deep"),
        pytest.param(b"\x18\x01", id="not the shortest form"),
        pytest.param(b"\x61\xff", id="not UTF-8"),
        pytest.param(b"\xc2\x41\x01", id="a bignum"),
        pytest.param(b"\xd8\x1c\x80", id="a shared reference"),
        pytest.param(b"\xa2\x01\x01\x01\x02", id="a key twice"),
    ],
)
def test_hostile_values_are_refused(value: bytes) -> None:
    with pytest.raises(ServiceInfoError):
        Joiner().feed([("a:b", value)])


def test_a_value_that_grows_without_end_is_refused() -> None:
    joiner = Joiner(max_value=10_000)
    with pytest.raises(ServiceInfoError, match="longer than 10000"):
        joiner.feed([("a:b", b"\x98\xff" + b"\x81" * 1000)] * 100)


def test_too_many_items_in_a_message_are_refused() -> None:
    with pytest.raises(ServiceInfoError, match="1001 service info items"):
        Joiner().feed([("a:b", b"\x01")] * 1001)


@pytest.mark.parametrize("key", ["", "a", ":", "a:", ":b", "m" * 32 + ":b", "a:" + "b" * 31])
def test_keys_of_the_wrong_shape_are_refused(key: str) -> None:
    with pytest.raises(ServiceInfoError):
        split_key(key)


def test_announced_sizes_are_bounded() -> None:
    assert message_size(None) == 1300
    assert message_size(65_535) == 65_400
    with pytest.raises(ServiceInfoError):
        message_size(255)


def test_the_size_of_an_item_is_counted_as_it_is_encoded() -> None:
    for length in (0, 1, 23, 24, 255, 256, 5000):
        assert item_size("fdo_sys:write", length) == len(cbor.dumps(["fdo_sys:write", bytes(length)]))

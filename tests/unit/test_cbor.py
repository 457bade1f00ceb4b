"""Strict CBOR: what is refused, and that the rest comes back to the byte."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore import cbor

ITEMS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=64) | st.text(max_size=32),
    lambda children: (
        st.lists(children, max_size=5)
        | st.dictionaries(st.integers(-1000, 1000) | st.text(max_size=5), children, max_size=5)
    ),
    max_leaves=20,
)


@given(ITEMS)
def test_what_we_write_we_read_back_to_the_byte(item: object) -> None:
    data = cbor.dumps(item)
    value = cbor.loads(data)
    assert value == item
    assert cbor.dumps(value) == data


@given(st.binary(max_size=200))
def test_what_is_accepted_can_be_rebuilt_to_the_byte(data: bytes) -> None:
    try:
        value = cbor.loads(data)
    except cbor.CborError:
        return
    assert cbor.dumps(value) == data


@given(ITEMS, st.integers(0, 200))
def test_a_truncated_item_is_refused(item: object, cut: int) -> None:
    data = cbor.dumps(item)
    if cut < len(data):
        with pytest.raises(cbor.CborError):
            cbor.loads(data[:cut])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "premature"),
        ("0101", "trailing"),
        ("1801", "shortest"),
        ("190001", "shortest"),
        ("580141", "shortest"),
        ("9f01ff", "indefinite"),
        ("bf0102ff", "indefinite"),
        ("5f4101ff", "indefinite"),
        ("a201010102", "[Dd]uplicate"),
        ("a2010218010", "trailing|shortest|uplicate|premature"),
        ("c249010000000000000000", "tag"),
        ("d81c80", "tag"),
        ("d8236161", "tag"),
        ("c11a00000000", "tag"),
        ("d9d9f780", "tag"),
        ("61ff", "utf-8"),
        ("81" * 40 + "01", "depth"),
        ("d2" * 40 + "01", "depth"),
        ("9bffffffffffffffff", "."),
        ("5bffffffffffffffff", "."),
        ("fb7ff0000000000000", "shortest"),
    ],
)
def test_what_is_not_deterministic_is_refused_with_a_reason(data: str, reason: str) -> None:
    with pytest.raises(cbor.CborError, match=reason):
        cbor.loads(bytes.fromhex(data + "0" * (len(data) % 2)))


def test_more_than_64_kb_are_refused_before_they_are_read() -> None:
    with pytest.raises(cbor.CborError, match="65536 bytes"):
        cbor.loads(b"\x00" * 65_536)


def test_the_order_of_a_maps_keys_is_kept() -> None:
    data = bytes.fromhex("a2190100010a02")
    assert cbor.dumps(cbor.loads(data)) == data


def test_the_order_of_a_maps_keys_is_kept_below_a_tag() -> None:
    data = bytes.fromhex("d28440a2190100010a024040")
    assert cbor.dumps(cbor.loads(data)) == data


def test_many_colliding_keys_do_not_stop_the_service() -> None:
    keys = [(2**61 - 1) * number for number in range(7)]
    data = cbor2.dumps(dict.fromkeys(keys, 0))
    assert len(cbor.loads(data)) == 7

"""The alterations with which services are tried are what they say, and reach all of a message."""

import pytest

from ashore import cbor
from tests.alterations import INSIDE, alterations, write
from tests.fuzz.recordings import recorded

SAMPLE = [1, b"\x00", {2: cbor.dumps([-3, "t"])}, cbor.Tag(18, [b"", {}, None])]


def test_each_alteration_alters() -> None:
    body = cbor.dumps(SAMPLE)
    for one in alterations(body):
        assert one.of(body) != body, one.name


def test_each_name_is_given_once() -> None:
    names = [one.name for one in alterations(cbor.dumps(SAMPLE))]
    assert len(set(names)) == len(names)


def test_what_is_inside_byte_strings_is_altered_too() -> None:
    body = cbor.dumps(SAMPLE)
    (one,) = (one for one in alterations(body) if one.name == f"nine bytes at 2/(2,)/{INSIDE}/0")
    assert cbor.loads(one.of(body))[2] == {2: b"\x82\x3b" + bytes(7) + b"\x02\x61t"}


@pytest.mark.parametrize("name", ["an endless form", "a key twice", "nine bytes", "pieces", "depth", "a longer length"])
def test_what_is_not_deterministic_is_no_cbor_for_us(name: str) -> None:
    body = cbor.dumps(SAMPLE)
    found = [one for one in alterations(body) if one.name.startswith(f"{name} at") and INSIDE not in one.name]
    assert found
    for one in found:
        with pytest.raises(cbor.CborError):
            cbor.loads(one.of(body))


def test_what_is_real_is_written_back_to_the_byte() -> None:
    for body in [*recorded("22_*.cbor"), *recorded("64_*.cbor")]:
        assert write(cbor.loads(body)) == body


def test_an_alteration_goes_with_the_message_of_another_session() -> None:
    first, other, *_ = recorded("64_*.cbor")
    assert all(one.of(other) != other for one in alterations(first) if "flipped" in one.name)

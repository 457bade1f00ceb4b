"""The one guard: Hypothesis tries every state with every message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.fdo.errors import OrderError
from ashore.fdo.messages import MESSAGES, START, admit, is_encrypted

NUMBERS = sorted(MESSAGES)
LAWFUL = {
    START: {10, 20, 30, 60},
    10: {11},
    11: {12},
    12: {13},
    20: {21},
    21: {22},
    22: {23},
    30: {31},
    31: {32},
    32: {33},
    60: {61},
    61: {62, 64},
    62: {63},
    63: {62, 64},
    64: {65},
    65: {66},
    66: {67},
    67: {68},
    68: {69},
    69: {68, 70},
    70: {71},
}
ENCRYPTED = {65, 66, 67, 68, 69, 70, 71}


@given(state=st.integers(0, 255), number=st.sampled_from(NUMBERS), encrypted=st.booleans())
def test_only_what_the_specification_allows_passes_the_guard(state: int, number: int, encrypted: bool) -> None:
    lawful = number in LAWFUL.get(state, set()) and encrypted == (number in ENCRYPTED)
    if lawful:
        admit(state, MESSAGES[number], encrypted=encrypted)
    else:
        with pytest.raises(OrderError):
            admit(state, MESSAGES[number], encrypted=encrypted)


def test_every_state_and_message_is_in_the_table() -> None:
    reachable = {(state, number) for state, numbers in LAWFUL.items() for number in numbers}
    declared = {(state, number) for number, message in MESSAGES.items() for state in message.after}
    assert declared == reachable


def test_the_refusal_names_what_was_expected() -> None:
    with pytest.raises(OrderError, match=r"message 70 cannot come after message 61; expected \[62, 64\]"):
        admit(61, MESSAGES[70], encrypted=True)


def test_encrypted_bodies_are_told_by_their_tag() -> None:
    assert is_encrypted(b"\xd0\x83")
    assert is_encrypted(b"\xd1\x84")
    assert not is_encrypted(b"\xd2\x84")
    assert not is_encrypted(b"")

"""The device's introduction, as honest, sloppy and hostile devices send it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.fdo.serviceinfo import DeviceTurn, ServiceInfoError
from ashore.fdo.serviceinfo.devmod import DevmodReader
from ashore.fdo.serviceinfo.owner import OwnerConversation
from tests.unit.serviceinfo.kit import item


def read(*messages: tuple[str, object]) -> DevmodReader:
    reader = DevmodReader()
    for message, value in messages:
        reader.receive(message, value)
    return reader


def test_a_list_in_chunks_that_count_on() -> None:
    reader = read(("nummodules", 3), ("modules", [0, 2, "a", "b"]))
    assert not reader.complete
    reader.receive("modules", [2, 1, "c"])
    assert reader.complete
    assert reader.result.modules == ("a", "b", "c")


def test_a_list_in_chunks_that_all_start_at_zero_as_the_java_device_sends_it() -> None:
    reader = read(("nummodules", 2), ("modules", [0, 1, "a"]), ("modules", [0, 1, "b"]))
    assert reader.result.modules == ("a", "b")


def test_a_list_before_its_length() -> None:
    assert read(("modules", [0, 1, "a"]), ("nummodules", 1)).complete


def test_chunks_that_the_go_client_joins_in_one_value() -> None:
    owner = OwnerConversation([], None)
    modules = item("devmod:modules", [0, 1, "a"])[1] + item("devmod:modules", [1, 1, "b"])[1]
    assert owner.step(DeviceTurn(items=[item("devmod:nummodules", 2), ("devmod:modules", modules)])).is_done
    assert owner.devmod is not None
    assert owner.devmod.modules == ("a", "b")


@pytest.mark.parametrize(
    "chunk",
    [
        [-1, 1, "a"],
        [0, -1],
        [5, 1, "a"],
        [0, 5, "a"],
        [2**62, 1, "a"],
        [0, 2**62, "a"],
        [0, 1],
        [0, 0, "a"],
        [0, 1, ""],
        [0, 1, 7],
        [0, 1, "m" * 32],
        ["0", 1, "a"],
        [True, 1, "a"],
        [0, 3, "a", "b", "c"],
        [0],
        [],
        {},
        "a",
        None,
    ],
)
def test_a_chunk_out_of_range_is_refused(chunk: object) -> None:
    with pytest.raises(ServiceInfoError):
        read(("nummodules", 2), ("modules", chunk))


@pytest.mark.parametrize("count", [-1, 257, 2**62, "1", None, True])
def test_a_count_out_of_range_is_refused(count: object) -> None:
    with pytest.raises(ServiceInfoError):
        read(("nummodules", count))


def test_a_serial_number_may_be_text_or_bytes() -> None:
    assert read(("sn", "A1")).result.sn == "A1"
    assert read(("sn", b"A1")).result.sn == "A1"
    assert read(("sn", b"\xff\x00")).result.sn == "ff00"


def test_facts_that_the_standard_does_not_know_are_ignored() -> None:
    assert read(("colour", "blue"), ("os", "linux")).result.os == "linux"


def test_a_fact_that_is_too_long_is_refused() -> None:
    with pytest.raises(ServiceInfoError):
        read(("os", "x" * 1025))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.lists(st.tuples(st.sampled_from(["active", "os", "sn", "nummodules", "modules", "?"]), ANYTHING)))
def test_whatever_comes_is_taken_or_refused(messages: list[tuple[str, object]]) -> None:
    reader = DevmodReader()
    for message, value in messages:
        try:
            reader.receive(message, value)
        except ServiceInfoError:
            return
    assert len(reader.result.modules) <= 256

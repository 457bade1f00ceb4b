"""Sparkplug B: births, deaths by their numbers, and payloads that nobody should send."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.handlers.mqtt import protobuf
from ashore_discovery.handlers.mqtt.details import Late, Sparkplug
from ashore_discovery.handlers.mqtt.scheme import MOST_DEVICES, Heard, Message
from ashore_discovery.handlers.mqtt.sparkplug import SparkplugScheme
from ashore_discovery.model import Sighting
from tests.unit.discovery.test_mqtt_own import check

NODE, DEVICE = "plant/spBv1.0/hall/edge", "plant/spBv1.0/hall/edge/valve"


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def metric(name: str, datatype: int, field: bytes) -> bytes:
    body = b"\x0a" + varint(len(name)) + name.encode() + b"\x20" + varint(datatype) + field
    return b"\x12" + varint(len(body)) + body


def born(number: int) -> bytes:
    return metric("bdSeq", 8, b"\x58" + varint(number)) + metric("Properties/Serial Number", 12, b"\x7a\x04S-77")


def scheme(late: Late = "listen") -> SparkplugScheme:
    return SparkplugScheme("plant", "mqtt://broker", Sparkplug(late=late))


def hear(one: SparkplugScheme, what: str, payload: bytes = b"", *, device: str = "", at: float = 100.0) -> Heard:
    topic = f"spBv1.0/hall/{what}/edge" + (f"/{device}" if device else "")
    heard = one.hear(Message(topic, payload, False, at))
    assert heard is not None
    check(heard)
    return heard


def said(heard: Heard) -> list[tuple[str, str]]:
    return [(item.kind, item.id) for item in heard.items if isinstance(item, Sighting)]


def test_births_and_deaths() -> None:
    one = scheme()
    heard = hear(one, "NBIRTH", born(3))
    assert said(heard) == [("seen", NODE)]
    assert isinstance(heard.items[0], Sighting)
    assert heard.items[0].facts["serial"] == "S-77"
    assert said(hear(one, "DBIRTH", device="valve")) == [("seen", DEVICE)]
    assert said(hear(one, "DDEATH", device="valve")) == [("gone", DEVICE)]
    hear(one, "DBIRTH", device="valve")
    assert said(hear(one, "NDEATH", metric("bdSeq", 8, b"\x58\x03"))) == [("gone", DEVICE), ("gone", NODE)]
    assert one.holds(NODE, 1.0) is False
    assert one.holds(DEVICE, 1.0) is False


def test_the_death_of_an_older_birth_ends_nothing() -> None:
    one = scheme()
    hear(one, "NBIRTH", born(4))
    assert said(hear(one, "NDEATH", metric("bdSeq", 8, b"\x58\x03"))) == []
    assert one.holds(NODE, 1.0)


def test_a_rebirth_in_the_same_session_leaves_devices_alone_and_a_new_session_does_not() -> None:
    one = scheme()
    hear(one, "NBIRTH", born(4))
    hear(one, "DBIRTH", device="valve")
    assert said(hear(one, "NBIRTH", born(4))) == [("seen", NODE)]
    assert said(hear(one, "NBIRTH", born(5))) == [("seen", NODE), ("bye", DEVICE)]


def test_data_is_a_sign_of_life_of_who_was_born_before_we_came() -> None:
    one = scheme()
    heard = hear(one, "DDATA", device="valve")
    assert said(heard) == [("seen", NODE), ("seen", DEVICE)]
    assert heard.publish == []
    assert said(hear(one, "DDATA", device="valve", at=101)) != []
    hear(one, "NBIRTH", born(1))
    hear(one, "DBIRTH", device="valve")
    assert said(hear(one, "DDATA", device="valve", at=102)) == []


def test_who_is_unknown_is_asked_once() -> None:
    one = scheme("ask")
    ((topic, payload),) = hear(one, "NDATA").publish
    assert topic == "spBv1.0/hall/NCMD/edge"
    assert protobuf.decode(payload).value("Node Control/Rebirth") is True
    assert hear(one, "NDATA", at=105).publish == []
    assert hear(one, "NDATA", at=111).publish != []
    hear(one, "NBIRTH", born(1), at=112)
    assert hear(one, "NDATA", at=130).publish == []
    one.doubt()
    assert one.holds(NODE, 130) is None
    assert one.question(DEVICE, 130) != []


def test_many_deaths_leave_room_for_the_living() -> None:
    one = scheme()
    for number in range(MOST_DEVICES + 10):
        for what in ("NBIRTH", "NDEATH"):
            one.hear(Message(f"spBv1.0/hall/{what}/n{number}", born(1), False, 1.0))
    hear(one, "NBIRTH", born(1))
    for _ in range(MOST_DEVICES + 10):
        hear(one, "DBIRTH", device="valve")
        hear(one, "DDEATH", device="valve")
    assert said(hear(one, "DBIRTH", device="valve")) == [("seen", DEVICE)]


def test_more_of_the_living_than_are_taken_are_refused() -> None:
    one = scheme()
    for number in range(MOST_DEVICES):
        one.hear(Message(f"spBv1.0/hall/NBIRTH/n{number}", born(1), False, 1.0))
    assert "are known already" in hear(one, "NBIRTH", born(1)).rejected
    assert len(one.ids()) == MOST_DEVICES


def test_a_certificate_is_somebody_to_ask_and_no_birth() -> None:
    topic = "$sparkplug/certificates/spBv1.0/hall/NBIRTH/edge"
    heard = scheme("ask").hear(Message(topic, born(1), True, 100.0))
    assert heard is not None
    assert (heard.items, len(heard.publish)) == ([], 1)


@pytest.mark.parametrize("topic", ["spBv1.0/hall/NBIRTH/edge/valve", "spBv1.0/hall/DBIRTH/edge", "spBv1.0/STATE/x"])
def test_other_topics_are_none_of_it(topic: str) -> None:
    assert scheme().hear(Message(topic, b"", False, 1.0)) is None


def test_values_of_all_kinds() -> None:
    payload = protobuf.decode(
        metric("int", 3, b"\x50" + varint(2**32 - 7))
        + metric("long", 4, b"\x58" + varint(2**64 - 1))
        + metric("double", 10, b"\x69" + struct.pack("<d", -21.5))
        + metric("float", 9, b"\x65" + struct.pack("<f", 0.5))
        + metric("flag", 11, b"\x70\x01")
        + metric("text", 12, b"\x7a\x02ok")
    )
    assert [one.value for one in payload.metrics] == [-7, -1, -21.5, 0.5, True, "ok"]


@pytest.mark.parametrize(
    "data", [b"\x12\x05ab", b"\xff" * 11, b"\x13", b"\x00\x01", b"\x12\xff\xff\xff\xff\x0f", b"\x12\x03\x0a\x01\xff"]
)
def test_a_payload_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        protobuf.decode(data)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    with suppress(ValueError):
        protobuf.decode(data)


WORDS = st.sampled_from(["NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA"])
PAYLOADS = st.binary(max_size=60) | st.integers(0, 3).map(born)


@given(st.lists(st.tuples(WORDS, PAYLOADS), max_size=12), st.sampled_from(["wait", "listen", "ask"]))
def test_no_order_of_messages_breaks_it(messages: list[tuple[str, bytes]], late: Late) -> None:
    one = scheme(late)
    for what, payload in messages:
        hear(one, what, payload, device="valve" if what.startswith("D") else "")
    assert set(one.ids()) <= {NODE, DEVICE}

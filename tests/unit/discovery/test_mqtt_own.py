"""Our own scheme at MQTT brokers: births, wills of old sessions, heartbeats."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore import cbor
from ashore_discovery.handlers.mqtt.details import Own
from ashore_discovery.handlers.mqtt.own import OwnScheme
from ashore_discovery.handlers.mqtt.scheme import MOST_DEVICES, Heard, Message
from ashore_discovery.model import Sighting

ID = "plant/ashore/v1/hall/pump"


def scheme() -> OwnScheme:
    return OwnScheme("plant", "mqtt://broker:1883", Own())


def say(one: OwnScheme, verb: str, said: object = None, *, retained: bool = False, at: float = 100.0) -> list[str]:
    payload = b"" if said is None else msgspec.json.encode(said)
    heard = one.hear(Message(f"ashore/v1/hall/pump/{verb}", payload, retained, at))
    assert heard is not None
    return [item.kind for item in heard.items if isinstance(item, Sighting)]


def birth(boot: str, **more: object) -> dict[str, object]:
    return {"boot": boot, "serial": "SN-1", "manufacturer": "ACME", "model": "P9", **more}


def test_a_birth_says_who_it_is() -> None:
    heard = scheme().hear(
        Message("ashore/v1/hall/pump/birth", msgspec.json.encode(birth("1", facts={"floor": 2})), False, 5.0)
    )
    assert heard is not None
    (found,) = heard.items
    assert isinstance(found, Sighting)
    found.check()
    assert (found.id, found.wire_at) == (ID, 5.0)
    assert found.identity == {"client": ID, "serial": "ACME/P9/SN-1"}
    assert found.facts["floor"] == 2
    assert found.endpoints == ["mqtt://broker:1883"]


def test_a_birth_may_be_cbor() -> None:
    heard = scheme().hear(Message("ashore/v1/hall/pump/birth", cbor.dumps({"boot": "1", "model": "P9"}), False, 1.0))
    assert heard is not None
    assert isinstance(heard.items[0], Sighting)
    assert heard.items[0].facts["model"] == "P9"


def test_its_own_will_ends_it() -> None:
    one = scheme()
    assert say(one, "birth", birth("1")) == ["seen"]
    assert one.holds(ID, 100.0)
    assert say(one, "death", {"boot": "1"}) == ["gone"]
    assert one.holds(ID, 100.0) is False


def test_the_late_will_of_an_old_session_ends_nothing() -> None:
    one = scheme()
    say(one, "birth", birth("1"))
    say(one, "birth", birth("2"))
    assert say(one, "death", {"boot": "1"}) == []
    assert one.holds(ID, 100.0)


@pytest.mark.parametrize("boot", ["1", "2"])
def test_who_was_dead_before_we_came_is_not_born_by_what_is_retained(boot: str) -> None:
    one = scheme()
    assert say(one, "death", {"boot": "1"}, retained=True) == []
    assert say(one, "birth", birth(boot), retained=True) == (["gone"] if boot == "1" else ["seen"])


def test_who_comes_back_in_the_same_boot_is_there() -> None:
    one = scheme()
    say(one, "birth", birth("1"))
    say(one, "death", {"boot": "1"})
    assert say(one, "birth", birth("1")) == ["seen"]


def test_an_empty_birth_takes_it_out_of_service() -> None:
    one = scheme()
    say(one, "birth", birth("1"))
    assert say(one, "birth") == ["gone"]


def test_a_heartbeat_keeps_it_and_silence_does_not() -> None:
    one = scheme()
    say(one, "birth", birth("1", ttl=10), at=100)
    assert one.holds(ID, 109)
    assert say(one, "seen", {"boot": "1"}, at=108) == ["seen"]
    assert one.holds(ID, 117)
    assert one.holds(ID, 118) is False
    assert say(one, "seen", {"boot": "0"}, at=119) == []


def test_who_fell_silent_makes_room() -> None:
    one = scheme()
    said = msgspec.json.encode(birth("1", ttl=10))
    for number in range(MOST_DEVICES):
        one.hear(Message(f"ashore/v1/hall/d{number}/birth", said, False, 100.0))
    full = one.hear(Message("ashore/v1/hall/pump/birth", said, False, 105.0))
    assert full is not None
    assert "are known already" in full.rejected
    assert say(one, "birth", birth("1"), at=111.0) == ["seen"]


def test_after_a_lost_broker_only_what_it_says_again_is_believed() -> None:
    one = scheme()
    say(one, "birth", birth("1"))
    one.doubt()
    assert one.holds(ID, 100.0) is False
    # It was born anew meanwhile: the will of its old session comes first, and must not end it.
    assert say(one, "death", {"boot": "1"}, retained=True) == []
    assert say(one, "birth", birth("2"), retained=True) == ["seen"]
    assert one.holds(ID, 100.0)


@pytest.mark.parametrize(
    "topic", ["ashore/v1/hall/pump", "ashore/v1/hall/pump/birth/x", "ashore/v1//pump/birth", "ashore/v1/a b/c/birth"]
)
def test_other_topics_are_none_of_ours(topic: str) -> None:
    assert scheme().hear(Message(topic, b"{}", False, 1.0)) is None


@given(st.binary(max_size=300), st.sampled_from(["birth", "death", "seen"]), st.booleans())
def test_no_payload_breaks_it(payload: bytes, verb: str, retained: bool) -> None:
    heard = scheme().hear(Message(f"ashore/v1/hall/pump/{verb}", payload, retained, 1.0))
    check(heard)


TEXTS = st.text("ab0~/.{}+# \x00\u00e9\U0001f600", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["boot", "serial", "model", "ttl", "facts", "manufacturer"])


@given(st.dictionaries(FIELDS, JSON))
def test_no_birth_breaks_it(said: dict[str, object]) -> None:
    check(scheme().hear(Message("ashore/v1/hall/pump/birth", msgspec.json.encode(said), False, 1.0)))


def check(heard: Heard | None) -> None:
    for item in heard.items if heard else []:
        if isinstance(item, Sighting):
            item.check()

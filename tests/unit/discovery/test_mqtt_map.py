"""Topic maps, and what a configuration of the handler `mqtt` may say."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.handlers.mqtt import topic_map
from ashore_discovery.handlers.mqtt.details import Gone, MqttDetails, Own, Record, Sparkplug, TopicMap, plan_of
from ashore_discovery.handlers.mqtt.handler import Mqtt
from ashore_discovery.handlers.mqtt.scheme import Message, at_pointer
from ashore_discovery.handlers.mqtt.topic_map import TopicMapScheme
from ashore_discovery.model import Facet, Offer, Refusal, Sighting
from tests.unit.discovery.test_mqtt_own import JSON, TEXTS, check

MAP = TopicMap(
    name="line",
    topic="plant/{line}/{device}/status/#",
    id="{line}-{device}",
    facts={"model": "/info/model", "tags": "/tags"},
    serial="/info/sn",
    gone=Gone(pointer="/state", values=["off", "0", "false"]),
)


def say(one: TopicMapScheme, topic: str, said: object, at: float = 1.0) -> list[Sighting]:
    payload = said if isinstance(said, bytes) else msgspec.json.encode(said)
    heard = one.hear(Message(topic, payload, True, at))
    assert heard is not None
    check(heard)
    return [item for item in heard.items if isinstance(item, Sighting)]


def test_levels_and_pointers_make_a_device() -> None:
    one = TopicMapScheme("b", "mqtt://b", MAP)
    assert one.filters() == ["plant/+/+/status/#"]
    (found,) = say(one, "plant/l1/pump/status", {"state": "on", "tags": ["a"], "info": {"model": "P", "sn": 12345}})
    assert found.id == "b/map/line/l1-pump"
    assert found.facts["tags"] == ["a"]
    assert found.identity["serial"] == "/P/12345"
    assert one.holds(found.id, 1.0)


@pytest.mark.parametrize("said", [b"", {"state": "off"}, {"state": 0}, {"state": False}])
def test_it_is_gone_as_the_map_says(said: object) -> None:
    one = TopicMapScheme("b", "mqtt://b", MAP)
    say(one, "plant/l1/pump/status", {"state": "on"})
    assert [found.kind for found in say(one, "plant/l1/pump/status", said)] == ["gone"]


def test_where_topics_are_not_retained_only_long_silence_tells() -> None:
    one = TopicMapScheme("b", "u", TopicMap(name="m", topic="t/{d}", retained=False, ttl=10))
    (found,) = say(one, "t/x", b"1", at=100)
    one.doubt()
    assert one.holds(found.id, 105) is None
    assert one.holds(found.id, 111) is False
    assert one.silence() == 10


@pytest.mark.parametrize(
    ("topic", "name", "why"),
    [
        ("plant/+/x", "", "no level is a name"),
        ("plant/{a}/{a}", "", "stands there twice"),
        ("plant/x{a}", "", "neither a text"),
        ("plant/#/{a}", "", "neither a text"),
        ("plant//{a}", "", "neither a text"),
        ("plant/{a}", "{b}", "names 'b'"),
        ("plant/{a}", "all", "all devices would be one"),
    ],
)
def test_a_map_that_cannot_be_used_is_told(topic: str, name: str, why: str) -> None:
    assert why in topic_map.problems(TopicMap(name="m", topic=topic, id=name))[0]


@given(st.text(max_size=40))
def test_no_topic_of_a_map_breaks_its_reading(topic: str) -> None:
    topic_map.problems(TopicMap(name="m", topic=topic))


@given(TEXTS, st.binary(max_size=100) | JSON.map(msgspec.json.encode))
def test_no_message_breaks_a_map(level: str, payload: bytes) -> None:
    heard = TopicMapScheme("b", "u", MAP).hear(Message(f"plant/{level}/pump/status", payload, False, 1.0))
    check(heard)


def test_pointers_follow_their_rfc() -> None:
    document = {"a/b": [{"m~n": 1}]}
    assert at_pointer(document, "/a~1b/0/m~0n") == 1
    assert at_pointer(document, "/a~1b/7") is None
    assert at_pointer(document, "/a~1b/x") is None


def test_a_configuration_needs_a_scheme() -> None:
    assert list(Mqtt.problems(MqttDetails()))
    assert not list(Mqtt.problems(MqttDetails(own=Own())))


def test_a_mistake_in_a_configuration_is_told_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'sparkplug'"):
        read(MqttDetails, {"sparkplugs": {}}, "details")


def test_a_filter_is_no_part_of_the_plan_and_the_most_curious_configuration_decides() -> None:
    plan = plan_of(
        [
            MqttDetails(sparkplug=Sparkplug(late="wait"), facts={"model": "A*"}),
            MqttDetails(sparkplug=Sparkplug(late="ask")),
            MqttDetails(own=Own(), broker="other"),
        ]
    )
    assert plan == {"default": {"sparkplug": Sparkplug(late="ask")}, "other": {"own:ashore/v1": Own()}}
    assert Mqtt.plan([MqttDetails(own=Own())]) == Mqtt.plan([MqttDetails(own=Own(), facts={"model": "B"})])


@pytest.mark.parametrize(
    ("details", "why"),
    [
        (MqttDetails(broker="plant", own=Own(), facts={"model": "p*"}), None),
        (MqttDetails(own=Own()), "at the broker"),
        (MqttDetails(broker="plant", sparkplug=Sparkplug()), "announces itself by"),
        (MqttDetails(broker="plant", own=Own(), facts={"model": "q*"}), "not like q*"),
    ],
)
def test_a_configuration_gets_what_it_asks_for_and_no_more(details: MqttDetails, why: str | None) -> None:
    record = Record(broker="plant", scheme="own:ashore/v1", topic="ashore/v1/s/d/birth", url="mqtt://b:1883")
    answer = Mqtt.offer(
        details, Facet(source="mqtt", handler="mqtt", id="x", facts={"model": "P9"}, record=record), list
    )
    if why is None:
        assert isinstance(answer, Offer)
        assert answer.properties["MQTT_URL"] == "mqtt://b:1883"
    else:
        assert isinstance(answer, Refusal)
        assert why in answer.why

"""Home Assistant's discovery: entities make devices, availability decides whether they are there."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.handlers.mqtt.details import HomeAssistant
from ashore_discovery.handlers.mqtt.home_assistant import HomeAssistantScheme
from ashore_discovery.handlers.mqtt.scheme import Heard, Message
from ashore_discovery.model import Sighting
from tests.unit.discovery.test_mqtt_own import JSON, check

ID = "plant/homeassistant/0x1234"
DEVICE = {
    "ids": ["0x1234"],
    "cns": [["mac", "AC:CC:8E:0A:0B:0C"]],
    "mf": "Bosch",
    "mdl": "T1",
    "sn": "S-77",
    "name": "Therm",
}


def scheme() -> HomeAssistantScheme:
    return HomeAssistantScheme("plant", "mqtt://broker", HomeAssistant())


def hear(one: HomeAssistantScheme, topic: str, said: object = None) -> Heard:
    payload = said if isinstance(said, bytes) else b"" if said is None else msgspec.json.encode(said)
    heard = one.hear(Message(topic, payload, True, 1.0))
    assert heard is not None
    check(heard)
    return heard


def kinds(heard: Heard) -> list[str]:
    return [item.kind for item in heard.items if isinstance(item, Sighting)]


def test_entities_of_one_device_are_one() -> None:
    one = scheme()
    hear(one, "homeassistant/sensor/t/config", {"uniq_id": "a", "dev": DEVICE})
    heard = hear(one, "homeassistant/binary_sensor/node/w/config", {"uniq_id": "b", "device": DEVICE})
    (found,) = heard.items
    assert isinstance(found, Sighting)
    assert found.id == ID
    assert found.facts["components"] == ["binary_sensor", "sensor"]
    assert found.facts["name"] == "Therm"
    assert found.identity == {"client": ID, "mac": ["AC:CC:8E:0A:0B:0C"], "serial": "Bosch/T1/S-77"}


def test_it_is_gone_with_its_last_entity() -> None:
    one = scheme()
    hear(one, "homeassistant/sensor/t/config", {"dev": DEVICE})
    hear(one, "homeassistant/sensor/h/config", {"dev": DEVICE})
    assert kinds(hear(one, "homeassistant/sensor/t/config")) == ["seen"]
    assert kinds(hear(one, "homeassistant/sensor/h/config")) == ["gone"]
    assert one.ids() == []


def test_it_is_there_while_its_availability_says_so() -> None:
    one = scheme()
    heard = hear(one, "homeassistant/light/l/config", {"~": "zig/lamp", "avty_t": "~/state", "dev": DEVICE})
    assert (kinds(heard), heard.listen) == ([], ["zig/lamp/state"])
    assert one.holds(ID, 1.0) is None
    assert kinds(hear(one, "zig/lamp/state", b"online")) == ["seen"]
    assert one.more() == ["zig/lamp/state"]
    assert kinds(hear(one, "zig/lamp/state", b"offline")) == ["gone"]
    assert one.holds(ID, 1.0) is False
    assert hear(one, "homeassistant/light/l/config").forget == ["zig/lamp/state"]


@pytest.mark.parametrize(
    ("mode", "said", "kind"),
    [
        ("all", [b"online"], []),
        ("all", [b"online", b"online"], ["seen"]),
        ("any", [b"offline", b"online"], ["seen"]),
        ("latest", [b"online", b"offline"], ["gone"]),
    ],
)
def test_several_availabilities(mode: str, said: list[bytes], kind: list[str]) -> None:
    one = scheme()
    listed = [{"topic": "a/0"}, {"t": "a/1"}]
    hear(one, "homeassistant/light/l/config", {"availability": listed, "avty_mode": mode, "dev": DEVICE})
    found: list[str] = []
    for index, payload in enumerate(said):
        found = kinds(hear(one, f"a/{index}", payload))
    assert found == kind


def test_a_template_that_names_a_value_is_understood() -> None:
    one = scheme()
    config = {"avty": {"topic": "a", "val_tpl": "{{ value_json.state.now }}", "pl_avail": "up"}, "dev": DEVICE}
    hear(one, "homeassistant/light/l/config", config)
    assert kinds(hear(one, "a", {"state": {"now": "up"}})) == ["seen"]


def test_a_description_of_a_whole_device() -> None:
    one = scheme()
    parts = {"a": {"p": "sensor"}, "b": {"platform": "light"}}
    (found,) = hear(one, "homeassistant/device/x/config", {"dev": DEVICE, "o": {"name": "z"}, "cmps": parts}).items
    assert isinstance(found, Sighting)
    assert found.facts["components"] == ["light", "sensor"]


@pytest.mark.parametrize("topic", ["#", "a/+", "", "x" * 5000, "a\x00b"])
def test_nobody_makes_us_listen_to_everything(topic: str) -> None:
    assert hear(scheme(), "homeassistant/light/l/config", {"avty_t": topic, "dev": DEVICE}).listen == []


FIELDS = st.sampled_from(["dev", "device", "avty", "availability", "avty_t", "~", "cmps", "avty_mode", "uniq_id"])
INNER = st.sampled_from(["ids", "cns", "mf", "mdl", "sn", "name", "t", "topic", "val_tpl", "pl_avail", "p", "cu"])


@given(
    st.dictionaries(FIELDS, JSON | st.dictionaries(INNER, JSON) | st.lists(st.dictionaries(INNER, JSON), max_size=3))
)
def test_no_description_breaks_it(said: dict[str, object]) -> None:
    one = scheme()
    for topic in hear(one, "homeassistant/device/x/config", said).listen:
        hear(one, topic, b"online")
    hear(one, "homeassistant/device/x/config")
    assert (one.ids(), one.more()) == ([], [])


@given(st.binary(max_size=200))
def test_no_bytes_break_it(payload: bytes) -> None:
    hear(scheme(), "homeassistant/sensor/x/config", payload)

"""Which device a sighting is of: names, keys, merging, splitting, and the gate for what is new."""

import pytest

from ashore_discovery.handler import Limits
from ashore_discovery.model import Identity
from ashore_discovery.tracking.identity import contradict, key_of, names
from ashore_discovery.tracking.registry import MOST_DEMOTED
from tests.discovery_kit import Stage, configuration

MAC = "ac:cc:8e:0a:0b:0c"


def kinds(identity: Identity) -> list[str]:
    return [name.partition(":")[0] for name in names(identity, "onvif", "x")][:-1]


def test_the_strongest_name_is_the_first() -> None:
    found: Identity = {"address": "10.0.0.1:80", "mac": MAC, "serial": "axis/m3045/ACCC8E0A0B0C"}
    assert kinds(found) == ["serial", "mac", "address"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("serial", "axis/m3045/00000000"),
        ("serial", "axis/m3045/UNKNOWN"),
        ("serial", "axis/m3045/0123456789"),
        ("serial", "axis/m3045/1"),
        ("mac", "00:00:00:00:00:00"),
        ("mac", "ff:ff:ff:ff:ff:ff"),
        ("mac", "02:42:ac:11:00:02"),
        ("mac", "01:00:5e:00:00:fb"),
        ("mac", "no address"),
        ("uuid", "00000000-0000-0000-0000-000000000000"),
        ("uuid", ""),
    ],
)
def test_what_makers_ship_by_the_thousand_identifies_nothing(kind: str, value: str) -> None:
    assert kinds({kind: value}) == []  # type: ignore[dict-item]


def test_one_address_has_one_spelling() -> None:
    assert names({"mac": "AC-CC-8E-0A-0B-0C"}, "a", "b")[0] == names({"mac": MAC}, "c", "d")[0]
    assert names({"uuid": "urn:uuid:ABC-1"}, "a", "b")[0] == names({"uuid": "abc-1"}, "c", "d")[0]


def test_a_key_is_a_token_and_says_what_it_was_made_from() -> None:
    key = key_of(f"mac:{MAC}", node="n1", shared=True)
    assert key.startswith("mac-")
    assert len(key) == 20


def test_a_place_on_one_node_is_not_the_same_place_on_another() -> None:
    assert key_of("path:usb-1", node="n1", shared=False) != key_of("path:usb-1", node="n2", shared=False)
    assert key_of("mac:x", node="n1", shared=False) == key_of("mac:x", node="n2", shared=False)


def test_two_serial_numbers_are_two_devices() -> None:
    assert contradict(["serial:a/b/1234", "mac:x"], ["serial:a/b/9999", "mac:x"])
    assert not contradict(["serial:a/b/1234"], ["mac:x"])


def test_a_device_keeps_its_key_at_another_address() -> None:
    stage = Stage()
    stage.see(identity={"uuid": "abc-1"}, address="10.0.0.1")
    key = stage.key()
    stage.see(identity={"uuid": "abc-1"}, address="10.0.0.2", endpoint="x")
    assert stage.key() == key


def test_a_device_keeps_its_key_when_more_is_learnt() -> None:
    stage = Stage()
    stage.see(address="10.0.0.1")
    key = stage.key()
    stage.see(identity={"mac": MAC}, address="10.0.0.1", ip="10.0.0.1")
    assert stage.key() == key
    assert any(alias.startswith("mac-") for alias in stage.changes[-1].view.aliases)


def test_two_handlers_see_one_device() -> None:
    stage = Stage()
    stage.see("onvif-1", identity={"mac": MAC})
    stage.see("mdns-1", source="mdns", identity={"mac": MAC})
    assert len(stage.tracker.registry.devices) == 1
    assert stage.changes[-1].view.facets == ["plain:onvif-1", "mdns:mdns-1"]


def test_an_address_alone_merges_nothing() -> None:
    stage = Stage()
    stage.see("a", address="10.0.0.1:80")
    stage.see("b", source="mdns", address="10.0.0.1:80")
    assert len(stage.tracker.registry.devices) == 2


def test_two_that_turn_out_to_be_one_are_merged_and_the_older_keeps_its_key() -> None:
    stage = Stage()
    stage.see("a", identity={"uuid": "abc-1"})
    key = stage.key("a")
    stage.clock.now += 1
    stage.see("b", identity={"uuid": "abc-2"})
    kinds = stage.see("b", identity={"uuid": ["abc-2", "abc-1"]}, more="x")
    assert sorted(kinds) == ["changed", "disappeared"]
    assert any(cause == f"merged-into-{key}" for _, _, cause in stage.told)
    assert stage.key("b") == key


def test_a_shared_hardware_address_is_split_when_both_answer() -> None:
    stage = Stage(probes=True)
    stage.see("cam-1", identity={"mac": MAC}, address="10.0.0.1")
    stage.clock.now += 5
    stage.see("cam-2", identity={"mac": MAC}, address="10.0.0.2")
    assert stage.key("cam-1") == stage.key("cam-2")
    stage.clock.now += 1
    stage.answer(True, "cam-1")
    assert stage.key("cam-1") != stage.key("cam-2")
    assert any(cause == "split" and kind == "appeared" for kind, _, cause in stage.told)
    assert len(stage.tracker.registry.demoted) == 1


def test_a_camera_that_moved_is_not_split() -> None:
    stage = Stage(probes=True)
    stage.see("old-epr", identity={"mac": MAC}, address="10.0.0.1")
    key = stage.key("old-epr")
    stage.clock.now += 5
    stage.see("new-epr", identity={"mac": MAC}, address="10.0.0.2")
    for _ in range(3):
        stage.answer(False, "old-epr")
        stage.wait(1)
    assert stage.key("new-epr") == key
    assert "disappeared" not in [kind for kind, _, _ in stage.told]
    assert stage.changes[-1].view.facets == ["plain:new-epr"]


def test_a_fact_that_was_demoted_merges_nothing_any_more() -> None:
    stage = Stage(probes=True)
    stage.see("cam-1", identity={"mac": MAC}, address="10.0.0.1")
    stage.see("cam-2", identity={"mac": MAC}, address="10.0.0.2")
    stage.clock.now += 1
    stage.answer(True, "cam-1")
    stage.see("cam-3", identity={"mac": MAC}, address="10.0.0.3")
    assert len({stage.key(f"cam-{number}") for number in (1, 2, 3)}) == 3


def test_of_what_was_demoted_the_latest_are_remembered() -> None:
    stage = Stage(probes=True, limits=Limits(devices=10_000, burst=10_000))
    for number in range(MOST_DEMOTED + 5):
        one, two, serial = f"one-{number}", f"two-{number}", f"acme/m/sn-{number:06}"
        stage.see(one, identity={"serial": serial}, address="10.0.0.1")
        stage.see(two, identity={"serial": serial}, address="10.0.0.2")
        stage.clock.now += 1
        stage.answer(True, one)
    demoted = list(stage.tracker.registry.demoted)
    assert len(demoted) == MOST_DEMOTED
    assert demoted[-1].endswith(f"{MOST_DEMOTED + 4:06}")


def test_a_flood_ends_in_quarantine() -> None:
    stage = Stage(limits=Limits(devices=50, burst=20, per_second=1))
    for number in range(10_000):
        stage.see(f"forged-{number}")
    assert len(stage.tracker.registry.devices) == 20
    gate = stage.tracker.quarantines["plain"]
    assert gate.refused == 9_980
    assert len(gate.waiting) == 200


def test_after_the_flood_the_real_one_comes_in() -> None:
    stage = Stage(limits=Limits(devices=50, burst=1, per_second=1))
    stage.see("forged")
    assert stage.see("real") == []
    stage.clock.now += 2
    assert stage.see("real") == ["appeared"]


def test_an_instance_is_named_by_what_its_configuration_says() -> None:
    by_path = configuration("ports", identity=["path"])
    stage = Stage(by_path)
    stage.see("stick-1", identity={"serial": "x/y/12345", "path": "usb-1"})
    stage.see("stick-1", kind="gone")
    stage.see("stick-2", identity={"serial": "x/y/67890", "path": "usb-1"})
    first, last = stage.changes[0].view.matches[0], stage.changes[-1].view.matches[0]
    assert first.instance == last.instance
    assert first.instance.startswith("ports-")

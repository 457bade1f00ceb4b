"""What people say of identities goes before facts, on a clock that is turned by hand."""

import msgspec
import pytest

from ashore_discovery.tracking.rulings import Ruling, Rulings
from tests.discovery_kit import Stage, configuration

MAC, OTHER = "ac:cc:8e:0a:0b:0c", "ac:cc:8e:0a:0b:0d"


def rule(stage: Stage, *rulings: Ruling) -> list[str]:
    return stage.take(stage.tracker.rule(Rulings(rulings), stage.clock.now))


def gate(*same: str, never: list[str] | None = None) -> Ruling:
    return Ruling(name="front gate", same_as=list(same), not_same_as=never or [])


ONE = gate(f"mac:{MAC}", "UUID:ABC-1".lower())


def two(stage: Stage) -> None:
    stage.see("cam", identity={"mac": MAC})
    stage.see("web", source="mdns", identity={"uuid": "abc-1"})


def test_what_people_say_is_one_is_one_from_the_start() -> None:
    stage = Stage()
    rule(stage, ONE)
    two(stage)
    assert stage.key("cam") == stage.key("web", "mdns")
    assert [kind for kind, _, _ in stage.told] == ["appeared", "changed"]


def test_what_people_say_is_one_is_merged_and_the_older_keeps_its_key() -> None:
    stage = Stage()
    stage.see("cam", identity={"mac": MAC})
    stage.clock.now += 1
    stage.see("b", identity={"uuid": "abc-1"})
    key = stage.key("cam")
    assert rule(stage, ONE) == ["changed", "disappeared", "changed"]
    assert stage.key("b") == stage.key("cam") == key


def test_facts_that_disagree_do_not_part_what_people_say_is_one() -> None:
    stage = Stage()
    rule(stage, gate("serial:x/y/1234", "serial:x/y/5678"))
    stage.see("a", identity={"serial": "x/y/1234"})
    stage.see("b", identity={"serial": "x/y/5678"})
    assert stage.key("a") == stage.key("b")


def test_two_that_answer_at_two_addresses_stay_one_if_people_say_so() -> None:
    stage = Stage(probes=True)
    rule(stage, gate("id:plain/cam-1", "id:plain/cam-2"))
    stage.see("cam-1", identity={"mac": MAC}, address="10.0.0.1")
    stage.clock.now += 5
    stage.see("cam-2", identity={"mac": MAC}, address="10.0.0.2")
    assert stage.asked == []
    assert stage.key("cam-1") == stage.key("cam-2")


def test_what_people_say_is_one_no_longer_is_two_again() -> None:
    stage = Stage()
    rule(stage, ONE)
    two(stage)
    stage.see("onvif-1", source="onvif", identity={"mac": MAC})
    key = stage.key("cam")
    rule(stage)
    assert stage.key("cam") == stage.key("onvif-1", "onvif") == key
    assert stage.key("web", "mdns") != key
    assert "given_name" not in stage.changes[-1].view.facts


def test_what_people_say_is_never_one_is_never_merged() -> None:
    stage = Stage()
    rule(stage, gate("id:plain/a", never=["id:plain/b"]))
    stage.see("a", identity={"mac": MAC})
    stage.see("b", identity={"mac": MAC})
    assert stage.key("a") != stage.key("b")
    stage.see("b", identity={"mac": MAC, "serial": "x/y/1234"})
    stage.see("a", identity={"mac": MAC, "serial": "x/y/1234"})
    assert stage.key("a") != stage.key("b")


def test_what_people_say_is_never_one_is_parted_and_the_first_keeps_its_key() -> None:
    stage = Stage()
    stage.see("a", identity={"mac": MAC})
    stage.see("b", identity={"mac": MAC})
    stage.see("c", source="mdns", identity={"mac": MAC})
    key = stage.key("a")
    kinds = rule(stage, gate("id:plain/a", never=["id:plain/b"]))
    assert sorted(kinds) == ["appeared", "changed"]
    assert stage.told[-1][2] == "ruled"
    assert stage.key("a") == stage.key("c", "mdns") == key
    assert stage.key("b") != key


def test_a_device_that_left_takes_its_ruling_along_and_brings_it_back() -> None:
    stage = Stage()
    rule(stage, ONE)
    two(stage)
    stage.see("cam", kind="gone")
    stage.see("web", kind="gone", source="mdns")
    assert stage.tracker.registry._by_name == {}
    two(stage)
    assert stage.key("cam") == stage.key("web", "mdns")


def test_a_name_that_people_give_is_a_fact_and_a_filter_may_want_it() -> None:
    stage = Stage(configuration(match={"fact": "given_name", "equals": "front gate"}))
    assert stage.see("cam", identity={"mac": MAC}, model="M3045") == []
    assert rule(stage, ONE) == ["appeared"]
    assert stage.changes[-1].view.facts == {"given_name": "front gate", "model": "M3045"}
    assert stage.tracker.registry.by_name("front gate") is not None
    assert rule(stage) == ["disappeared"]


def test_instances_of_a_device_with_a_name_are_called_as_before() -> None:
    plain, ruled = Stage(), Stage()
    rule(ruled, ONE)
    for stage in (plain, ruled):
        stage.see("cam", identity={"mac": MAC})
    assert plain.changes[-1].view.matches == ruled.changes[-1].view.matches
    assert plain.key("cam") == ruled.key("cam")


def test_the_same_rulings_again_are_no_news() -> None:
    stage = Stage()
    rule(stage, ONE)
    two(stage)
    assert Rulings([ONE]) == stage.tracker.registry.rulings
    assert rule(stage, ONE) == []


def test_rulings_are_explained() -> None:
    rulings = Rulings([gate(f"mac:{MAC}", never=[f"mac:{OTHER}"])])
    assert rulings.explain(["mac:accc8e0a0b0c", "id:a/b"]) == [
        "people call it 'front gate', and say that it is mac:accc8e0a0b0c, never mac:accc8e0a0b0d"
    ]
    assert rulings.explain(["mac:accc8e0a0b0d"]) == ["people say that mac:accc8e0a0b0d is never 'front gate'"]
    assert rulings.explain(["mac:accc8e0a0b0e"]) == []


@pytest.mark.parametrize(
    ("ruling", "why"),
    [
        (gate("colour:red"), "'colour:red' identifies nobody"),
        (gate("mac:00:00:00:00:00:00"), "'mac:00:00:00:00:00:00' identifies nobody"),
        (gate("front gate"), "'front gate' identifies nobody"),
        (gate(f"mac:{MAC}", never=["mac:ACCC8E0A0B0C"]), "is said to be the device, and not to be it"),
    ],
)
def test_a_ruling_that_cannot_be_used_says_why_and_harms_no_other(ruling: Ruling, why: str) -> None:
    fine = Ruling(name="fine", same_as=[f"mac:{OTHER}"])
    rulings = Rulings([ruling, fine])
    assert why in rulings.problems["device 'front gate'"][0]
    assert rulings.named() == {"mac:accc8e0a0b0d"}


def test_a_name_belongs_to_one_device_only() -> None:
    rulings = Rulings([ONE, Ruling(name="back door", same_as=[f"mac:{MAC}"])])
    assert rulings.problems == {"device 'back door'": ["'mac:accc8e0a0b0c' is said to be 'front gate' already"]}


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "x" * 129])
def test_a_name_that_would_spoil_a_terminal_is_none(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name, "same_as": [f"mac:{MAC}"]}, Ruling)

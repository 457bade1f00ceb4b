"""Departure needs evidence: every rule by which a device stays or goes, on a clock that is turned by hand."""

import pytest

from ashore_discovery.tracking.departure import Departure, Flap, hold
from tests.discovery_kit import NOON, Stage, configuration


def graced(seconds: float, name: str = "everything", **fields: object) -> object:
    return configuration(name, departure={"grace": seconds}, **fields)


def test_a_device_appears_at_once() -> None:
    assert Stage().see() == ["appeared"]


def test_to_be_seen_again_is_no_news() -> None:
    stage = Stage()
    stage.see(vendor="Axis")
    assert stage.see(vendor="Axis") == []


def test_another_fact_is_news() -> None:
    stage = Stage()
    stage.see(vendor="Axis")
    assert stage.see(vendor="Axis", model="M3045") == ["changed"]


def test_what_the_kernel_removes_is_gone_now() -> None:
    stage = Stage()
    stage.see()
    assert stage.see(kind="gone") == ["disappeared"]


def test_to_be_gone_and_back_at_once_is_two_events() -> None:
    stage = Stage()
    stage.see()
    assert stage.see(kind="gone") + stage.see() == ["disappeared", "appeared"]
    assert [one.view.revision for one in stage.changes] == [1, 2, 3]


def test_a_goodbye_is_held_for_a_moment() -> None:
    stage = Stage()
    stage.see()
    assert stage.see(kind="bye") == []
    assert stage.wait(0.9) == []
    assert stage.wait(0.2) == ["disappeared"]


def test_a_goodbye_that_is_said_again_is_held_no_longer() -> None:
    stage = Stage()
    stage.see()
    kinds = [kind for _ in range(4) for kind in (*stage.see(kind="bye"), *stage.wait(0.3))]
    assert kinds == ["disappeared"]


def test_a_hello_within_the_hold_is_a_restart() -> None:
    stage = Stage()
    stage.see()
    stage.see(kind="bye")
    stage.wait(0.5)
    assert stage.see() == ["changed"]
    assert stage.told[-1][2] == "restarted"
    assert stage.wait(60) == []


def test_silence_alone_only_raises_suspicion() -> None:
    stage = Stage(probes=True)
    stage.see(ttl=10)
    assert stage.wait(10) == ["changed"]
    assert stage.changes[-1].view.state == "suspect"
    assert [ask.what for ask in stage.asked] == ["probe"]


def test_three_probes_without_an_answer_end_it() -> None:
    stage = Stage(probes=True)
    stage.see(ttl=10)
    stage.wait(10)
    assert stage.answer(alive=False) == []
    stage.wait(1)
    assert stage.answer(alive=False) == []
    stage.wait(1)
    assert stage.answer(alive=False) == ["disappeared"]


def test_an_answer_to_any_probe_clears_it() -> None:
    stage = Stage(probes=True)
    stage.see(ttl=10)
    stage.wait(10)
    stage.answer(alive=False)
    stage.wait(1)
    assert stage.answer(alive=True) == ["changed"]
    assert stage.changes[-1].view.state == "present"
    assert stage.wait(9) == []


def test_a_probe_that_cannot_tell_leaves_it_unknown() -> None:
    stage = Stage(probes=True)
    stage.see(ttl=10)
    stage.wait(10)
    assert stage.answer(alive=None) == ["unknown"]
    assert stage.wait(3600) == []


def test_without_a_probe_patience_ends_it() -> None:
    stage = Stage(patience=30)
    stage.see(ttl=10)
    assert stage.wait(10) == ["changed"]
    assert stage.wait(29) == []
    assert stage.wait(2) == ["disappeared"]


def test_one_lost_answer_removes_nothing() -> None:
    stage = Stage(probes=True)
    stage.see()
    stage.clock.now += 10
    assert stage.swept(stage.clock.now) == ["changed"]
    assert stage.see() == ["changed"]
    assert stage.changes[-1].view.state == "present"


def test_what_an_exhaustive_sweep_does_not_name_is_gone() -> None:
    stage = Stage(exhaustive=True)
    stage.see("cam-1")
    stage.see("cam-2")
    stage.clock.now += 10
    stage.see("cam-2")
    assert stage.swept(stage.clock.now) == ["disappeared"]
    assert stage.changes[-1].view.facets == ["plain:cam-1"]


def test_a_lost_listener_means_unknown_and_never_gone() -> None:
    stage = Stage()
    for number in range(3):
        stage.see(f"cam-{number}")
    assert stage.lost() == ["unknown"] * 3
    assert stage.wait(86_400) == []


def test_what_is_seen_again_after_that_is_known_again() -> None:
    stage = Stage()
    stage.see()
    stage.lost()
    assert stage.see() == ["changed"]
    assert stage.changes[-1].view.state == "present"


def test_what_is_missing_after_that_is_gone() -> None:
    stage = Stage(exhaustive=True)
    stage.see()
    stage.lost()
    stage.clock.now += 5
    assert stage.swept(stage.clock.now) == ["disappeared"]


def test_grace_keeps_a_device_that_is_away() -> None:
    stage = Stage(configuration(departure={"grace": 30}))
    stage.see()
    assert stage.see(kind="gone") == ["changed"]
    assert stage.changes[-1].view.state == "absent"
    assert stage.wait(29) == []
    assert stage.see() == ["changed"]
    assert stage.told[-1][2] == "returned"
    assert stage.wait(60) == []


@pytest.mark.parametrize("what", ["lost", "swept", "bye", "missed"])
def test_a_grace_that_runs_is_stopped_by_nothing_but_a_return(what: str) -> None:
    stage = Stage(configuration(departure={"grace": 30}), probes=True)
    stage.see()
    stage.see(kind="gone")
    stage.wait(10)
    kinds = {
        "lost": stage.lost,
        "swept": lambda: stage.swept(stage.clock.now),
        "bye": lambda: stage.see(kind="bye"),
        "missed": lambda: stage.see(kind="missed"),
    }[what]()
    assert kinds == []
    assert stage.wait(21) == ["disappeared"]


def test_after_its_grace_it_is_gone() -> None:
    stage = Stage(configuration(departure={"grace": 30}))
    stage.see()
    stage.see(kind="gone")
    assert stage.wait(31) == ["disappeared"]


def test_each_configuration_has_its_own_grace() -> None:
    stage = Stage(configuration("quick"), configuration("slow", departure={"grace": 30}))
    stage.see()
    assert stage.see(kind="gone") == ["changed"]
    assert [match.configuration for match in stage.changes[-1].view.matches] == ["slow"]
    assert stage.wait(31) == ["disappeared"]


def test_a_device_that_flaps_is_held_longer_each_time() -> None:
    rule = Departure(flap=Flap(count=2, window=600, first_hold=5, max_hold=20))
    departures = [NOON + number for number in range(6)]
    assert [hold(rule, departures[:count], NOON + 6) for count in (1, 2, 3, 4, 5, 6)] == [0, 0, 5, 10, 20, 20]


def test_a_device_that_flaps_stops_coming_and_going() -> None:
    stage = Stage(configuration(departure={"flap": {"count": 2, "first_hold": 60}}))
    kinds: list[str] = []
    for _ in range(10):
        kinds += stage.see()
        stage.wait(1)
        kinds += stage.see(kind="gone")
        stage.wait(1)
    assert kinds.count("disappeared") == 2
    assert stage.changes[-1].view.flapping


def test_flapping_is_forgiven_after_its_window() -> None:
    stage = Stage(configuration(departure={"flap": {"count": 1, "window": 100, "first_hold": 5}}))
    for _ in range(3):
        stage.see()
        stage.see(kind="gone")
        stage.wait(6)
    stage.wait(200)
    stage.see()
    assert stage.see(kind="gone") == ["disappeared"]


def test_a_device_with_two_facets_goes_with_the_last() -> None:
    stage = Stage()
    mac = {"mac": "ac:cc:8e:0a:0b:0c"}
    stage.see("onvif-1", identity=mac)
    assert stage.see("mdns-1", source="mdns", identity=mac) == ["changed"]
    assert stage.see("onvif-1", kind="gone") == ["disappeared"]  # only `plain` is asked for
    assert stage.see("mdns-1", source="mdns", kind="gone") == []


def test_what_no_configuration_wants_is_in_the_inventory_and_not_on_the_bus() -> None:
    stage = Stage(configuration(match={"fact": "vendor", "equals": "Axis"}))
    assert stage.see(vendor="Bosch") == []
    assert len(stage.tracker.registry.devices) == 1


def test_a_fact_that_is_learnt_later_lets_it_appear() -> None:
    stage = Stage(configuration(match={"fact": "vendor", "equals": "Axis"}))
    stage.see()
    assert stage.see(vendor="Axis") == ["appeared"]


def test_a_filter_that_changes_takes_it_away_and_brings_it_back() -> None:
    stage = Stage()
    stage.see(vendor="Bosch")
    assert stage.configure(configuration(match={"fact": "vendor", "equals": "Axis"})) == ["disappeared"]
    assert stage.told[-1][2] == "unmatched"
    assert stage.configure(configuration()) == ["appeared"]


def test_a_listener_that_nobody_asks_for_any_more_takes_its_devices_with_it() -> None:
    stage = Stage(everything=True)
    stage.see()
    assert stage.closed() == ["disappeared"]


@pytest.mark.parametrize("kind", ["gone", "bye", "missed"])
def test_the_end_of_what_was_never_there_is_no_news(kind: str) -> None:
    assert Stage().see(kind=kind) == []


def test_of_several_places_that_a_listener_listens_at_one_is_lost() -> None:
    stage = Stage()
    stage.see("plant/pump")
    stage.see("hall/lamp")
    assert stage.lost(within="plant/") == ["unknown"]
    assert stage.told[-1][1] == stage.key("plant/pump")


def test_a_sweep_of_one_place_says_nothing_of_the_others() -> None:
    stage = Stage(exhaustive=True)
    stage.see("plant/pump")
    stage.see("hall/lamp")
    stage.wait(1)
    assert stage.swept(stage.clock.now, within="plant/") == ["disappeared"]
    assert stage.told[-1][1] != stage.key("hall/lamp")

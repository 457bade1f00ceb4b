"""Roll-out: maintenance windows over midnight and daylight saving time, canaries, and so many pods at a time."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_broker_launcher.desired.brokers import Leave, Progress, World, leaves, opening, progress
from ashore_broker_launcher.model import Configuration, MaintenanceWindow
from tests.desired_kit import Stage, jobs, pods


def window(**fields: Any) -> MaintenanceWindow:
    return msgspec.convert(fields, MaintenanceWindow)


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


NIGHT = {"from": "22:00", "until": "04:00", "timeZone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("now", "is_open", "changes"),
    [
        ("2026-11-25 21:59", False, "2026-11-25 22:00"),
        ("2026-11-25 22:00", True, "2026-11-26 04:00"),
        ("2026-11-26 03:59", True, "2026-11-26 04:00"),
        ("2026-11-26 04:00", False, "2026-11-26 22:00"),
    ],
)
def test_a_window_over_midnight(now: str, is_open: bool, changes: str) -> None:
    found = opening(window(**NIGHT), at(now))
    assert (found.open, found.changes_at) == (is_open, at(changes))


def test_the_day_is_the_one_on_which_it_opens() -> None:
    saturday = window(**NIGHT, days=["sat"])
    assert opening(saturday, at("2026-11-29 03:00")).open, "Sunday morning is Saturday's night"
    assert not opening(saturday, at("2026-11-28 03:00")).open, "Saturday morning is Friday's"
    assert opening(saturday, at("2026-11-29 05:00")).opens_at == at("2026-12-05 22:00")


def test_the_same_time_twice_is_a_whole_day() -> None:
    day = window(**{"from": "08:00", "until": "08:00"}, days=["mon"])
    assert opening(day, at("2026-11-24 07:59", "UTC")).open
    assert not opening(day, at("2026-11-24 08:00", "UTC")).open


def test_no_window_is_always_open() -> None:
    assert opening(None, 0.0).open


def test_a_night_with_a_missing_hour_is_an_hour_shorter_and_one_with_an_hour_twice_longer() -> None:
    for day, hours in (("2026-03-28", 5), ("2026-10-24", 7), ("2026-07-01", 6)):
        found = opening(window(**NIGHT), at(f"{day} 22:30"))
        assert found.closes_at is not None
        assert found.closes_at - at(f"{day} 22:00") == hours * 3600


def test_a_time_that_there_is_twice_is_the_first_one() -> None:
    short = window(**{"from": "02:30", "until": "03:00", "timeZone": "Europe/Berlin"})
    assert opening(short, at("2026-10-25 02:30")).open
    assert opening(short, at("2026-10-25 02:30", fold=1)).open
    assert not opening(short, at("2026-10-25 03:00")).open


def test_a_window_that_a_missing_hour_swallows_opens_on_the_next_day() -> None:
    gap = window(**{"from": "02:30", "until": "03:15", "timeZone": "Europe/Berlin"})
    assert not opening(gap, at("2026-03-29 03:10")).open
    assert opening(gap, at("2026-03-29 03:10")).opens_at == at("2026-03-30 02:30")


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "Europe", "a\0b", "/etc/localtime"])
def test_a_time_zone_that_there_is_not_keeps_it_closed_and_is_told(zone: str) -> None:
    found = opening(window(**{**NIGHT, "timeZone": zone}), 0.0)
    assert not found.open
    assert "is no time zone" in found.problem


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
DAYS = st.lists(st.sampled_from(["mon", "wed", "sun"]), min_size=1)
TIME = st.times().map(lambda time: time.strftime("%H:%M"))


@given(TIME, TIME, st.sampled_from(ZONES), DAYS, st.integers(1_700_000_000, 1_900_000_000))
def test_a_window_opens_when_it_says_and_is_then_open(
    begin: str, end: str, zone: str, days: list[str], now: int
) -> None:
    it = window(**{"from": begin, "until": end, "timeZone": zone, "days": days})
    found = opening(it, now)
    assert found.changes_at is not None
    assert found.changes_at > now
    later = opening(it, found.changes_at)
    assert later.open or found.open


def configuration(spec: dict[str, Any] | None = None, **rollout: Any) -> Configuration:
    return Stage({"brokerSpec": jobs() if spec is None else spec, "rollout": rollout}).configuration


def may(found: dict[str, Leave]) -> list[str]:
    return [name for name, leave in sorted(found.items()) if leave.may_start]


def states(**outcomes: str) -> list[Progress]:
    return [msgspec.convert({"name": name, "outcome": one}, Progress) for name, one in outcomes.items()]


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({"a": "none", "b": "none", "c": "none"}, ["a", "b"]),
        ({"a": "succeeded", "b": "running", "c": "none"}, ["a", "b"]),
        ({"a": "succeeded", "b": "succeeded", "c": "none"}, ["a", "b", "c"]),
        ({"a": "failed", "b": "running", "c": "none"}, ["a", "b"]),
        ({"a": "failed", "b": "none", "c": "none"}, ["a"]),
        ({"a": "none", "b": "running", "c": "running"}, ["b", "c"]),
        ({"a": "succeeded", "b": "succeeded", "c": "failed", "d": "none"}, ["a", "b", "c"]),
        ({"a": "none", "b": "none", "c": "put-off"}, ["a", "c"]),
        ({"a": "failed", "b": "put-off", "c": "none"}, ["a"]),
        ({"a": "unknown", "b": "none", "c": "none"}, []),
        ({"a": "succeeded", "b": "succeeded", "c": "none", "d": "unknown"}, ["a", "b"]),
    ],
)
def test_canaries_go_first(outcomes: dict[str, str], expected: list[str]) -> None:
    assert may(leaves(configuration(canary=2), states(**outcomes), 0.0)) == expected


def test_who_was_chosen_keeps_its_place_until_it_has_started() -> None:
    it, late = configuration(canary=1), states(a="none", b="none")
    first = leaves(it, states(b="none"), 0.0)
    assert may(leaves(it, late, 0.0, first)) == ["b"]
    another_run = [msgspec.structs.replace(one, run="2") for one in late]
    assert may(leaves(it, another_run, 0.0, first)) == ["a"], "what was decided for one run says nothing of the next"


def test_without_a_canary_all_start_and_a_failure_stops_nobody() -> None:
    assert may(leaves(configuration(), states(a="failed", b="none"), 0.0)) == ["a", "b"]


def test_whoever_waits_is_told_for_what() -> None:
    found = leaves(configuration(canary=1), states(a="failed", b="none"), 0.0)
    assert found["b"].waits_for.startswith("'a' has failed")
    found = leaves(configuration(canary=1), states(a="running", b="none"), 0.0)
    assert found["b"].waits_for == "the first 1 have to succeed before it; not yet: 'a'"


def test_outside_of_the_window_no_job_starts() -> None:
    found = leaves(configuration(maintenanceWindow=NIGHT), states(a="none"), at("2026-11-25 12:00"))
    assert not found["a"].may_start
    assert found["a"].waits_for == "the maintenance window is closed until 2026-11-25T21:00:00Z"
    assert found["a"].look_again_at == at("2026-11-25 22:00")


def test_a_job_among_the_manifests_waits_for_the_window_too() -> None:
    it = Stage({"brokerManifests": [{"kind": "Job"}], "rollout": {"maintenanceWindow": NIGHT}}).configuration
    assert may(leaves(it, states(a="none"), at("2026-11-25 12:00"))) == []


def test_a_pod_that_is_new_waits_for_nothing() -> None:
    it = configuration(pods(), maintenanceWindow=NIGHT)
    assert may(leaves(it, [Progress(name="a", unavailable=1)], at("2026-11-25 12:00"))) == ["a"]


def replaced(most: int, *progress: Progress) -> list[int]:
    found = leaves(configuration(pods(), maxUnavailable=most), list(progress), 0.0)
    return [found[one.name].may_replace for one in progress]


def test_so_many_pods_are_replaced_at_a_time() -> None:
    a, b, c = (Progress(name=name, outdated=2) for name in "abc")
    assert replaced(1, a, b, c) == [1, 0, 0]
    assert replaced(3, a, b, c) == [2, 1, 0]
    assert replaced(1, a, Progress(name="b", unavailable=1)) == [0, 0]


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6))
def test_never_more_pods_are_away_than_may_be(most: int, counts: list[tuple[int, int]]) -> None:
    states = [Progress(name=str(at), outdated=one, unavailable=away) for at, (one, away) in enumerate(counts)]
    given_leave = sum(replaced(most, *states))
    assert given_leave == 0 or given_leave + sum(away for _, away in counts) <= most


def look(it: Stage) -> Progress:
    return progress(it.configuration, it.instance, World(now=it.now, children=list(it.children.values())))


def test_an_edit_rolls_through_one_pod_after_the_other() -> None:
    it = Stage({"brokerSpec": pods()}, nodes=["a", "b", "c"], capacity=3)
    it.settle()
    it.becomes("Pod")
    assert (look(it).outdated, look(it).unavailable) == (0, 0)
    it.edit(brokerSpec=pods(hostNetwork=True))
    assert look(it).outdated == 3
    for left in (2, 1, 0):
        leave = leaves(it.configuration, [look(it)], it.now)["cams-4294ea"]
        assert leave.may_replace == 1
        it.step(may_start=leave.may_start, may_replace=leave.may_replace)
        it.settle(may_start=False, may_replace=0)
        assert (look(it).outdated, look(it).unavailable) == (left, 1)
        assert leaves(it.configuration, [look(it)], it.now)["cams-4294ea"].may_replace == 0
        it.becomes("Pod")
    assert {pod["spec"]["hostNetwork"] for pod in it.children.values()} == {True}


def test_a_pod_that_does_not_serve_is_replaced_without_waiting() -> None:
    it = Stage({"brokerSpec": pods()})
    it.settle()
    it.edit(brokerSpec=pods(hostNetwork=True))
    it.settle(may_start=False, may_replace=0)
    assert it.only("Pod")["spec"]["hostNetwork"] is True


def test_a_pod_that_may_not_be_replaced_yet_runs_on() -> None:
    it = Stage({"brokerSpec": pods()})
    it.settle()
    it.becomes("Pod")
    it.edit(brokerSpec=pods(hostNetwork=True))
    plan = it.settle(may_start=False)
    assert it.told == []
    assert plan.status["phase"] == "Running"


def test_other_properties_of_a_device_reach_a_broker_that_got_them_from_the_kubelet() -> None:
    spec = pods(containers=[{"name": "b", "image": "x", "resources": {"limits": {"{{PLACEHOLDER}}": "1"}}}])
    it = Stage({"brokerSpec": spec}, brokerProperties={"URL": "rtsp://10.0.0.1"})
    it.settle()
    it.becomes("Pod")
    it.sees(brokerProperties={"URL": "rtsp://10.0.0.2"})
    it.settle()
    assert it.told == [("Pod/a-cams-4294ea-pod", "replaced")]

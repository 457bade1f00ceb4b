"""Jobs that put themselves off: no failure, run again in time, and never in a hurry."""

import json
from typing import Any

import pytest

from ashore.events import WorkloadLaunched, WorkloadStopped
from ashore_broker_launcher.desired.brokers import World, progress
from ashore_broker_launcher.desired.phases import timestamp
from ashore_broker_launcher.reconciling.telling import of_workloads
from ashore_broker_launcher.reconciling.workloads import put_off, workloads
from tests.desired_kit import NOON, Stage, jobs

PLAIN = "cams-4294ea-3-job"
POD = f"{PLAIN}-x"
HOUR = 3600.0


def report(**said: Any) -> str:
    return "some words\n" + json.dumps({"outcome": "waiting", "why": "the plant is at work", **said}) + "\n"


def fail(it: Stage, log: str) -> dict[str, str]:
    """The job of the stage fails with these last lines."""
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": timestamp(it.now), "reason": "PodFailurePolicy"}
    it.becomes("Job", conditions=[failed])
    it.pod_of_job("Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 11}}}])
    return {POD: log}


def stage(log: str, **spec: Any) -> tuple[Stage, dict[str, str]]:
    it = Stage({"brokerSpec": jobs(**spec)})
    it.settle()
    return it, fail(it, log)


def outcome(it: Stage, logs: dict[str, str]) -> str:
    world = World(now=it.now, children=list(it.children.values()), logs=logs)
    return progress(it.configuration, it.instance, world).outcome


def test_it_waits_until_the_time_that_it_names_and_then_runs_again() -> None:
    it, logs = stage(report(opens=timestamp(NOON + HOUR)))
    first = it.only("Job")["metadata"]["uid"]
    plan = it.settle(logs=logs)
    assert (plan.status["phase"], plan.look_again_at) == ("Waiting", NOON + HOUR)
    ready = plan.status["conditions"][1]
    assert ready["message"] == f"its job has put itself off until {timestamp(NOON + HOUR)}: the plant is at work"
    told = plan.status["brokers"][0]
    assert (told["phase"], told["exitCode"], told["log"]) == ("Waiting", 11, logs[POD])
    assert outcome(it, logs) == "put-off"
    it.wait(HOUR)
    it.settle(logs=logs)
    assert it.only("Job")["metadata"]["uid"] != first
    assert it.told == [(f"Job/{PLAIN}", "replaced")]
    assert outcome(it, {}) == "running"


@pytest.mark.parametrize("opens", [{}, {"opens": "soon"}, {"opens": timestamp(NOON - HOUR)}])
def test_one_that_names_no_time_to_come_waits_for_ten_minutes(opens: dict[str, str]) -> None:
    it, logs = stage(report(**opens))
    assert it.settle(logs=logs).look_again_at == NOON + 600


@pytest.mark.parametrize("opens", ["0001-01-01", "0001-01-01T00:00:00+14:00"])
def test_a_time_before_all_times_is_none(opens: str) -> None:
    it, logs = stage(report(opens=opens))
    assert it.settle(logs=logs).look_again_at == NOON + 600


@pytest.mark.parametrize("opens", ["9999-12-31T23:59:59-14:00", "9999-12-31"])
def test_one_that_names_a_time_far_away_is_asked_again_in_a_month(opens: str) -> None:
    it, logs = stage(report(opens=opens))
    assert it.settle(logs=logs).look_again_at == NOON + 31 * 86400


@pytest.mark.parametrize("ttl", [None, 0])
def test_one_that_is_put_off_again_and_again_is_not_run_in_a_hurry(ttl: int | None) -> None:
    it, logs = stage(report())
    runs = set()
    for _ in range(60):
        it.settle(logs=logs)
        if ttl == 0:
            it.children.clear()
            it.settle(logs={})
        for job in [one for one in it.children.values() if one["kind"] == "Job" and not one.get("status")]:
            runs.add(job["metadata"]["uid"])
            logs = fail(it, report())
        it.wait(60)
    assert 5 <= len(runs) <= 6, "one in ten minutes"


def test_when_its_time_has_come_it_waits_for_the_roll_out_as_any_other() -> None:
    it, logs = stage(report(opens=timestamp(NOON + HOUR)))
    it.wait(HOUR)
    plan = it.settle(logs=logs, may_start=False, waits_for="the maintenance window is closed")
    assert (plan.status["phase"], it.told) == ("Waiting", [])
    assert plan.status["conditions"][1]["message"] == "the maintenance window is closed"


def test_what_was_told_holds_when_job_and_pods_are_gone() -> None:
    it, logs = stage(report(opens=timestamp(NOON + HOUR)))
    before = it.settle(logs=logs).status
    it.children.clear()
    assert it.settle().status == before
    assert outcome(it, {}) == "put-off"


def test_another_spec_does_not_wait_for_it() -> None:
    it, logs = stage(report(opens=timestamp(NOON + HOUR)))
    it.settle(logs=logs)
    it.edit(brokerSpec=jobs(backoffLimit=9))
    it.settle(logs=logs)
    assert it.names("Job") == ["cams-4294ea-4-job"]


@pytest.mark.parametrize(
    "log",
    [
        "",
        "\n\n",
        "waiting",
        '"waiting"',
        "{",
        '{"outcome": "failed"}',
        '{"outcome": ["waiting"]}',
        '{"outcome": "waiting", "opens": 7}',
        '{"outcome": "waiting"}\nKilled\n',
        '{"outcome": "waiting", "x": ' + "[" * 4000,
        '{"outcome": "waiting", "why": "\ud800"}',
    ],
)
def test_whatever_else_its_last_line_says_is_a_failure(log: str) -> None:
    it, logs = stage(log)
    assert it.settle(logs=logs).status["phase"] == "Failed"
    assert outcome(it, logs) == "failed"


def test_where_the_log_cannot_be_had_its_end_in_the_pods_status_is_as_good() -> None:
    it, _ = stage("")
    ended = {"exitCode": 11, "reason": "Error", "message": report()}
    it.pod_of_job("Failed", containerStatuses=[{"state": {"terminated": ended}}])
    plan = it.settle(logs={POD: ""})
    assert (plan.status["phase"], plan.status["brokers"][0]["log"]) == ("Waiting", report())


def test_a_job_that_has_succeeded_is_done_whatever_it_says() -> None:
    it = Stage({"brokerSpec": jobs()})
    it.settle()
    it.becomes("Job", conditions=[{"type": "Complete", "status": "True"}])
    it.pod_of_job("Succeeded")
    assert it.settle(logs={POD: report()}).status["phase"] == "Succeeded"


def test_events_say_that_it_runs_no_longer_and_not_that_it_has_failed() -> None:
    it, logs = stage(report())
    status = it.settle(logs=logs).status
    found = workloads(list(it.children.values()), "instance-1", it.now, logs, put_off(status))
    assert [one.stage for one in found] == ["put-off"]
    told = WorkloadLaunched(
        site="site",
        namespace="shop",
        configuration="cams",
        instance="cams-4294ea",
        uid="uid-1",
        kind="Job",
        workload=PLAIN,
    )
    (event,) = of_workloads("site", it.instance, found, {f"Job/{PLAIN}": told}, {})
    assert isinstance(event, WorkloadStopped)
    assert event.cause == "put-off"
    assert not list(of_workloads("site", it.instance, found, {f"Job/{PLAIN}": event}, {}))

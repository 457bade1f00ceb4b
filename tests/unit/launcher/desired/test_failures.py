"""The matrix of what becomes of a pod, and how often it is tried again."""

from typing import Any

import pytest

from ashore_broker_launcher.desired.brokers import Failures
from ashore_broker_launcher.desired.failures import delay
from ashore_broker_launcher.desired.phases import timestamp
from tests.desired_kit import NOON, Stage, pods

POD = "Pod/a-cams-4294ea-pod"
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}


def stage(**instance: Any) -> Stage:
    made = Stage({"brokerSpec": pods()}, **instance)
    made.settle()
    return made


def pulling(reason: str = "ImagePullBackOff") -> dict[str, Any]:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "no such image"}}}]}


@pytest.mark.parametrize(
    ("after", "phase", "status", "cause"),
    [
        (0, "Running", {}, None),
        (9999, "Running", {}, None),
        (0, "Pending", pulling("ContainerCreating"), None),
        (299, "Pending", pulling("PodInitializing"), None),
        (299, "Pending", pulling(), None),
        (300, "Pending", pulling(), "failed"),
        (300, "Pending", {}, "failed"),
        (300, "Pending", {"conditions": [UNSCHEDULABLE]}, None),
        (0, "Failed", {}, "failed"),
        (0, "Failed", {"reason": "UnexpectedAdmissionError"}, "failed"),
        (0, "Succeeded", {}, "failed"),
        (0, "Unknown", {}, "failed"),
        (0, "SomethingNew", {}, "failed"),
    ],
)
def test_what_becomes_of_a_pod(after: float, phase: str, status: dict[str, Any], cause: str | None) -> None:
    it = stage()
    it.becomes("Pod", phase, **status)
    it.wait(after)
    it.step()
    assert it.told == ([(POD, cause)] if cause else [])


def test_a_pod_without_a_start_is_as_old_as_it_is() -> None:
    it = stage()
    it.wait(301)
    it.step()
    assert it.told == [(POD, "failed")]


def test_a_pod_that_is_leaving_is_waited_for() -> None:
    it = stage()
    it.graceful = True
    it.becomes("Pod", "Failed")
    it.step()
    for _ in range(3):
        plan = it.step()
        assert (plan.apply, plan.delete) == ([], [])


def test_a_pod_that_somebody_deleted_is_made_again() -> None:
    it = stage()
    it.children.clear()
    it.settle()
    assert it.names() == ["a-cams-4294ea-pod"]


def test_a_pending_pod_is_looked_at_again_when_its_patience_ends() -> None:
    it = stage()
    assert it.plan().look_again_at == NOON + 300


def test_what_nobody_can_schedule_is_told_and_kept() -> None:
    it = stage()
    it.becomes("Pod", "Pending", conditions=[UNSCHEDULABLE])
    assert it.plan().status["brokers"][0]["message"] == "0/3 nodes fit"
    it.wait(301)
    plan = it.settle()
    assert [one.reason for one in plan.problems] == ["Unschedulable"]
    assert "0/3 nodes fit" in plan.problems[0].message
    assert it.names() == ["a-cams-4294ea-pod"]
    assert plan.status["phase"] == "Failed"


def test_what_one_node_cannot_take_another_one_gets() -> None:
    it = stage(nodes=["a", "b"])
    first = it.names()
    it.becomes("Pod", "Pending", conditions=[UNSCHEDULABLE])
    it.wait(301)
    it.step()
    it.wait(20)
    it.settle()
    assert len(it.names()) == 1
    assert it.names() != first


def test_the_delays_grow_to_five_minutes() -> None:
    assert [delay(count) for count in range(1, 10)] == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert delay(10**9) == 300


def attempts(it: Stage, seconds: int, phase: str = "Failed", **status: Any) -> int:
    """How many pods there were, where each one fails at once."""
    before = it.made
    for _ in range(seconds):
        it.becomes("Pod", phase, **status)
        it.step()
        it.step()
        it.wait(1)
    return it.made - before


def test_defect_4_where_every_broker_fails_its_admission_there_are_three_pods_in_30_seconds_and_not_461() -> None:
    assert attempts(stage(), 30, reason="UnexpectedAdmissionError") == 3 - 1
    assert attempts(stage(nodes=["a", "b", "c"]), 3600) < 40


def test_defect_4_a_pod_that_replaces_another_waits_until_that_has_let_go_of_the_device() -> None:
    it = stage(nodes=["a", "b"])
    it.graceful = True
    it.becomes("Pod")
    it.sees(nodes=[node for node in "ab" if not it.names()[0].startswith(node)])
    for _ in range(3):
        assert it.step().apply == []
    it.finish_deletions()
    assert len(it.step().apply) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Unknown", "Failed"])
def test_what_ends_at_once_each_time_is_tried_at_growing_distances(phase: str) -> None:
    assert attempts(stage(), 155, phase) == 5


def test_a_failed_pod_stays_to_be_looked_at_until_the_next_attempt() -> None:
    it = stage()
    it.becomes("Pod", "Failed")
    it.settle()
    it.becomes("Pod", "Failed", reason="Evicted")
    plan = it.step()
    assert (plan.delete, plan.look_again_at) == ([], it.now + 10)
    assert plan.status["brokers"][0] | {"startedAt": ""} == {
        "kind": "Pod",
        "name": "a-cams-4294ea-pod",
        "node": "a",
        "phase": "Failed",
        "reason": "Evicted",
        "failures": 2,
        "startedAt": "",
    }


def test_ten_minutes_of_running_and_all_is_forgotten() -> None:
    it = stage()
    attempts(it, 60)
    it.becomes("Pod")
    it.wait(599)
    it.step()
    assert it.failures.streaks
    it.wait(1)
    it.step()
    assert not it.failures.streaks


def test_a_pod_that_failed_after_ten_minutes_is_replaced_at_once_though_nobody_looked_meanwhile() -> None:
    it = stage()
    attempts(it, 60)
    it.becomes("Pod")
    started = it.only("Pod")["status"]
    it.wait(601)
    it.becomes("Pod", "Failed")
    times = {"startedAt": started["startTime"], "finishedAt": timestamp(it.now)}
    it.only("Pod")["status"]["containerStatuses"] = [{"state": {"terminated": {"exitCode": 1, **times}}}]
    it.step()
    assert it.told[-1] == (POD, "failed")


def test_another_text_is_tried_at_once() -> None:
    it = stage()
    attempts(it, 60)
    it.becomes("Pod", "Failed")
    it.edit(brokerSpec=pods(hostNetwork=True))
    it.step()
    assert it.told[-1] == (POD, "replaced")
    assert len(it.step().apply) == 1


def refuse(it: Stage) -> None:
    for body in it.plan().apply:
        it.failures = it.failures.refused(body, it.now, "serviceaccount 'cam' not found")


def test_defect_8_a_creation_that_was_refused_once_is_tried_again() -> None:
    it = Stage({"brokerSpec": pods()})
    refuse(it)
    assert len(it.plan().apply) == 1, "the first time at once"
    refuse(it)
    plan = it.plan()
    assert (plan.apply, plan.look_again_at) == ([], NOON + 10)
    assert plan.status["phase"] == "Failed"
    assert "serviceaccount 'cam' not found" in plan.problems[0].message
    it.wait(10)
    it.settle()
    it.becomes("Pod")
    plan = it.settle()
    assert (plan.status["phase"], plan.problems, it.failures) == ("Running", [], Failures())


def test_defect_8_a_refusal_of_any_object_is_backed_off_and_the_others_are_applied() -> None:
    it = Stage({"brokerManifests": [{"apiVersion": "v1", "kind": "ConfigMap"}]})
    refuse(it)
    refuse(it)
    it.edit(brokerSpec=pods())
    assert [one["kind"] for one in it.step().apply] == ["Pod"]
    it.wait(10)
    assert [one["kind"] for one in it.step().apply] == ["ConfigMap"]
    it.step()
    assert not it.failures.streaks


def test_what_is_long_ago_is_forgotten() -> None:
    it = Stage({"brokerSpec": pods()})
    refuse(it)
    it.wait(3601)
    it.edit(brokerSpec=None)
    it.step()
    assert not it.failures.streaks

"""Status: what `kubectl get` shows and `kubectl wait` waits for."""

from typing import Any

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.brokers import (
    Leave,
    Plan,
    Problem,
    Progress,
    configuration_status,
    removal,
)
from tests.desired_kit import NOON, Stage, jobs, pods


def condition(status: JsonObject, kind: str) -> JsonObject:
    return next(one for one in status["conditions"] if one["type"] == kind)


def ready(plan: Plan) -> tuple[str, str, str]:
    found = condition(plan.status, "Ready")
    return plan.status["phase"], found["status"], found["reason"]


def test_the_way_of_a_pod() -> None:
    it = Stage({"brokerSpec": pods()})
    assert ready(it.settle()) == ("Pending", "False", "BrokerPending")
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    it.becomes("Pod", "Pending", containerStatuses=[{"state": waiting}])
    assert ready(it.settle()) == ("Pending", "False", "ImagePullBackOff")
    it.becomes("Pod")
    assert ready(it.settle()) == ("Running", "True", "BrokersRun")
    crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3}}}
    it.becomes("Pod", "Running", containerStatuses=[crashed])
    plan = it.settle()
    assert ready(plan) == ("Failed", "False", "BrokerFailed")
    assert "exit code 3" in condition(plan.status, "Ready")["message"]
    assert it.told == [], "the kubelet itself starts it again"


def test_a_configuration_without_a_broker_is_ready_with_the_device_alone() -> None:
    assert ready(Stage({}).settle()) == ("Running", "True", "NoBroker")


def test_a_device_that_nobody_sees_is_unknown() -> None:
    plan = Stage({"brokerSpec": pods()}, nodes=[]).settle()
    assert ready(plan) == ("Unknown", "False", "NoNodeSeesIt")
    assert condition(plan.status, "Seen")["status"] == "False"


def test_a_condition_keeps_its_time_as_long_as_it_is_the_same() -> None:
    it = Stage({"brokerSpec": pods()})
    first = condition(it.settle().status, "Ready")["lastTransitionTime"]
    it.wait(60)
    it.settle()
    assert condition(it.settle().status, "Ready")["lastTransitionTime"] == first
    it.becomes("Pod")
    assert condition(it.settle().status, "Ready")["lastTransitionTime"] != first


def test_the_same_world_gives_the_same_status() -> None:
    it = Stage({"brokerSpec": pods()}, nodes=["b", "a"], capacity=2)
    it.settle()
    it.becomes("Pod")
    first = it.settle().status
    it.wait(100)
    it.children = dict(reversed(it.children.items()))
    assert it.settle().status == first


def test_the_log_of_a_failed_pod_is_asked_for_before_the_pod_goes() -> None:
    it = Stage({"brokerSpec": pods()})
    it.settle()
    it.becomes("Pod", "Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])
    plan = it.plan()
    assert (plan.logs_wanted, len(plan.delete)) == (["a-cams-4294ea-pod"], 1)
    plan = it.step(logs={"a-cams-4294ea-pod": "cannot reach the camera"})
    assert plan.status["brokers"][0]["log"] == "cannot reach the camera"
    assert (plan.logs_wanted, len(plan.delete)) == ([], 1)


def test_an_instance_that_is_removed_takes_everything_along() -> None:
    it = Stage({"brokerSpec": pods(), "brokerManifests": [{"apiVersion": "v1", "kind": "ConfigMap"}]})
    it.settle()
    it.seen["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    assert len(removal(list(it.children.values()))) == 2
    plan = it.step()
    assert plan.apply == []
    assert {cause for _, cause in it.told} == {"instance-removed"}
    assert it.children == {}


def test_what_belongs_to_others_is_left_alone() -> None:
    it = Stage({"brokerSpec": pods()})
    it.settle()
    stranger = it.only("Pod")
    stranger["metadata"]["ownerReferences"][0]["uid"] = "another instance of that name"
    assert it.plan().delete == []


def of(*phases: str, **more: Any) -> JsonObject:
    instances = []
    for number, phase in enumerate(phases):
        it = Stage({})
        it.seen["metadata"]["name"] = f"cams-{number}"
        it.seen["status"] = {"phase": phase}
        instances.append(it.instance)
    return configuration_status(Stage({}).configuration, instances, NOON, **more)


def test_a_configuration_counts_its_instances() -> None:
    status = of("Running", "Succeeded", "Failed", "Pending")
    assert [status[name] for name in ("observedGeneration", "phase", "instances", "ready", "failed")] == [
        3, "Active", 4, 2, 1,
    ]  # fmt: skip
    assert condition(status, "Ready")["reason"] == "InstancesFailed"
    assert "cams-2" in condition(status, "Ready")["message"]
    assert condition(of("Running"), "Ready")["status"] == "True"
    assert condition(of(), "Ready")["reason"] == "NothingFound"


def test_a_configuration_that_cannot_work_says_why() -> None:
    status = of(problems=[Problem(reason="UnknownHandler", message="there is no handler 'onvi'")])
    assert status["phase"] == "Invalid"
    assert condition(status, "Valid")["message"] == "there is no handler 'onvi'"


def test_a_configuration_that_no_agent_knows_says_so() -> None:
    status = of(handed_out=False)
    assert condition(status, "HandedOut") == {
        "type": "HandedOut",
        "status": "False",
        "reason": "NotTold",
        "message": "no agent knows it yet",
        "observedGeneration": 3,
        "lastTransitionTime": "2027-01-15T08:00:00Z",
    }


def test_a_configuration_whose_roll_out_waits_says_for_what() -> None:
    progress = [Progress(name="a", outcome="failed"), Progress(name="b")]
    status = of(
        "Failed", "Waiting", progress=progress, leaves={"b": Leave(may_start=False, waits_for="'a' has failed")}
    )
    assert status["phase"] == "Waiting"
    assert status["rollout"] == {
        "windowOpen": True,
        "running": 0,
        "succeeded": 0,
        "failed": 1,
        "outdated": 0,
        "waitsFor": "'a' has failed",
    }


def test_a_status_of_any_shape_harms_nobody() -> None:
    it = Stage({"brokerSpec": jobs()})
    for status in ({"brokers": "x", "conditions": 7}, {"brokers": [1, {}], "conditions": [{"type": "Ready"}, "x"]}):
        it.seen["status"] = status
        assert it.settle().status["phase"] == "Pending"

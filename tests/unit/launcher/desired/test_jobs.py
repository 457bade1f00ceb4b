"""Broker jobs: Akri's manifest, when one runs again and when never, and what is told of it."""

from typing import Any

import pytest

from ashore_broker_launcher.desired.brokers import World, progress
from tests.desired_kit import CONTAINER, Stage, jobs

PLAIN = "cams-4294ea-3-job"
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
FAILED = {
    "conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]
}
RERUN = "akri.sh/rerun"


def stage(**spec: Any) -> Stage:
    made = Stage({"brokerSpec": jobs(**spec)}, brokerProperties={"FIRMWARE": "9.1"})
    made.settle()
    return made


def test_a_job_is_as_akris_and_its_pods_have_the_label_that_services_look_for() -> None:
    it = stage(backoffLimit=2)
    job = it.only("Job")
    run = job["metadata"]["annotations"].pop("akri.sh/applied-hash")
    del job["metadata"]["uid"], job["metadata"]["creationTimestamp"]
    labels = {"controller": "akri.sh", "akri.sh/configuration": "cams", "akri.sh/instance": "cams-4294ea"}
    environment = [{"name": "FIRMWARE", "value": "9.1"}, {"name": "FIRMWARE_4294EA", "value": "9.1"}]
    # Another one runs all jobs again when the launcher is upgraded.
    assert run == "275b5c1bcae532a2"
    assert job == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": PLAIN,
            "namespace": "shop",
            "labels": {"app": PLAIN, **labels},
            "annotations": {"akri.sh/part": "job"},
            "ownerReferences": [
                {
                    "apiVersion": "akri.sh/v0",
                    "kind": "Instance",
                    "name": "cams-4294ea",
                    "uid": "instance-1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "backoffLimit": 2,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{**CONTAINER, "env": environment}], "restartPolicy": "Never"},
            },
        },
    }


def test_there_is_one_job_however_many_nodes_see_the_device() -> None:
    it = stage()
    it.sees(nodes=["a", "b", "c"])
    it.settle()
    assert it.names("Job") == [PLAIN]


def unchanged(it: Stage) -> None:
    uid = it.only("Job")["metadata"]["uid"]
    it.settle()
    assert it.only("Job")["metadata"]["uid"] == uid


def test_another_generation_alone_runs_nothing_again() -> None:
    it = stage()
    it.edit(capacity=5)
    unchanged(it)


def test_another_property_runs_nothing_again_as_the_firmware_has_another_version_after_its_upgrade() -> None:
    it = stage()
    it.becomes("Job", **COMPLETE)
    it.sees(brokerProperties={"FIRMWARE": "9.2"})
    unchanged(it)


def test_another_spec_makes_a_job_of_another_name_and_removes_the_one_that_has_ended() -> None:
    it = stage()
    it.becomes("Job", **COMPLETE)
    it.edit(brokerSpec=jobs(backoffLimit=9))
    it.settle()
    assert it.names("Job") == ["cams-4294ea-4-job"]
    assert it.told == [(f"Job/{PLAIN}", "replaced")]


def test_another_spec_waits_for_a_job_that_runs_and_none_is_stopped_at_its_work() -> None:
    it = stage()
    it.becomes("Job", active=1, ready=1)
    it.edit(brokerSpec=jobs(backoffLimit=9))
    plan = it.settle()
    assert it.names("Job") == [PLAIN]
    assert (plan.status["phase"], it.told) == ("Running", [])
    assert "has to end first" in plan.status["conditions"][1]["message"]
    it.becomes("Job", **COMPLETE)
    it.settle()
    assert it.names("Job") == ["cams-4294ea-4-job"]


def test_a_job_of_whose_pods_none_has_begun_is_replaced_at_once() -> None:
    it = stage()
    it.becomes("Job", active=1)
    it.pod_of_job("Pending")
    it.edit(brokerSpec=jobs(backoffLimit=9))
    assert it.step().apply == [], "two never run at the same time"
    it.settle()
    assert it.names("Job") == ["cams-4294ea-4-job"]


def test_a_job_whose_pods_are_not_known_counts_as_begun() -> None:
    it = stage()
    it.becomes("Job", active=1)
    it.edit(brokerSpec=jobs(backoffLimit=9))
    it.settle()
    assert it.names("Job") == [PLAIN]


@pytest.mark.parametrize("where", ["configured", "seen"])
def test_it_runs_again_when_somebody_wants_it_and_once_only(where: str) -> None:
    it = stage()
    it.becomes("Job", **COMPLETE)
    it.settle()
    getattr(it, where)["metadata"].setdefault("annotations", {})[RERUN] = "monday"
    it.settle()
    again = it.names("Job")
    assert again != [PLAIN]
    unchanged(it)
    it.becomes("Job", **COMPLETE)
    it.settle()
    getattr(it, where)["metadata"]["annotations"][RERUN] = "tuesday"
    it.settle()
    assert it.names("Job") not in ([PLAIN], again)


def test_a_job_that_was_removed_after_its_end_does_not_run_again() -> None:
    it = stage(ttlSecondsAfterFinished=0)
    it.becomes("Job", **COMPLETE)
    it.settle()
    it.children.clear()
    plan = it.settle()
    assert it.names("Job") == []
    assert plan.status["phase"] == "Succeeded"


def test_a_job_that_was_removed_before_its_end_runs_again() -> None:
    it = stage()
    it.becomes("Job", active=1, ready=1)
    it.settle()
    it.children.clear()
    it.settle()
    assert it.names("Job") == [PLAIN]


def test_a_job_that_akri_has_made_is_taken_over_and_not_run_again() -> None:
    it = stage()
    job = it.only("Job")
    job["metadata"]["annotations"] = {}
    it.becomes("Job", **COMPLETE)
    assert it.settle().status["phase"] == "Succeeded"
    assert it.told == []


def test_it_starts_when_it_may() -> None:
    it = Stage({"brokerSpec": jobs()})
    plan = it.settle(may_start=False, waits_for="the maintenance window is closed")
    assert (plan.status["phase"], it.names("Job")) == ("Waiting", [])
    assert plan.status["conditions"][1]["message"] == "the maintenance window is closed"
    it.settle()
    assert it.names("Job") == [PLAIN]


def test_its_failure_is_history_when_the_next_run_waits() -> None:
    it = stage()
    it.becomes("Job", **FAILED)
    assert it.settle().status["phase"] == "Failed"
    it.edit(brokerSpec=jobs(backoffLimit=9))
    plan = it.settle(may_start=False)
    assert plan.status["phase"] == "Waiting"
    assert [one["phase"] for one in plan.status["brokers"]] == ["Failed"]


def test_its_result_is_told_with_exit_code_and_last_lines() -> None:
    it = stage()
    it.becomes("Job", **FAILED)
    ended = {"terminated": {"exitCode": 7, "reason": "Error"}}
    it.pod_of_job("Failed", containerStatuses=[{"state": ended}], startTime="2027-01-15T08:00:00Z")
    plan = it.step()
    assert plan.logs_wanted == [f"{PLAIN}-x"]
    plan = it.step(logs={f"{PLAIN}-x": "x" * 5000 + "upload refused"})
    assert plan.logs_wanted == []
    told = plan.status["brokers"][0]
    assert (told["phase"], told["exitCode"], told["reason"], told["node"]) == ("Failed", 7, "BackoffLimitExceeded", "a")
    assert told["log"].endswith("upload refused")
    assert len(told["log"]) == 4096
    ready = plan.status["conditions"][1]
    assert ready["message"] == f"Job '{PLAIN}' is failed, BackoffLimitExceeded, exit code 7: too often"


def test_what_was_told_once_stays_told_when_the_pod_is_gone() -> None:
    it = stage()
    it.becomes("Job", **COMPLETE)
    it.pod_of_job("Succeeded", containerStatuses=[{"state": {"terminated": {"exitCode": 0}}}])
    it.step()
    before = it.step(logs={f"{PLAIN}-x": "done"}).status
    assert it.step().status == before
    del it.children[f"Pod/{PLAIN}-x"]
    plan = it.step()
    assert plan.status == before
    assert plan.logs_wanted == []


def test_another_broker_does_not_stop_a_job_at_its_work_and_removes_it_afterwards() -> None:
    it = stage()
    it.becomes("Job", active=1, ready=1)
    it.edit(brokerSpec=None)
    it.settle()
    assert it.names("Job") == [PLAIN]
    it.becomes("Job", **COMPLETE)
    it.settle()
    assert it.names("Job") == []


def outcome(it: Stage) -> str:
    return progress(it.configuration, it.instance, World(now=it.now, children=list(it.children.values()))).outcome


def test_its_outcome_is_that_of_the_present_run() -> None:
    it = Stage({"brokerSpec": jobs()})
    assert outcome(it) == "none"
    it.settle()
    assert outcome(it) == "running"
    it.becomes("Job", **FAILED)
    it.settle()
    assert outcome(it) == "failed"
    it.children.clear()
    assert outcome(it) == "failed"
    it.edit(brokerSpec=jobs(backoffLimit=9))
    assert outcome(it) == "none"

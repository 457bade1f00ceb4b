"""The broker job of an instance: run once, and again when its text is another one or somebody wants it.

Which run a job is stands in its hash: over the job's spec and the values of `akri.sh/rerun` of configuration and
instance, and nothing else. So neither another generation of the configuration nor another property of the device (the
firmware's version, after its upgrade) runs it again, and nor does its removal once it has ended: the status remembers.

Two jobs of one instance never run at the same time, and none is stopped at its work, which may be a camera's firmware.
A new one waits until the old one has ended; one of whose pods none has begun is removed at once. A job that has ended
stays, with its pods and what they wrote, until the next one starts.

A job that fails, and whose last line is a JSON object with `"outcome": "waiting"`, has done nothing yet and says so: it
is put off, which is no failure of the roll-out, and runs again at the time that its `opens` names, or after a while.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ashore_broker_launcher.cluster import JOB, JsonObject
from ashore_broker_launcher.desired import labels
from ashore_broker_launcher.desired.draft import LONGEST_LOG, Draft
from ashore_broker_launcher.desired.phases import (
    JobState,
    as_dict,
    condition,
    dicts,
    look_at_job,
    look_at_pod,
    seconds,
    timestamp,
)
from ashore_broker_launcher.desired.placeholder import with_device
from ashore_broker_launcher.model import HASH, RERUN, Configuration, Instance
from ashore_broker_launcher.objects import annotation, hash_of, is_leaving

PART: Final = "job"
PUT_OFF_SECONDS: Final = 600.0
LONGEST_PUT_OFF: Final = 31 * 86400.0
"""Whoever names a time beyond that is asked again then."""
WAITING: Final = "Waiting"
"""The phase of a job that is put off."""
_LONGEST_WHY: Final = 512
_NOT_YET: Final = "its configuration's roll-out does not start it yet"
_PHASES: Final[dict[JobState, str]] = {
    "waits": "Pending",
    "runs": "Running",
    "succeeded": "Succeeded",
    "failed": "Failed",
}


class _Report(msgspec.Struct):
    """As much of a job's own report as is understood here."""

    outcome: str = ""
    why: str = ""
    opens: str = ""


def plan_job(draft: Draft) -> None:
    """Add what the broker job needs."""
    jobs = draft.of_kind(JOB.name, PART, "")
    template = draft.configuration.spec.job_spec
    if template is None:
        for one in jobs:
            if state_of(draft, one) == "runs":
                _tell(draft, one, annotation(one, HASH))
            else:
                draft.doom(one, "replaced")
        return
    run = run_of(draft.configuration, draft.instance, template)
    current = next((one for one in jobs if is_of_run(draft.configuration, draft.instance, one, run)), None)
    others = [one for one in jobs if one is not current]
    told = told_run(draft, current, run)
    if told is None or (current is None and told["phase"] == WAITING and not _is_put_off(draft, told)):
        _start(draft, template, run, others, exists=False)
        return
    draft.brokers.append(told)
    draft.expects_brokers |= told["phase"] not in ("Succeeded", "Failed")
    if told["phase"] == WAITING and not _is_put_off(draft, told) and current is not None:
        draft.doom(current, "replaced")
    elif current is not None:
        _start(draft, template, run, others, exists=True)


def told_run(draft: Draft, job: JsonObject | None, run: str) -> JsonObject | None:
    """What there is to tell of a run: by its job, else, where that is gone after its end, by what was told before."""
    if job is None:
        return draft.finished_before(JOB.name, run)
    told = told_job(draft, job, run)
    report = _report(str(told.get("log", ""))) if told["phase"] == "Failed" else _Report()
    if report.outcome != "waiting":
        return told
    ended = seconds(condition(as_dict(job.get("status")), "Failed").get("lastTransitionTime")) or draft.world.now
    opens = min(seconds(report.opens), ended + LONGEST_PUT_OFF)
    until = timestamp(opens if opens > ended else ended + PUT_OFF_SECONDS)
    return {**told, "phase": WAITING, "until": until, "message": report.why[:_LONGEST_WHY]}


def _report(log: str) -> _Report:
    last = log.rstrip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(last, type=_Report)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Report()


def _is_put_off(draft: Draft, told: JsonObject) -> bool:
    """Whether a run that was put off still has to wait, for its time or for its turn."""
    due = seconds(told.get("until"))
    if due > draft.world.now:
        draft.look(due)
        draft.hold(f"its job has put itself off until {told['until']}: {told.get('message', '')}".rstrip(": "))
        return True
    if not draft.world.may_start:
        draft.hold(draft.world.waits_for or _NOT_YET)
    return not draft.world.may_start


def run_of(configuration: Configuration, instance: Instance, template: JsonObject) -> str:
    """Which run of the job should be the last."""
    reruns = [one.metadata.annotations.get(RERUN, "") for one in (configuration, instance)]
    return hash_of({"spec": template, "rerun": reruns})


def wanted_runs(configuration: Configuration, instances: Sequence[Instance]) -> dict[str, str]:
    """Which run each instance should have, by its name; nothing where no job runs."""
    template, manifests = configuration.spec.job_spec, configuration.spec.broker_manifests
    if template is None:
        run = hash_of(manifests) if any(one.get("kind") == JOB.name for one in manifests) else ""
        return {one.metadata.name: run for one in instances}
    # The template is the same for all, and large.
    demands = {one.metadata.annotations.get(RERUN, ""): one for one in instances}
    runs = {demand: run_of(configuration, one, template) for demand, one in demands.items()}
    return {one.metadata.name: runs[one.metadata.annotations.get(RERUN, "")] for one in instances}


def is_of_run(configuration: Configuration, instance: Instance, job: JsonObject, run: str) -> bool:
    """Whether the job is that run; one that Akri has made says so by its name only."""
    known = annotation(job, HASH)
    plain = labels.job_name(instance, configuration.metadata.generation)
    return known == run if known else job["metadata"]["name"] == plain


def desired_job(instance: Instance, template: JsonObject, run: str, name: str) -> JsonObject:
    """The job, with its run for a hash."""
    metadata = labels.metadata_of(instance, name, PART)
    metadata["annotations"][HASH] = run
    return {"apiVersion": JOB.api_version, "kind": JOB.name, "metadata": metadata, "spec": _spec(instance, template)}


def state_of(draft: Draft, job: JsonObject) -> JobState:
    """How a job fares."""
    return look_at_job(job, draft.pods_of(job))


def _start(draft: Draft, template: JsonObject, run: str, others: list[JsonObject], *, exists: bool) -> None:
    """Make way for the run, and make it when nothing is in the way and it may begin."""
    busy = _make_way(draft, others)
    if exists:
        return
    if busy:
        draft.hold("the job that runs has to end first; delete it to go on at once")
    elif not draft.world.may_start:
        draft.hold(draft.world.waits_for or _NOT_YET)
    else:
        _make(draft, template, run, others)
        return
    for one in others:
        if one not in busy:
            _tell(draft, one, annotation(one, HASH))


def _make_way(draft: Draft, others: list[JsonObject]) -> list[JsonObject]:
    """Remove jobs that have not begun; the answer is those that have not ended."""
    busy = [one for one in others if state_of(draft, one) in ("waits", "runs")]
    for one in busy:
        if state_of(draft, one) == "waits":
            draft.doom(one, "replaced")
        else:
            _tell(draft, one, annotation(one, HASH))
    return busy


def _make(draft: Draft, template: JsonObject, run: str, others: list[JsonObject]) -> None:
    wanted = desired_job(draft.instance, template, run, _name(draft, run, others))
    if draft.claim(wanted):
        draft.want(wanted)
    draft.expects_brokers = True
    draft.brokers.append({"kind": JOB.name, "name": wanted["metadata"]["name"], "phase": "Pending", "hash": run})
    for one in others:
        draft.doom(one, "replaced")


def _name(draft: Draft, run: str, others: list[JsonObject]) -> str:
    generation = draft.configuration.metadata.generation
    plain = labels.job_name(draft.instance, generation)
    again = any(RERUN in one.metadata.annotations for one in (draft.configuration, draft.instance))
    taken = any(one["metadata"]["name"] == plain for one in others)
    return labels.job_name(draft.instance, generation, run[:6]) if again or taken else plain


def _spec(instance: Instance, template: JsonObject) -> JsonObject:
    """The job spec with the device, and labels by which services find its pods. Akri's lack one of them."""
    pod = as_dict(template.get("template"))
    metadata = as_dict(pod.get("metadata"))
    labelled = {**metadata, "labels": {**as_dict(metadata.get("labels")), **labels.selected_by(instance)}}
    return {
        **template,
        "template": {**pod, "metadata": labelled, "spec": with_device(as_dict(pod.get("spec")), instance)},
    }


def _tell(draft: Draft, job: JsonObject, run: str) -> None:
    draft.brokers.append(told_job(draft, job, run))


def told_job(draft: Draft, job: JsonObject, run: str) -> JsonObject:
    """The job, for the status of its instance."""
    state, status = state_of(draft, job), as_dict(job.get("status"))
    why = condition(status, "Failed") if state == "failed" else {}
    told: dict[str, Any] = {"kind": JOB.name, "name": job["metadata"]["name"], "phase": _PHASES[state], "hash": run}
    extra = {"startedAt": status.get("startTime"), "reason": why.get("reason"), "message": why.get("message")}
    told |= {key: value for key, value in extra.items() if value}
    if is_leaving(job) and state in ("waits", "runs"):
        told["phase"] = "Leaving"
    return {**told, **_of_its_pod(draft, job, str(told.get("startedAt")), ended=state in ("succeeded", "failed"))}


def _of_its_pod(draft: Draft, job: JsonObject, started: str, *, ended: bool) -> JsonObject:
    """What the last of its pods says; what the status has said already, where that pod is gone."""
    looks = [(look_at_pod(pod, draft.world.now), pod) for pod in draft.pods_of(job)]
    if not looks:
        return _said_before(draft, job)
    look, pod = max(looks, key=lambda one: (one[0].since, str(one[1]["metadata"]["name"])))
    name = str(pod["metadata"]["name"])
    node = as_dict(pod.get("spec")).get("nodeName")
    told = {"pod": name, **({"node": node} if node else {})}
    if look.exit_code is not None:
        told["exitCode"] = look.exit_code
    log = draft.log_of(name, started, wanted=ended)
    # Where the log cannot be had, its end may stand in the pod's status, by terminationMessagePolicy.
    return {**told, **({"log": look.message[-LONGEST_LOG:]} if log.get("log") == "" else log)}


def _said_before(draft: Draft, job: JsonObject) -> JsonObject:
    for one in dicts(draft.instance.status.get("brokers")):
        if one.get("kind") == JOB.name and one.get("name") == job["metadata"]["name"]:
            return {key: one[key] for key in ("pod", "node", "exitCode", "log") if key in one}
    return {}

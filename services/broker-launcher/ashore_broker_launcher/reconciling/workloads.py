"""The workloads of an instance, as far as events tell of them, from the objects that serve it. Pure."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.draft import LONGEST_LOG
from ashore_broker_launcher.desired.jobs import WAITING
from ashore_broker_launcher.desired.phases import PodLook, condition, dicts, look_at_job, look_at_pod
from ashore_broker_launcher.objects import is_leaving, owner_uid, uid_of
from ashore_broker_launcher.reconciling.telling import WORKLOADS, Stage, Workload

_JOB_STAGES: Mapping[str, Stage] = {"runs": "launched", "succeeded": "finished", "failed": "failed"}
_POD_STAGES: Mapping[str, Stage] = {"runs": "launched", "failed": "failed"}


def workloads(
    children: Sequence[JsonObject],
    instance: str,
    now: float,
    logs: Mapping[str, str],
    waiting: Collection[str] = (),
) -> list[Workload]:
    """What serves the instance with this uid; what is leaving serves no more. `waiting` are jobs that are put off."""
    own = [one for one in children if owner_uid(one) == instance and one["kind"] in WORKLOADS and not is_leaving(one)]
    found = [_workload(one, children, now, logs) for one in own]
    return [msgspec.structs.replace(one, stage="put-off") if _name(one) in waiting else one for one in found]


def put_off(status: JsonObject) -> frozenset[str]:
    """The jobs that have put themselves off, from their instance's status."""
    brokers = dicts(status.get("brokers"))
    return frozenset(f"{one['kind']}/{one['name']}" for one in brokers if one.get("phase") == WAITING)


def _name(one: Workload) -> str:
    return f"{one.kind}/{one.name}"


def _workload(body: JsonObject, children: Sequence[JsonObject], now: float, logs: Mapping[str, str]) -> Workload:
    match body["kind"]:
        case "Pod":
            return _pod(body, now, logs)
        case "Job":
            pods = [one for one in children if owner_uid(one) == uid_of(body)]
            return _job(body, pods, now, logs)
    return Workload(kind=body["kind"], name=body["metadata"]["name"], uid=uid_of(body), stage="launched")


def _pod(body: JsonObject, now: float, logs: Mapping[str, str]) -> Workload:
    look, name = look_at_pod(body, now), body["metadata"]["name"]
    return Workload(
        kind="Pod",
        name=name,
        uid=uid_of(body),
        node=body.get("spec", {}).get("nodeName", ""),
        stage=_POD_STAGES.get(look.state, "waiting"),
        reason=_reason(look.reason, look.message),
        exit_code=look.exit_code,
        log=logs.get(name, "")[-LONGEST_LOG:],
    )


def _job(body: JsonObject, pods: Sequence[JsonObject], now: float, logs: Mapping[str, str]) -> Workload:
    looks = sorted(((look_at_pod(one, now), str(one["metadata"]["name"])) for one in pods), key=_began)
    last, pod = looks[-1] if looks else (None, "")
    failed = condition(body.get("status", {}), "Failed")
    return Workload(
        kind="Job",
        name=body["metadata"]["name"],
        uid=uid_of(body),
        stage=_JOB_STAGES.get(look_at_job(body, list(pods)), "waiting"),
        reason=_reason(str(failed.get("reason", "")), str(failed.get("message", ""))),
        exit_code=last.exit_code if last is not None else None,
        log=(logs.get(pod) or (last.message if last is not None else ""))[-LONGEST_LOG:],
        attempts=sum(one.phase == "Failed" for one, _ in looks),
    )


def _began(one: tuple[PodLook, str]) -> tuple[float, str]:
    return one[0].since, one[1]


def _reason(reason: str, message: str) -> str:
    return ": ".join(part for part in (reason, message) if part)[:1024]

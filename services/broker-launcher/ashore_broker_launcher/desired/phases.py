"""How a pod or a job is, read from its status."""

import datetime as dt
from typing import Final, Literal

import msgspec

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.failures import STEADY
from ashore_broker_launcher.objects import is_leaving

PENDING_FOR: Final = 300.0
"""A pod that has not begun after so long is replaced."""
PodState = Literal["leaving", "runs", "starts", "stuck", "unschedulable", "failed"]
JobState = Literal["waits", "runs", "succeeded", "failed"]


class PodLook(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of a pod."""

    state: PodState
    since: float
    """When it was started, or made."""
    phase: str
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    serves: bool = False
    ran: float = 0.0
    """For how many seconds the container that ran longest did, where it has ended."""

    @property
    def pending_until(self) -> float:
        """When its patience ends."""
        return self.since + PENDING_FOR


def look_at_pod(pod: JsonObject, now: float) -> PodLook:
    """How the pod is."""
    status = as_dict(pod.get("status"))
    phase = str(status.get("phase") or "Pending")
    created = seconds(pod["metadata"].get("creationTimestamp"))
    since = seconds(status.get("startTime")) or created or now
    reason, message = _reason(status)
    return PodLook(
        state=_state(pod, phase, reason, now - since),
        since=since,
        phase=phase,
        reason=reason,
        message=message,
        exit_code=_exit_code(status),
        ran=max(map(_ran, _containers(status)), default=0.0),
        serves=not is_leaving(pod) and phase == "Running" and condition(status, "Ready").get("status") != "False",
    )


def _state(pod: JsonObject, phase: str, reason: str, age: float) -> PodState:
    if is_leaving(pod):
        return "leaving"
    if phase == "Running":
        return "runs"
    if phase != "Pending":
        return "failed"
    if age < PENDING_FOR:
        return "starts"
    return "unschedulable" if reason == "Unschedulable" else "stuck"


def is_steady(look: PodLook, now: float) -> bool:
    """Whether it has run long enough for its failures to be forgotten."""
    return look.state == "runs" and look.serves and now - look.since >= STEADY


def look_at_job(job: JsonObject, pods: list[JsonObject]) -> JobState:
    """How the job is; it `waits` while none of its pods has begun, so that nothing is lost with it."""
    status = as_dict(job.get("status"))
    if condition(status, "Complete").get("status") == "True":
        return "succeeded"
    if condition(status, "Failed").get("status") == "True":
        return "failed"
    if any(status.get(name) for name in ("ready", "succeeded", "failed")):
        return "runs"
    if pods:
        begun = any(as_dict(one.get("status")).get("phase", "Pending") != "Pending" for one in pods)
        return "runs" if begun else "waits"
    return "runs" if status.get("active") else "waits"


def condition(status: JsonObject, name: str) -> JsonObject:
    """A condition; empty where there is none."""
    return next((one for one in dicts(status.get("conditions")) if one.get("type") == name), {})


def _reason(status: JsonObject) -> tuple[str, str]:
    """Why it is as it is: what the pod says, else a container of it, else who could not place it."""
    if status.get("reason"):
        return str(status["reason"]), str(status.get("message") or "")
    for container in _containers(status):
        state = as_dict(container.get("state"))
        found = as_dict(state.get("waiting")) or as_dict(state.get("terminated"))
        if found.get("reason") and found.get("exitCode", 1) != 0:
            return str(found["reason"]), str(found.get("message") or "")
    placed = condition(status, "PodScheduled")
    if placed.get("status") == "False":
        return str(placed.get("reason") or ""), str(placed.get("message") or "")
    return "", ""


def _exit_code(status: JsonObject) -> int | None:
    """The exit code of the container that failed, else of any that has ended."""
    codes = []
    for container in _containers(status):
        for name in ("state", "lastState"):
            code = as_dict(as_dict(container.get(name)).get("terminated")).get("exitCode")
            if isinstance(code, int):
                codes.append(code)
                break
    return next((code for code in codes if code), codes[0] if codes else None)


def _ran(container: JsonObject) -> float:
    """A pod that its kubelet has refused has no container, and did not run, however long it is there."""
    ended = as_dict(as_dict(container.get("state")).get("terminated"))
    return max(0.0, seconds(ended.get("finishedAt")) - seconds(ended.get("startedAt")))


def _containers(status: JsonObject) -> list[JsonObject]:
    return [*dicts(status.get("initContainerStatuses")), *dicts(status.get("containerStatuses"))]


def dicts(value: object) -> list[JsonObject]:
    """The objects in a list; none where it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def as_dict(value: object) -> JsonObject:
    """The object, or an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def seconds(text: object) -> float:
    """Seconds since 1970, from what the API server writes; 0 where it is no time."""
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def timestamp(at: float) -> str:
    """As the API server writes times."""
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

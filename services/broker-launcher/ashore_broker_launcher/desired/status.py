"""What `kubectl get` and `kubectl wait` see: the status of an instance, and of a configuration."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from ashore_broker_launcher.cluster import JOB, JsonObject
from ashore_broker_launcher.desired.draft import Draft, Problem
from ashore_broker_launcher.desired.phases import dicts, timestamp
from ashore_broker_launcher.desired.rollout import Leave, Opening, Progress, opening
from ashore_broker_launcher.model import Configuration, Instance

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Waiting", "Unknown"]
_LONGEST_MESSAGE: Final = 1024
_READY: Final = ("Running", "Succeeded")
_STATUS: Final[Mapping[bool | None, str]] = {True: "True", False: "False", None: "Unknown"}


class Why(NamedTuple):
    """Whether a condition holds, None where nobody knows, and why."""

    holds: bool | None
    reason: str
    message: str


def instance_status(draft: Draft) -> JsonObject:
    """The status of an instance, from the plan for it."""
    instance, now = draft.instance, draft.world.now
    phase, reason, message = _phase(draft)
    generation = instance.metadata.generation
    conditions = [
        _condition(instance.status, "Seen", generation, now, _seen(draft)),
        _condition(instance.status, "Ready", generation, now, Why(phase in _READY, reason, message)),
    ]
    brokers = sorted(draft.brokers, key=lambda one: (one["kind"], one["name"]))
    return {"phase": phase, "brokers": brokers, "conditions": conditions}


def _seen(draft: Draft) -> Why:
    nodes = draft.instance.spec.nodes
    if not nodes:
        return Why(holds=False, reason="NoNodeSeesIt", message="no node says that it sees it")
    silent = [node for node in nodes if node in draft.world.silent_nodes]
    if len(silent) == len(nodes):
        text = f"the agent of {', '.join(silent)} is silent, so nobody knows; brokers stay"
        return Why(holds=None, reason="AgentSilent", message=text)
    text = f"seen by {', '.join(node for node in nodes if node not in silent)}"
    return Why(holds=True, reason="SeenByNodes", message=text)


def _phase(draft: Draft) -> tuple[Phase, str, str]:
    """The phase, and why: what is wrong comes first, then what is waited for."""
    phases = [one.get("phase") for one in draft.brokers]
    # The failure of a job is history when another run of it waits.
    jobs_too = not draft.waits_for
    failed = [one for one in draft.brokers if one.get("phase") == "Failed" and (jobs_too or one["kind"] != JOB.name)]
    if not draft.instance.spec.nodes:
        return "Unknown", "NoNodeSeesIt", "no node says that it sees the device"
    if failed:
        return "Failed", "BrokerFailed", "; ".join(_why(one) for one in failed)
    grave = [one for one in draft.problems if one.grave]
    if grave:
        return "Failed", grave[0].reason, "; ".join(one.message for one in grave)
    if draft.waits_for and not (phases and all(phase == "Running" for phase in phases)):
        return "Waiting", "RolloutWaits", draft.waits_for
    if not phases:
        return "Running", "NoBroker", "its configuration starts no broker"
    if all(phase == "Succeeded" for phase in phases):
        return "Succeeded", "JobSucceeded", "its job has succeeded"
    if all(phase in _READY for phase in phases):
        waits = f"; {draft.waits_for}" if draft.waits_for else ""
        return "Running", "BrokersRun", f"{len(phases)} {'broker runs' if len(phases) == 1 else 'brokers run'}{waits}"
    late = next(one for one in draft.brokers if one.get("phase") not in _READY)
    return "Pending", str(late.get("reason") or "BrokerPending"), _why(late)


def _why(broker: JsonObject) -> str:
    code = f", exit code {broker['exitCode']}" if "exitCode" in broker else ""
    reason = f", {broker['reason']}" if broker.get("reason") else ""
    text = f": {broker['message']}" if broker.get("message") else ""
    return f"{broker['kind']} '{broker['name']}' is {str(broker['phase']).lower()}{reason}{code}{text}"


def configuration_status(
    configuration: Configuration,
    instances: Sequence[Instance],
    now: float,
    *,
    problems: Sequence[Problem] = (),
    handed_out: bool = True,
    not_handed_out: str = "",
    progress: Sequence[Progress] = (),
    leaves: dict[str, Leave] | None = None,
) -> JsonObject:
    """The status of a configuration, from those of its instances.

    `problems` make it invalid; `handed_out` is whether the agents have been told of it, and if not, why not.
    """
    before, generation = configuration.status, configuration.metadata.generation
    ready = sum(_phase_of(one) in _READY for one in instances)
    failed = sorted(one.metadata.name for one in instances if _phase_of(one) == "Failed")
    valid = ("Invalid", "; ".join(one.message for one in problems)) if problems else ("Accepted", "it can be used")
    handed = ("Told", "the agents know it") if handed_out else ("NotTold", not_handed_out or "no agent knows it yet")
    all_ready = not problems and ready == len(instances)
    conditions = [
        _condition(before, "Valid", generation, now, Why(not problems, *valid)),
        _condition(before, "HandedOut", generation, now, Why(handed_out, *handed)),
        _condition(before, "Ready", generation, now, Why(all_ready, *_ready(instances, ready, failed))),
    ]
    window = opening(configuration.spec.rollout.maintenance_window, now)
    return {
        "observedGeneration": generation,
        "phase": "Invalid" if problems else "Waiting" if _waits(leaves or {}) else "Active",
        "instances": len(instances),
        "ready": ready,
        "failed": len(failed),
        "conditions": conditions,
        "rollout": _rollout(window, progress, leaves or {}),
    }


def _rollout(window: Opening, progress: Sequence[Progress], leaves: dict[str, Leave]) -> JsonObject:
    times = {"opensAt": window.opens_at, "closesAt": window.closes_at}
    told: JsonObject = {"windowOpen": window.open}
    told |= {key: timestamp(at) for key, at in times.items() if at is not None}
    outcomes = [one.outcome for one in progress]
    for outcome in ("running", "succeeded", "failed"):
        told[outcome] = outcomes.count(outcome)
    told["outdated"] = sum(one.outdated for one in progress)
    waits = _waits(leaves)
    return {**told, **({"waitsFor": waits} if waits else {})}


def _waits(leaves: dict[str, Leave]) -> str:
    return next((one.waits_for for _, one in sorted(leaves.items()) if one.waits_for), "")


def _ready(instances: Sequence[Instance], ready: int, failed: list[str]) -> tuple[str, str]:
    if not instances:
        return "NothingFound", "no device has been found for it so far"
    if failed:
        return "InstancesFailed", f"{len(failed)} of {len(instances)} have failed: {', '.join(failed[:5])}"
    reason = "AllReady" if ready == len(instances) else "NotAllReady"
    return reason, f"{ready} of {len(instances)} instances are ready"


def _phase_of(instance: Instance) -> str:
    return str(instance.status.get("phase", ""))


def _condition(before: JsonObject, kind: str, generation: int, now: float, why: Why) -> JsonObject:
    """A condition; its time stays as long as its status does."""
    status = _STATUS[why.holds]
    told = (one for one in dicts(before.get("conditions")) if one.get("type") == kind and one.get("status") == status)
    since = next((one.get("lastTransitionTime") for one in told), None)
    return {
        "type": kind,
        "status": status,
        "reason": why.reason,
        "message": why.message[:_LONGEST_MESSAGE],
        "observedGeneration": generation,
        "lastTransitionTime": since or timestamp(now),
    }

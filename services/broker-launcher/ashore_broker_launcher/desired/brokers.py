"""The plan for an instance: what has to be applied and deleted now, when to look again, and its status.

A pure function of the configuration, the instance and a world, so whatever was missed, done twice or done by somebody
else, the next plan says what is left to do. Its parts: `pods`, `jobs`, `manifests`, `services`.

Whoever carries a plan out reads the logs that it wants and plans again; then applies, and tells `failures.refused` what
was refused; then deletes; and keeps `failures` for the next world.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from ashore_broker_launcher.cluster import JOB, POD, JsonObject
from ashore_broker_launcher.desired.draft import Doomed, Draft, Plan, Problem, World
from ashore_broker_launcher.desired.failures import Failures
from ashore_broker_launcher.desired.jobs import WAITING, is_of_run, plan_job, told_run, wanted_runs
from ashore_broker_launcher.desired.manifests import plan_manifests, told_jobs
from ashore_broker_launcher.desired.phases import look_at_pod
from ashore_broker_launcher.desired.placement import node_of
from ashore_broker_launcher.desired.pods import desired_pod, plan_pods
from ashore_broker_launcher.desired.rollout import Leave, Outcome, Progress, leaves, opening
from ashore_broker_launcher.desired.services import ServicePlan, plan_configuration_service, plan_instance_service
from ashore_broker_launcher.desired.status import configuration_status, instance_status
from ashore_broker_launcher.model import HASH, Configuration, Instance
from ashore_broker_launcher.objects import annotation, is_leaving

__all__ = [
    "Doomed",
    "Failures",
    "Leave",
    "Plan",
    "Problem",
    "Progress",
    "ServicePlan",
    "World",
    "configuration_status",
    "leaves",
    "opening",
    "plan",
    "plan_configuration_service",
    "progress",
    "removal",
    "wanted_runs",
]

_OUTCOMES: Final[Mapping[str, Outcome]] = {"Succeeded": "succeeded", "Failed": "failed", WAITING: "put-off"}


def plan(configuration: Configuration, instance: Instance, world: World) -> Plan:
    """What has to be done for an instance now."""
    draft = Draft(configuration, instance, world)
    if instance.metadata.deletion_timestamp is not None:
        return Plan(delete=removal(draft.children), status=instance.status)
    plan_pods(draft)
    plan_job(draft)
    plan_manifests(draft)
    plan_instance_service(draft)
    return Plan(
        apply=draft.apply,
        delete=draft.delete,
        look_again_at=min(draft.times, default=None),
        status=instance_status(draft),
        problems=draft.problems,
        failures=draft.failures,
        expects_brokers=draft.expects_brokers,
        logs_wanted=draft.logs_wanted,
    )


def removal(children: Sequence[JsonObject]) -> list[Doomed]:
    """All that goes with an instance. The cluster would remove it too, but a second later."""
    return [Doomed(child=one, cause="instance-removed") for one in children if not is_leaving(one)]


def progress(configuration: Configuration, instance: Instance, world: World) -> Progress:
    """How far the instance is with what its configuration wants now: what `leaves` decides on."""
    draft = Draft(configuration, instance, world)
    outdated, unavailable = _pods(draft)
    name = instance.metadata.name
    run = wanted_runs(configuration, [instance])[name]
    return Progress(name=name, outcome=_outcome(draft, run), run=run, outdated=outdated, unavailable=unavailable)


def _pods(draft: Draft) -> tuple[int, int]:
    template = draft.configuration.spec.pod_spec
    if template is None:
        return 0, 0
    nodes, outdated, serving = draft.instance.spec.nodes, 0, 0
    for pod in draft.of_kind(POD.name, "pod", ""):
        node = node_of(pod)
        if node in nodes and look_at_pod(pod, draft.world.now).serves:
            serving += 1
            wanted = desired_pod(draft.instance, node, template, pod["metadata"]["name"])
            outdated += annotation(wanted, HASH) != annotation(pod, HASH)
    return outdated, max(0, min(len(nodes), draft.instance.spec.capacity) - serving)


def _outcome(draft: Draft, run: str) -> Outcome:
    """Of the broker job, or of the jobs among the manifests."""
    if draft.configuration.spec.job_spec is not None:
        found = draft.of_kind(JOB.name, "job", "")
        job = next((one for one in found if is_of_run(draft.configuration, draft.instance, one, run)), None)
        told = told_run(draft, job, run)
        return "none" if told is None else _OUTCOMES.get(told["phase"], "running")
    outcomes = {"none" if one is None else _OUTCOMES.get(one["phase"], "running") for one in told_jobs(draft)}
    if "failed" in outcomes:
        return "failed"
    return outcomes.pop() if len(outcomes) == 1 else "running" if outcomes else "none"

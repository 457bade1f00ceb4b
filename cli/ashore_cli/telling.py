"""Events as sentences, for `ashore events` and the timeline of the demo."""

from functools import singledispatch
from typing import NamedTuple

from ashore.events import (
    AgentAlive,
    ConfigurationSet,
    DeviceOnboarded,
    DeviceRedirected,
    DeviceSeen,
    Event,
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    OnboardingFailed,
    OnboardingStarted,
    OwnerRegistered,
    VoucherExtended,
    VoucherIssued,
    VoucherReceived,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadLaunched,
    WorkloadStopped,
)
from ashore_cli.output import short


class Telling(NamedTuple):
    """One event for people: where the device stands now, and what has happened."""

    word: str
    text: str
    style: str = "cyan"


@singledispatch
def tell(event: Event) -> Telling:
    """The event in words."""
    return Telling(event.name, "")


@tell.register
def _(event: VoucherIssued) -> Telling:
    return Telling("manufactured", f"{event.serial} ({event.device_info})")


@tell.register
def _(event: VoucherExtended) -> Telling:
    return Telling("sold", f"signed over to the key {short(event.owner_key)}")


@tell.register
def _(event: VoucherReceived) -> Telling:
    came = "" if event.origin == "event" else f" (by {event.origin})"
    return Telling("owned", f"its owner has verified the voucher{came}")


@tell.register
def _(event: OwnerRegistered) -> Telling:
    return Telling("registered", f"its owner is at {', '.join(event.addresses)}")


@tell.register
def _(event: DeviceRedirected) -> Telling:
    return Telling("redirected", f"sent to {', '.join(event.addresses)}")


@tell.register
def _(event: OnboardingStarted) -> Telling:
    attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    return Telling("onboarding", f"device and owner are proven{attempt}", "yellow")


@tell.register
def _(event: OnboardingFailed) -> Telling:
    remedy = f"; to do: {event.remedy}" if event.remedy else ""
    return Telling("failed", f"{event.reason} (message {event.message_number}){remedy}", "red")


@tell.register
def _(event: DeviceOnboarded) -> Telling:
    profile = f"profile {event.profile}" if event.profile else "no profile"
    kept = "same GUID" if event.credential_reuse else f"now {short(event.new_guid)}"
    return Telling("ashore", f"{profile} in {event.duration_ms} ms; {kept}", "green")


@tell.register
def _(event: DeviceSeen) -> Telling:
    wanted = f", wanted by {', '.join(match.configuration for match in event.matches)}" if event.matches else ""
    style = {"appeared": "green", "disappeared": "red", "unknown": "magenta"}.get(event.change, "yellow")
    return Telling(event.change, f"{event.change} ({event.cause}): {', '.join(event.facets)}{wanted}", style)


@tell.register
def _(event: AgentAlive) -> Telling:
    if event.retired:
        return Telling("retired", "there is no agent any more, and its devices are gone", "red")
    bad = [f"{one.name} {one.mode}: {one.reason}" for one in event.handlers if one.mode in ("failed", "degraded")]
    return Telling("alive", "; ".join([f"{event.devices} devices", *bad]), "yellow" if bad else "cyan")


@tell.register
def _(event: ConfigurationSet) -> Telling:
    if bytes(event.ruling) != b"null":
        return Telling("ruled", "people say what a device is called, and by what it is known")
    taken = bytes(event.configuration) == b"null"
    return Telling("configured", f"{event.token} is {'taken away' if taken else 'to be looked for'}")


@tell.register
def _(event: InstanceAdded) -> Telling:
    nodes = ", ".join(one.node for one in event.nodes) or "no node"
    return Telling("instance", f"{event.configuration} has {event.device} on {nodes}", "green")


@tell.register
def _(event: InstanceChanged) -> Telling:
    nodes = ", ".join(one.node for one in event.nodes) or "no node"
    return Telling("changed", f"{event.device} is on {nodes} now, capacity {event.capacity}", "yellow")


@tell.register
def _(event: InstanceRemoved) -> Telling:
    return Telling("removed", f"the instance is gone: {event.cause}", "red")


@tell.register
def _(event: WorkloadLaunched) -> Telling:
    return Telling("launched", f"{_workload(event)} runs", "green")


@tell.register
def _(event: WorkloadFailed) -> Telling:
    code = f", exit code {event.exit_code}" if event.exit_code is not None else ""
    return Telling("failed", f"{_workload(event)} has failed{code}: {event.reason}", "red")


@tell.register
def _(event: WorkloadFinished) -> Telling:
    return Telling("finished", f"{_workload(event)} has done its work", "green")


@tell.register
def _(event: WorkloadStopped) -> Telling:
    return Telling("stopped", f"{_workload(event)} runs no longer: {event.cause}", "yellow")


def _workload(event: WorkloadLaunched) -> str:
    return f"{event.kind} {event.workload}{f' on {event.node}' if event.node else ''}"

"""Which instances of a configuration may start a job, or have a pod replaced, now.

Jobs start inside of the maintenance window only, and with a canary first for so many instances: the others follow when
all of these have succeeded, and nobody follows once one has failed. Pods that serve are replaced so many at a time. A
new pod where there was none waits for nothing.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ashore_broker_launcher.cluster import JOB
from ashore_broker_launcher.desired.phases import timestamp
from ashore_broker_launcher.model import Configuration, MaintenanceWindow

Outcome = Literal["unknown", "none", "put-off", "running", "succeeded", "failed"]
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NEW: Final = ("unknown", "none")
_IDLE: Final = (*_NEW, "put-off")
UNDECIDED: Final = "it is not decided yet whether it may start"
_AHEAD: Final = 9
"""So many days ahead a window that opens once a week is found, also when one of its days has no such time."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a window is open, and when that will be otherwise."""

    open: bool
    opens_at: float | None = None
    closes_at: float | None = None
    problem: str = ""

    @property
    def changes_at(self) -> float | None:
        """When it is to be looked at again."""
        return self.closes_at if self.open else self.opens_at


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an instance is with what its configuration wants now."""

    name: str
    outcome: Outcome = "none"
    """Of its job, as it should be now; `unknown` where nobody has looked yet, `put-off` where it has put itself off."""
    run: str = ""
    """Which run of its job that is."""
    outdated: int = 0
    """Pods that serve and should be another one."""
    unavailable: int = 0
    """Places whose pod does not serve."""


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance may do now: for its `World`."""

    may_start: bool = True
    may_replace: int = 0
    waits_for: str = ""
    run: str = ""
    """The run of its job that it is for: no other may be started by it."""
    look_again_at: float | None = None
    """When the maintenance window opens or closes."""


NOBODY: Final[Mapping[str, Leave]] = {}


def opening(window: MaintenanceWindow | None, now: float) -> Opening:
    """Whether a window is open. A day's window that daylight saving time leaves out altogether does not open."""
    if window is None:
        return Opening(open=True)
    try:
        zone = ZoneInfo(window.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return Opening(open=False, problem=f"'{window.time_zone}' is no time zone: write one as 'Europe/Berlin'")
    today = dt.datetime.fromtimestamp(now, zone).date()
    days = [today + dt.timedelta(days=ahead) for ahead in range(-1, _AHEAD)]
    spans = [_span(window, day, zone) for day in days if _DAYS[day.weekday()] in window.days]
    current = [end for start, end in spans if start <= now < end]
    if current:
        return Opening(open=True, closes_at=max(current))
    return Opening(open=False, opens_at=min((start for start, end in spans if now < start < end), default=None))


def _span(window: MaintenanceWindow, day: dt.date, zone: ZoneInfo) -> tuple[float, float]:
    until = day if window.from_ < window.until else day + dt.timedelta(days=1)
    return _instant(day, window.from_, zone), _instant(until, window.until, zone)


def _instant(day: dt.date, time: str, zone: ZoneInfo) -> float:
    return dt.datetime.combine(day, dt.time.fromisoformat(time), zone).timestamp()


def leaves(
    configuration: Configuration, progress: Sequence[Progress], now: float, before: Mapping[str, Leave] = NOBODY
) -> dict[str, Leave]:
    """What each instance may do now, by its name; `before` is what it was last time."""
    found = _for_pods(configuration, progress)
    if not starts_jobs(configuration):
        return found
    window = opening(configuration.spec.rollout.maintenance_window, now)
    runs = {one.name: one.run for one in progress}
    chosen = {
        name for name, run in runs.items() if (leave := before.get(name)) and leave.may_start and leave.run == run
    }
    waits = _for_jobs(configuration, progress, window, chosen)
    return {
        name: Leave(
            may_start=name not in waits,
            may_replace=one.may_replace,
            waits_for=waits.get(name, one.waits_for),
            run=runs[name],
            look_again_at=window.changes_at,
        )
        for name, one in found.items()
    }


def _for_pods(configuration: Configuration, progress: Sequence[Progress]) -> dict[str, Leave]:
    most = configuration.spec.rollout.max_unavailable
    left = most - sum(one.unavailable for one in progress)
    away = ", ".join(repr(one.name) for one in progress if one.unavailable)
    why = f"pods do not serve ({away})" if away else "other pods are replaced first"
    found = {}
    for one in sorted(progress, key=lambda one: one.name):
        may = max(0, min(left, one.outdated))
        left -= may
        waits = "" if may or not one.outdated else f"{why}, and maxUnavailable is {most}"
        found[one.name] = Leave(may_start=not waits, may_replace=may, waits_for=waits)
    return found


def starts_jobs(configuration: Configuration) -> bool:
    """Whether it is jobs that its roll-out is about."""
    spec = configuration.spec
    return spec.job_spec is not None or any(one.get("kind") == JOB.name for one in spec.broker_manifests)


def _for_jobs(
    configuration: Configuration, progress: Sequence[Progress], window: Opening, chosen: Collection[str]
) -> dict[str, str]:
    """For what the job of each instance waits."""
    if window.open:
        return _canary(configuration.spec.rollout.canary, progress, chosen)
    opens = f" until {timestamp(window.opens_at)}" if window.opens_at is not None else ""
    why = window.problem or f"the maintenance window is closed{opens}"
    return {one.name: why for one in progress}


def _canary(canary: int, progress: Sequence[Progress], chosen: Collection[str]) -> dict[str, str]:
    """For what each instance waits.

    Who has started, or was chosen to, is among the first, so that a newcomer does not take its place. Nobody is chosen
    before it is known how far all of them are: who has not been looked at may be the one that has failed.
    """
    if not canary:
        return {}
    order = sorted(progress, key=lambda one: (one.outcome in _NEW and one.name not in chosen, one.name))
    failed = [one.name for one in order if one.outcome == "failed"]
    first = order[:canary]
    if failed:
        why = f"'{failed[0]}' has failed: nobody else is started until its configuration is changed or run again"
        return {one.name: why for one in progress if one.outcome in _IDLE}
    if any(one.outcome == "unknown" for one in progress):
        return {one.name: UNDECIDED for one in progress if one.outcome in _IDLE and one.name not in chosen}
    open_ = [one.name for one in first if one.outcome != "succeeded"]
    if not open_:
        return {}
    why = f"the first {canary} have to succeed before it; not yet: {', '.join(repr(name) for name in open_)}"
    return {one.name: why for one in order[canary:]}

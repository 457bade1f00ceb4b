"""Whose turn it is: which instances of a configuration may start a job, or have a pod replaced, now.

An instance's pass says how far it is, the configuration's pass decides on all of them together (`desired.rollout`), and
whoever may do something else than before is looked at again. A leave is for one run of a job, and holds until the
maintenance window closes: an edit, or a demand to run again, asks anew.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ashore_broker_launcher.cluster import Key
from ashore_broker_launcher.desired.brokers import Leave, Progress, leaves, wanted_runs
from ashore_broker_launcher.desired.rollout import UNDECIDED, starts_jobs
from ashore_broker_launcher.model import Configuration, Instance

_UNDECIDED: Final = Leave(may_start=False, waits_for=UNDECIDED)


class Standing(msgspec.Struct):
    """Where the instances of one configuration stand, by their names."""

    progress: dict[str, Progress] = {}
    leaves: dict[str, Leave] = {}
    expecting: set[str] = msgspec.field(default_factory=set)
    """Those that have brokers, or will."""


class Turns:
    """Where the instances of all configurations stand."""

    def __init__(self) -> None:
        self._standings: dict[Key, Standing] = {}

    def standing(self, configuration: Key) -> Standing:
        """Where the instances of a configuration stand."""
        return self._standings.setdefault(configuration, Standing())

    def of(self, configuration: Configuration, instance: Instance, now: float) -> Leave:
        """What an instance may do; as long as nobody has decided, only what no roll-out forbids."""
        name = instance.metadata.name
        decided = self.standing(configuration.key).leaves.get(name)
        run = wanted_runs(configuration, [instance])[name]
        if (
            decided is not None
            and decided.run == run
            and (decided.look_again_at is None or decided.look_again_at > now)
        ):
            return decided
        return _UNDECIDED if _is_restricted(configuration) else Leave()

    def note(self, configuration: Key, progress: Progress, *, expects_brokers: bool) -> bool:
        """How far an instance is; whether that is news."""
        standing = self.standing(configuration)
        was = standing.progress.get(progress.name), progress.name in standing.expecting
        standing.progress[progress.name] = progress
        (standing.expecting.add if expects_brokers else standing.expecting.discard)(progress.name)
        return was != (progress, expects_brokers)

    def forget(self, configuration: Key) -> None:
        """The configuration is no more."""
        self._standings.pop(configuration, None)

    def decide(self, configuration: Configuration, instances: Sequence[Instance], now: float) -> list[str]:
        """Decide on all of its instances; the answer is who may do something else than before."""
        standing = self.standing(configuration.key)
        there = {one.metadata.name for one in instances}
        standing.progress = {name: one for name, one in standing.progress.items() if name in there}
        standing.expecting &= there
        decided = leaves(configuration, _known(configuration, instances, standing.progress), now, standing.leaves)
        otherwise = _UNDECIDED if _is_restricted(configuration) else Leave()
        changed = [name for name, leave in decided.items() if leave != standing.leaves.get(name, otherwise)]
        standing.leaves = decided
        return changed


def _is_restricted(configuration: Configuration) -> bool:
    rollout = configuration.spec.rollout
    return (rollout.canary > 0 or rollout.maintenance_window is not None) and starts_jobs(configuration)


def _known(
    configuration: Configuration, instances: Sequence[Instance], noted: Mapping[str, Progress]
) -> list[Progress]:
    """How far all are. What was noted of a run that is no longer wanted says nothing."""
    if not starts_jobs(configuration):
        return list(noted.values())
    runs = wanted_runs(configuration, instances)
    unknown = {name: Progress(name=name, outcome="unknown", run=run) for name, run in runs.items()}
    return [noted[name] if name in noted and noted[name].run == run else unknown[name] for name, run in runs.items()]

"""Whose turn it is: which instances of a configuration may start a job, or have a pod replaced, now.

An instance's pass says how far it is, the configuration's pass decides on all of them together (`desired.rollout`), and
whoever may do something else than before is looked at again.
"""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import Key
from ashore_broker_launcher.desired.brokers import Leave, Progress, leaves
from ashore_broker_launcher.desired.rollout import starts_jobs
from ashore_broker_launcher.model import Configuration

_UNDECIDED: Final = Leave(may_start=False, waits_for="it is not decided yet whether it may start")


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

    def of(self, configuration: Configuration, instance: str) -> Leave:
        """What an instance may do; as long as nobody has decided, only what no roll-out forbids."""
        decided = self.standing(configuration.key).leaves.get(instance)
        if decided is not None:
            return decided
        rollout = configuration.spec.rollout
        restricted = rollout.canary > 0 or rollout.maintenance_window is not None
        return _UNDECIDED if restricted and starts_jobs(configuration) else Leave()

    def note(self, configuration: Key, progress: Progress, *, expects_brokers: bool) -> bool:
        """How far an instance is; whether that is news."""
        standing = self.standing(configuration)
        was = standing.progress.get(progress.name), progress.name in standing.expecting
        standing.progress[progress.name] = progress
        (standing.expecting.add if expects_brokers else standing.expecting.discard)(progress.name)
        return was != (progress, expects_brokers)

    def keep(self, configuration: Key, instances: set[str]) -> None:
        """These are all its instances."""
        standing = self.standing(configuration)
        for gone in standing.progress.keys() - instances:
            del standing.progress[gone]
        standing.expecting &= instances

    def forget(self, configuration: Key) -> None:
        """The configuration is no more."""
        self._standings.pop(configuration, None)

    def decide(self, configuration: Configuration, now: float) -> list[str]:
        """Decide on all instances; the answer is who may do something else than before."""
        standing = self.standing(configuration.key)
        decided = leaves(configuration, list(standing.progress.values()), now)
        changed = [name for name, leave in decided.items() if leave != self.of(configuration, name)]
        standing.leaves = decided
        return changed

"""What a plan is made from, and what it is while it is being made.

Each part of the plan (pods, jobs, manifests, services) adds to one draft. Whoever reconciles gives a world and gets a
plan; nothing here is kept between two plans except what the plan itself hands back: `failures`.
"""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import JOB, POD, JsonObject
from ashore_broker_launcher.desired.failures import Failures, place
from ashore_broker_launcher.desired.phases import dicts
from ashore_broker_launcher.model import HASH, PART, Configuration, Instance
from ashore_broker_launcher.objects import annotation, is_leaving, owner_uid, uid_of

LONGEST_LOG: Final = 4096


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What exists, and what is known beside the objects themselves."""

    now: float
    """Seconds since 1970."""
    ready_nodes: frozenset[str] | None = None
    """Nodes that are there and Ready; None where nodes are not watched, so that all are."""
    silent_nodes: frozenset[str] = frozenset()
    """Nodes whose agents have not been heard for a while: what they see may be there, or not."""
    children: list[JsonObject] = []
    """All with the instance's label or whose controller it is, in any state; each with apiVersion and kind.

    Those of its controller are what is planned. The others are pods of its jobs, and what an earlier instance of that
    name has left: that is waited for until it has gone.
    """
    failures: Failures = Failures()
    """What the last plan for this instance handed back, and what was refused since."""
    may_start: bool = True
    """Whether the configuration's roll-out lets this instance start a job, or change a pod that serves."""
    may_replace: int | None = None
    """How many pods that serve may be changed now; None: as many as the configuration's `maxUnavailable`."""
    waits_for: str = ""
    """Where it may not start: for what it waits."""
    allowed_kinds: frozenset[str] = frozenset()
    """What `brokerManifests` may be: `v1/ConfigMap`, `apps/v1/Deployment`."""
    logs: dict[str, str] = {}
    """The last lines of pods that an earlier plan has asked for, by the pod's name."""


class Doomed(msgspec.Struct, frozen=True, kw_only=True):
    """An object that has to go, and why."""

    child: JsonObject
    cause: str
    """`instance-removed`, `device-gone`, `node-lost`, `replaced`, `surplus`, `failed`, `finished`, `no-broker`."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What people have to know: a word for programs, and a sentence."""

    reason: str
    message: str
    grave: bool = True
    """Whether the instance has failed with it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be done for an instance now."""

    apply: list[JsonObject] = []
    """Objects that are absent or different. One with a `metadata.uid` exists and is to be changed; one without must
    not exist yet: where there is such a thing it is somebody else's."""
    delete: list[Doomed] = []
    look_again_at: float | None = None
    """When something is due without an event."""
    status: JsonObject = {}
    problems: list[Problem] = []
    failures: Failures = Failures()
    """To be given back in the next world."""
    expects_brokers: bool = False
    """Whether a broker runs or will, so that the configuration's service stays."""
    logs_wanted: list[str] = []
    """Pods whose last lines belong to the status. They are to be read before anything is deleted, and planned again."""


class Draft:
    """A plan in the making."""

    def __init__(self, configuration: Configuration, instance: Instance, world: World) -> None:
        self.configuration = configuration
        self.instance = instance
        self.world = world
        self.failures = world.failures.recent(world.now)
        self.apply: list[JsonObject] = []
        self.delete: list[Doomed] = []
        self.problems: list[Problem] = []
        self.brokers: list[JsonObject] = []
        self.times: list[float] = []
        self.logs_wanted: list[str] = []
        self.expects_brokers = False
        """Whether a broker runs or will, so that its services stay while it is replaced."""
        self.waits_for = ""
        self.children = [one for one in world.children if owner_uid(one) == instance.metadata.uid]
        self.others = [one for one in world.children if owner_uid(one) != instance.metadata.uid]
        self._claimed: set[str] = set()

    def of_kind(self, kind: str, *parts: str) -> list[JsonObject]:
        """Children of a kind that come from one of these parts of the configuration, by name."""
        found = [one for one in self.children if one["kind"] == kind and annotation(one, PART) in parts]
        return sorted(found, key=lambda one: str(one["metadata"]["name"]))

    def left_behind(self, kind: str, part: str) -> list[JsonObject]:
        """What an earlier instance of that name has left of a part."""
        return [one for one in self.others if one["kind"] == kind and annotation(one, PART) == part]

    def pods_of(self, job: JsonObject) -> list[JsonObject]:
        """The pods of a job."""
        return [one for one in self.others if one["kind"] == POD.name and owner_uid(one) == uid_of(job)]

    def existing(self, body: JsonObject) -> JsonObject | None:
        """The child of the same kind and name."""
        return next((one for one in self.children if _are_same(one, body)), None)

    def claim(self, body: JsonObject) -> bool:
        """Whether the object may have its name: no other of this instance wants it, or has it."""
        key, exists = f"{body['apiVersion']}/{place(body)}", self.existing(body)
        if key in self._claimed or (exists is not None and not _are_of_one_part(exists, body)):
            self.tell("NameTwice", f"two objects of this instance would be {place(body)}: give one another name")
            return False
        self._claimed.add(key)
        return True

    def want(self, body: JsonObject) -> None:
        """An object, which has its hash and has claimed its name, should exist."""
        exists, hash_ = self.existing(body), annotation(body, HASH)
        if exists is not None and is_leaving(exists):
            return
        if exists is not None and annotation(exists, HASH) == hash_:
            self.failures = self.failures if body["kind"] == POD.name else self.failures.without(place(body))
            return
        if self._is_free(body) and self.is_due(body):
            self.apply.append(body if exists is None else _with_uid(body, uid_of(exists)))

    def _is_free(self, body: JsonObject) -> bool:
        """Whether no object of an earlier life has the name."""
        taken = [one for one in self.others if _are_same(one, body)]
        if taken and not is_leaving(taken[0]):
            self.tell("NameTaken", f"there is {place(body)}, which does not belong to this instance", grave=False)
        return not taken

    def is_due(self, body: JsonObject) -> bool:
        """Whether an attempt may be made now; else it is told why not, and looked at again when it may."""
        streak = self.failures.of(place(body), annotation(body, HASH))
        if streak is None:
            return True
        if not streak.uid:
            self.tell("Refused", f"{place(body)} could not be applied, {streak.count} times by now: {streak.reason}")
        if streak.due > self.world.now:
            self.look(streak.due)
            return False
        return True

    def finished_before(self, kind: str, hash_: str) -> JsonObject | None:
        """What the status says of a job that has ended, or put itself off, and that may have been removed since."""
        told = dicts(self.instance.status.get("brokers"))
        return next((one for one in told if _ended(one, kind, hash_)), None)

    def log_of(self, pod: str, started: str, *, wanted: bool) -> JsonObject:
        """The last lines of a pod, for the status; they are asked for where they are wanted and not known."""
        if not wanted:
            return {}
        log = self.world.logs.get(pod, _told_log(self.instance.status, pod, started))
        if log is None:
            self.logs_wanted.append(pod)
            return {}
        return {"log": log[-LONGEST_LOG:]}

    def doom(self, child: JsonObject, cause: str) -> None:
        """A child has to go."""
        if not is_leaving(child):
            self.delete.append(Doomed(child=child, cause=cause))

    def tell(self, reason: str, message: str, *, grave: bool = True) -> None:
        """People have to know this."""
        problem = Problem(reason=reason, message=message, grave=grave)
        if problem not in self.problems:
            self.problems.append(problem)

    def hold(self, reason: str) -> None:
        """Something should be done and may not be yet."""
        self.waits_for = self.waits_for or reason

    def look(self, at: float) -> None:
        """At this time something is due."""
        if at > self.world.now:
            self.times.append(at)


def _told_log(status: JsonObject, pod: str, started: str) -> str | None:
    """What the status says already; another pod of that name has another time."""
    for one in dicts(status.get("brokers")):
        if pod in (one.get("name"), one.get("pod")) and one.get("startedAt") == started and "log" in one:
            return str(one["log"])
    return None


def _are_same(one: JsonObject, other: JsonObject) -> bool:
    """Whether both have the same kind and name."""
    return bool(one["apiVersion"] == other["apiVersion"]) and place(one) == place(other)


def _are_of_one_part(exists: JsonObject, body: JsonObject) -> bool:
    """Whether both come from the same kind of part; what Akri has made has none, and is taken over."""
    known, wanted = (annotation(one, PART).partition("/")[0] for one in (exists, body))
    return known in ("", wanted)


def _with_uid(body: JsonObject, uid: str) -> JsonObject:
    return {**body, "metadata": {**body["metadata"], "uid": uid}}


def _ended(told: JsonObject, kind: str, hash_: str) -> bool:
    done = told.get("phase") in ("Succeeded", "Failed", "Waiting")
    return done and told.get("kind") == kind == JOB.name and told.get("hash") == hash_

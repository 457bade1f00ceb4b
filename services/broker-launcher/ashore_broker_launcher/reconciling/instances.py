"""One instance: its brokers are started, changed and stopped, its status is written, and what is news is told.

Objects first, then the status and the events. Each is compared with what is there before, so that wherever the
launcher is killed in between, the next pass finds what is left to do.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    INSTANCE,
    JOB,
    POD,
    Conflict,
    JsonObject,
    Key,
    Kind,
    NotFound,
    Refused,
    Unreachable,
)
from ashore_broker_launcher.desired.brokers import Doomed, Failures, Plan, World, plan, progress
from ashore_broker_launcher.model import Configuration, Instance
from ashore_broker_launcher.objects import is_leaving, key_of, owner_uid, uid_of
from ashore_broker_launcher.reconciling import telling
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item
from ashore_broker_launcher.reconciling.reading import read_instance
from ashore_broker_launcher.reconciling.together import together
from ashore_broker_launcher.reconciling.workloads import put_off, workloads

STATUS_SECONDS: Final = 1.0
_LOG_LINES: Final = 20

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class InstancePass:
    """Looks at an instance."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._failures: dict[Key, Failures] = {}
        self._logs: dict[Key, dict[str, str]] = {}

    async def look(self, item: Item) -> float | None:
        """See `queue.Pass`."""
        view = self._parts.view
        body = view.get(INSTANCE, item.key)
        if body is None:
            await self._gone(item.key)
            return None
        instance = read_instance(body)
        if instance is None or is_leaving(body):
            return None
        configuration = self._parts.verdicts.usable(instance.configuration_key)
        if configuration is None:
            return None
        return await self._keep(configuration, instance, body)

    async def _keep(self, configuration: Configuration, instance: Instance, body: JsonObject) -> float | None:
        parts, key = self._parts, instance.key
        found = plan(configuration, instance, self._world(configuration, instance))
        if found.logs_wanted:
            await self._read_logs(key, found.logs_wanted)
            found = plan(configuration, instance, self._world(configuration, instance))
        self._failures[key] = found.failures
        causes = {f"{one.child['kind']}/{one.child['metadata']['name']}": one.cause for one in found.delete}
        if found.apply or found.delete:
            await self._carry_out(found, instance, body)
            # What was written is in the view, so this is how it is now, and no echo need be waited for.
            found = plan(configuration, instance, self._world(configuration, instance))
            # Soon a kubelet will have more to say, so the status is written once for both.
            parts.queue.add(Item("instance", key), STATUS_SECONDS)
        else:
            await parts.write_status(INSTANCE, body, found.status)
        self._note(configuration, instance, found)
        await self._tell(instance, causes, put_off(found.status))
        for problem in found.problems:
            await parts.recorder.record(body, "Warning", problem.reason, problem.message)
        return None if found.look_again_at is None else found.look_again_at - parts.clock()

    def _note(self, configuration: Configuration, instance: Instance, found: Plan) -> None:
        """Say how far it is; the configuration's pass looks at all of its instances together, after a moment."""
        how_far = progress(configuration, instance, self._world(configuration, instance))
        if self._parts.turns.note(configuration.key, how_far, expects_brokers=found.expects_brokers):
            self._parts.look_soon(configuration.key)

    def _world(self, configuration: Configuration, instance: Instance) -> World:
        parts, key = self._parts, instance.key
        turn = parts.turns.of(configuration, instance, parts.clock())
        return World(
            now=parts.clock(),
            ready_nodes=parts.nodes.ready(),
            silent_nodes=self._silent(),
            children=self._children(key),
            failures=self._failures.get(key, Failures()),
            may_start=turn.may_start,
            may_replace=turn.may_replace,
            waits_for=turn.waits_for,
            allowed_kinds=frozenset(parts.rules.manifest_kinds),
            logs=self._logs.get(key, {}),
        )

    def _silent(self) -> frozenset[str]:
        parts = self._parts
        lost = parts.presence.lost(parts.clock())
        if not lost:
            return lost
        names_of = parts.nodes.names()
        return frozenset(names_of.get(node, node) for node in lost)

    def _children(self, key: Key) -> list[JsonObject]:
        """All that serves the instance, pods of its jobs included, each saying of what kind it is."""
        found = self._parts.view.of_instance(key)
        return [{**body, "apiVersion": kind.api_version, "kind": kind.name} for kind, body in found]

    async def _carry_out(self, found: Plan, instance: Instance, about: JsonObject) -> None:
        await together(*(self._apply(body, instance, about) for body in found.apply))
        for doomed in found.delete:
            await self._delete(doomed)

    async def _delete(self, doomed: Doomed) -> None:
        parts, child = self._parts, doomed.child
        kind = await parts.cluster.kind(child["apiVersion"], child["kind"])
        await parts.delete(kind, child)
        log.info("workload ends", kind=kind.name, name="/".join(key_of(child)), cause=doomed.cause)

    async def _apply(self, body: JsonObject, instance: Instance, about: JsonObject) -> None:
        parts = self._parts
        try:
            kind = await parts.cluster.kind(body["apiVersion"], body["kind"])
            written = await self._write(kind, body)
        except (Refused, NotFound, Conflict) as error:
            await self._refused(body, instance, about, error)
            return
        parts.view.wrote(kind, written)
        parts.numbers.writes.labels("apply", kind.name).inc()

    async def _write(self, kind: Kind, body: JsonObject) -> JsonObject:
        cluster = self._parts.cluster
        if not kind.namespaced:
            raise Refused(f"a {kind.name} belongs to the whole cluster, which no configuration may change", 403)
        self._parts.follow(kind)
        if kind in (POD, JOB) and not uid_of(body):
            # What is new must be new: an object of that name that is there already is somebody else's.
            return await cluster.create(kind, body)
        if not uid_of(body):
            await self._refuse_foreign(kind, body)
        return await cluster.apply(kind, body)

    async def _refuse_foreign(self, kind: Kind, body: JsonObject) -> None:
        try:
            there = await self._parts.cluster.get(kind, *key_of(body))
        except NotFound:
            return
        # What could not be read when this was planned may be this instance's own.
        if owner_uid(there) != owner_uid(body):
            raise Conflict(f"there is a {kind.name} {'/'.join(key_of(body))} already, and it is somebody else's")

    async def _refused(self, body: JsonObject, instance: Instance, about: JsonObject, error: Exception) -> None:
        """It is not done: told to people, and tried again after a while that grows."""
        parts, key = self._parts, instance.key
        what = f"{body['kind']} {body['metadata']['name']}"
        failures = self._failures.get(key, Failures())
        self._failures[key] = failures.refused(body, parts.clock(), str(error))
        log.warning("workload refused", what=what, instance="/".join(key), reason=str(error))
        await parts.recorder.record(about, "Warning", "BrokerRefused", f"{what} could not be made: {error}")
        parts.queue.add(Item("instance", key))

    async def _tell(self, instance: Instance, causes: Mapping[str, str], waiting: frozenset[str]) -> None:
        parts, key = self._parts, instance.key
        seen = parts.presence.sightings(names.bus_name(*instance.configuration_key), instance.device)
        told = parts.ledger.instance(key)
        news = telling.of_instance(parts.site, instance, seen, told, again=parts.ledger.is_old(key))
        if news is not None:
            await parts.ledger.tell(news)
        children = self._children(key)
        there = workloads(children, instance.metadata.uid, parts.clock(), self._logs.get(key, {}), waiting)
        for event in telling.of_workloads(parts.site, instance, there, parts.ledger.workloads(key), causes):
            await parts.ledger.tell(event)

    async def _gone(self, key: Key) -> None:
        """The instance is no more: what was told of it is taken back."""
        parts = self._parts
        self._failures.pop(key, None)
        self._logs.pop(key, None)
        parts.desk.forget(key)
        # What was being written while the instance went is an orphan, which the cluster would find only later.
        orphans = [child for child in self._children(key) if not is_leaving(child)]
        await together(*(self._delete(Doomed(child=child, cause="instance-removed")) for child in orphans))
        for before in parts.ledger.workloads(key).values():
            if telling.is_running(before):
                await parts.ledger.tell(telling.stopped(before, "instance-removed"))
        told = parts.ledger.instance(key)
        if told is not None:
            await parts.ledger.tell(telling.removed(told, self._cause((key[0], told.configuration), told.device)))

    def _cause(self, configuration: Key, device: str) -> str:
        if self._parts.view.get(CONFIGURATION, configuration) is None:
            return "configuration-deleted"
        seen = self._parts.presence.sightings(names.bus_name(*configuration), device)
        return "deleted" if seen else "disappeared"

    async def _read_logs(self, key: Key, pods: Sequence[str]) -> None:
        """What pods have written last; one that has written nothing has an empty log, and is not asked again."""
        found = self._logs.setdefault(key, {})
        for pod in pods:
            try:
                found[pod] = await self._parts.cluster.log(key[0], pod, lines=_LOG_LINES)
            except (NotFound, Refused):
                found[pod] = ""
            except Unreachable:
                # It may be the pod's kubelet that does not answer: that a job has ended is told all the same.
                await self._parts.cluster.get(POD, key[0], pod)
                found[pod] = ""

"""All of it together: whatever changes anywhere puts items into the queue, and the passes look at them.

Everybody follows; only the one who leads looks at the queue. Nothing is looked at before all that there is has been
read: the cluster, what agents see, what they were given, and what was told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from ashore.memory import give_back
from ashore.slots import subject
from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    INSTANCE,
    JOB,
    NODE,
    POD,
    SERVICE,
    Change,
    JsonObject,
    Key,
    Kind,
    NotFound,
    Refused,
    Unreachable,
)
from ashore_broker_launcher.model import INSTANCE_LABEL
from ashore_broker_launcher.objects import key_of, label
from ashore_broker_launcher.reconciling.configurations import ConfigurationPass
from ashore_broker_launcher.reconciling.devices import DevicePass
from ashore_broker_launcher.reconciling.instances import InstancePass
from ashore_broker_launcher.reconciling.nodes import is_ready
from ashore_broker_launcher.reconciling.parts import ALWAYS, OURS, Parts
from ashore_broker_launcher.reconciling.queue import Item, Pass
from ashore_broker_launcher.reconciling.seeing import Seeing

RESYNC_SECONDS: Final = 600.0
TIDY_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 1.0
MUCH: Final = 500

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Reconciler:
    """Makes the cluster what it should be."""

    def __init__(self, parts: Parts) -> None:
        self.seeing = Seeing(parts)
        self._parts = parts
        self._looks = 0
        self._passes: dict[str, Pass] = {
            "configuration": ConfigurationPass(parts).look,
            "device": DevicePass(parts).look,
            "instance": InstancePass(parts).look,
        }
        for kind in (CONFIGURATION, INSTANCE):
            parts.view.follow(kind, namespace=parts.namespace)
        for kind in (POD, JOB, SERVICE):
            parts.view.follow(kind, namespace=parts.namespace, labels=OURS)
        parts.view.follow(NODE)
        parts.queue.rest()

    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """What everybody does, leading or not."""
        parts = self._parts
        return [parts.ledger.follow, parts.handing.follow, self.seeing.follow, self.seeing.watch_agents]

    async def lead(self) -> None:
        """Look at everything once, and from then on at what changes, until cancelled."""
        parts = self._parts
        for synced in (parts.ledger.synced, parts.handing.synced, self.seeing.synced):
            await synced.wait()
        await parts.view.synced(*ALWAYS)
        await self._read_manifests()
        parts.desk.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(parts.queue.run())
            group.create_task(self._resync())
            group.create_task(self._tidy())
            group.create_task(self._serve_slots())

    async def _read_manifests(self) -> None:
        """Have in view what an earlier leader has made of manifests, even of a kind that nobody names any longer.

        Where the launcher has no right to read a kind, everything else goes on without it.
        """
        found = [await self._manifest_kind(name) for name in sorted(self._parts.rules.manifest_kinds)]
        kinds = [kind for kind in found if kind is not None and kind.namespaced]
        for kind in kinds:
            self._parts.follow(kind)
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self._parts.view.synced(*ALWAYS, *kinds)
        except TimeoutError:
            missing = [kind.name for kind in kinds if not self._parts.view.is_synced(kind)]
            log.warning("kinds of manifests cannot be read: is there a right to list them?", kinds=missing)

    async def _manifest_kind(self, name: str) -> Kind | None:
        api_version, _, kind = name.rpartition("/")
        while True:
            try:
                return await self._parts.cluster.kind(api_version, kind)
            except Unreachable:
                await asyncio.sleep(RETRY_SECONDS)
            except (NotFound, Refused):
                return None

    async def look(self, item: Item) -> float | None:
        """See `queue.Pass`."""
        self._parts.numbers.passes.labels(item.what).inc()
        self._looks += 1
        return await self._passes[item.what](item)

    def hear(self, kind: Kind, change: Change) -> None:
        """Something in the cluster is different."""
        body = change.now or change.before
        if body is None:
            return
        if kind == CONFIGURATION:
            self._put([Item("configuration", key_of(body))])
        elif kind == INSTANCE:
            self._instance(change, body)
        elif kind == NODE:
            self._parts.nodes.changed()
            self._node(change, body)
        else:
            self._put(_owners(body))

    def _instance(self, change: Change, body: JsonObject) -> None:
        index = self._parts.index
        key = key_of(body)
        device = index.device_of(key)
        index.hear(change)
        self._put([Item("instance", key)])
        configuration: Key = (key[0], str(body["spec"].get("configurationName", "")))
        self._parts.look_soon(configuration)
        if change.now is None and device:
            # Somebody has deleted it, or it made room: if its device is still there, it comes again.
            self._put([Item("device", configuration, device)])

    def _node(self, change: Change, body: JsonObject) -> None:
        before = change.before is not None and is_ready(change.before)
        now = change.now is not None and is_ready(change.now)
        if before == now and change.now is not None and change.before is not None:
            return
        log.info("node is ready" if now else "node is lost", node=body["metadata"]["name"])
        self._put(self._everything())

    def _everything(self) -> Iterable[Item]:
        """All that there is, or was told to be, or was given to agents."""
        parts = self._parts
        configurations = {key_of(body) for body in parts.view.all(CONFIGURATION)} | self._ours(parts.handing.given())
        instances = {key_of(body) for body in parts.view.all(INSTANCE)} | self._ours(parts.ledger.instances())
        yield from (Item("configuration", key) for key in sorted(configurations))
        for key in sorted(configurations):
            devices = parts.presence.devices(names.bus_name(*key)) | parts.index.devices_of(key)
            yield from (Item("device", key, device) for device in sorted(devices))
        yield from (Item("instance", key) for key in sorted(instances))

    def _ours(self, keys: Iterable[Key]) -> set[Key]:
        """Without those of namespaces that another launcher of the site looks after."""
        namespace = self._parts.namespace
        return {key for key in keys if not namespace or key[0] == namespace}

    async def _resync(self) -> None:
        while True:
            self._put(self._everything())
            await asyncio.sleep(RESYNC_SECONDS)

    async def _serve_slots(self) -> None:
        """Answer device plugins: only whoever leads grants slots."""
        bus, site = self._parts.bus, self._parts.site
        async with AsyncExitStack() as stack:
            for verb, answer in self._parts.desk.verbs().items():
                await stack.enter_async_context(await bus.serve(subject(verb, site), answer))
            await asyncio.Event().wait()

    async def _tidy(self) -> None:
        """After much work give back what only that has needed."""
        before = 0
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            if self._looks - before > MUCH and not len(self._parts.queue):
                before = self._looks
                give_back()

    def _put(self, items: Iterable[Item]) -> None:
        for item in items:
            self._parts.queue.add(item)


def _owners(body: JsonObject) -> Iterable[Item]:
    """Whom an object serves: an instance, or a configuration as a whole."""
    namespace = key_of(body)[0]
    instance = label(body, INSTANCE_LABEL)
    if instance:
        yield Item("instance", (namespace, instance))
        return
    owners = body["metadata"].get("ownerReferences") or []
    yield from (Item("configuration", (namespace, one["name"])) for one in owners if one["kind"] == CONFIGURATION.name)

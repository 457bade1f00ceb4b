"""A cluster in memory: the port's contract, and nothing runs.

Objects that own others take them along when they go. What is applied, created and deleted is shown to whoever asks for
it, so that a person sees what would happen.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from secrets import token_hex
from typing import Final, Literal

from ashore_broker_launcher.cluster import (
    CONFIG_MAP,
    CONFIGURATION,
    EVENT,
    INSTANCE,
    JOB,
    LEASE,
    MANAGER,
    NODE,
    POD,
    SERVICE,
    Change,
    Conflict,
    JsonObject,
    Key,
    Kind,
    NotFound,
    Propagation,
    Refused,
    unheard,
)
from ashore_broker_launcher.launchers.dry_run.objects import Stored, born, said
from ashore_broker_launcher.objects import key_of, uid_of

_MORE: Final = (
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("apps/v1", "StatefulSet", "statefulsets"),
    Kind("apps/v1", "DaemonSet", "daemonsets"),
    Kind("batch/v1", "CronJob", "cronjobs"),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
)
KINDS: Final = (CONFIGURATION, INSTANCE, POD, JOB, SERVICE, NODE, EVENT, CONFIG_MAP, LEASE, *_MORE)
Verb = Literal["create", "apply", "delete"]
Show = Callable[[Verb, Kind, JsonObject], None]


class MemoryReflection:
    """See `Reflection`."""

    def __init__(self, cluster: "MemoryCluster", kind: Kind, namespace: str, labels: str) -> None:
        self.objects: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()
        self._cluster = cluster
        self._kind = kind
        self._namespace = namespace
        self._labels = labels

    async def run(self, changed: Callable[[Change], None], listed: Callable[[int], None] = unheard) -> None:
        """See `Reflection.run`."""
        while True:
            wake, version = self._cluster.changed, self._cluster.version
            found = {key_of(one): one for one in await self._list()}
            for key, before in list(self.objects.items()):
                if key not in found or uid_of(found[key]) != uid_of(before):
                    del self.objects[key]
                    changed(Change(before, None))
            for key, now in found.items():
                before_or_none = self.objects.get(key)
                if before_or_none != now:
                    self.objects[key] = now
                    changed(Change(before_or_none, now))
            listed(version)
            self.synced.set()
            await wake.wait()

    async def _list(self) -> list[JsonObject]:
        return await self._cluster.list(self._kind, namespace=self._namespace, labels=self._labels)


class MemoryCluster:
    """See `Cluster`."""

    def __init__(self, show: Show = lambda *_: None, clock: Callable[[], float] = time.time) -> None:
        self.changed = asyncio.Event()
        """Set, and replaced, with the next change."""
        self._show = show
        self._clock = clock
        self._objects: dict[Kind, dict[Key, Stored]] = {kind: {} for kind in KINDS}
        self.version = 0
        """Grows with each change of an object."""

    async def kind(self, api_version: str, name: str) -> Kind:
        """See `Cluster.kind`."""
        found = next((kind for kind in KINDS if (kind.api_version, kind.name) == (api_version, name)), None)
        if found is None:
            raise NotFound(f"the dry-run launcher knows no {api_version} {name}")
        return found

    async def get(self, kind: Kind, namespace: str, name: str) -> JsonObject:
        """See `Cluster.get`."""
        return self._find(kind, (namespace, name)).body

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "") -> "list[JsonObject]":
        """See `Cluster.list`."""
        wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
        bodies = [stored.body for stored in self._objects[kind].values()]
        return [one for one in bodies if _fits(one, namespace, wanted)]

    async def create(self, kind: Kind, body: JsonObject) -> JsonObject:
        """See `Cluster.create`."""
        body = _placed(kind, body)
        key = self._key(kind, body)
        if key in self._objects[kind]:
            raise Conflict(f"{kind.name} {'/'.join(key)} exists already")
        stored = self._objects[kind][key] = born(kind, token_hex(8), self._clock())
        stored.created = said(body)
        self._rebuild("create", stored)
        return stored.body

    async def apply(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """See `Cluster.apply`."""
        body = _placed(kind, body)
        key = self._key(kind, body)
        stored = self._objects[kind].get(key)
        uid = uid_of(body)
        if uid and (stored is None or uid_of(stored.body) != uid):
            raise Conflict(f"{kind.name} {'/'.join(key)} is another one by now")
        if stored is None:
            stored = self._objects[kind][key] = born(kind, token_hex(8), self._clock())
        stored.applied = {**stored.applied, manager: said(body)}
        self._rebuild("apply", stored)
        return stored.body

    async def apply_status(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """See `Cluster.apply_status`."""
        stored = self._find(kind, self._key(kind, body))
        stored.statuses = {**stored.statuses, manager: body.get("status", {})}
        self._rebuild(None, stored)
        return stored.body

    async def replace(self, kind: Kind, body: JsonObject) -> JsonObject:
        """See `Cluster.replace`."""
        stored = self._find(kind, self._key(kind, body))
        if body["metadata"].get("resourceVersion") != stored.body["metadata"]["resourceVersion"]:
            raise Conflict(f"{kind.name} {body['metadata']['name']} has been changed meanwhile")
        stored.created, stored.applied = said(body), {}
        self._rebuild("apply", stored)
        return stored.body

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", propagation: Propagation = "Background"
    ) -> None:
        """See `Cluster.delete`."""
        stored = self._objects[kind].get((namespace, name))
        if stored is None:
            return
        if uid and uid_of(stored.body) != uid:
            raise Conflict(f"{kind.name} {name} is another one by now")
        del self._objects[kind][namespace, name]
        self._show("delete", kind, stored.body)
        if propagation != "Orphan":
            for child in list(self._dependents(uid_of(stored.body))):
                await self.delete(child.kind, *key_of(child.body))
        self._wake()

    async def log(self, namespace: str, pod: str, *, container: str = "", lines: int = 20) -> str:  # noqa: ARG002
        """See `Cluster.log`."""
        self._find(POD, (namespace, pod))
        raise Refused(f"this is a dry run: nothing runs, so the pod {pod} has written nothing", 400)

    def reflect(self, kind: Kind, *, namespace: str = "", labels: str = "") -> MemoryReflection:
        """See `Cluster.reflect`."""
        return MemoryReflection(self, kind, namespace, labels)

    def everything(self) -> Iterator[tuple[Kind, JsonObject]]:
        """All that there is, for people."""
        for kind, found in self._objects.items():
            for stored in found.values():
                yield kind, stored.body

    def _find(self, kind: Kind, key: Key) -> Stored:
        found = self._objects.get(kind, {}).get(key)
        if found is None:
            raise NotFound(f"there is no {kind.name} {'/'.join(part for part in key if part)}")
        return found

    def _key(self, kind: Kind, body: JsonObject) -> Key:
        if kind not in self._objects:
            raise NotFound(f"the dry-run launcher knows no {kind.api_version} {kind.name}")
        namespace, name = key_of(body)
        return (namespace if kind.namespaced else "", name)

    def _dependents(self, uid: str) -> Iterator[Stored]:
        for found in self._objects.values():
            for stored in found.values():
                owners = stored.body["metadata"].get("ownerReferences") or []
                if any(one.get("uid") == uid for one in owners):
                    yield stored

    def _rebuild(self, verb: Verb | None, stored: Stored) -> None:
        if not stored.rebuild(self.version + 1):
            return
        self.version += 1
        if verb is not None:
            self._show(verb, stored.kind, stored.body)
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


def _fits(body: JsonObject, namespace: str, labels: Mapping[str, str]) -> bool:
    own = body["metadata"].get("labels") or {}
    here = not namespace or body["metadata"].get("namespace") == namespace
    return here and all(own.get(name) == value for name, value in labels.items())


def _placed(kind: Kind, body: JsonObject) -> JsonObject:
    """With a namespace, where it needs one, and a name, where only its beginning was given."""
    metadata = dict(body["metadata"])
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or "default"
    if "name" not in metadata and "generateName" in metadata:
        metadata["name"] = metadata["generateName"] + token_hex(3)
    return {**body, "metadata": metadata}

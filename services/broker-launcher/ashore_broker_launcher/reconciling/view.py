"""The cluster as it is: what the reflections say, and on top of that what was just written and is not reflected yet.

Without the second a pass that follows at once would not see its own work, and do it again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ashore_broker_launcher.cluster import Change, Cluster, JsonObject, Key, Kind, Reflection
from ashore_broker_launcher.model import INSTANCE_LABEL
from ashore_broker_launcher.objects import is_leaving, key_of, label, owner_uid, uid_of

Place = tuple[Kind, Key]
_MOST_GONE: Final = 10_000
Listener = Callable[[Kind, Change], None]


class View:
    """All objects that matter, by kind and key, and by who owns them."""

    def __init__(self, cluster: Cluster, changed: Listener) -> None:
        self._cluster = cluster
        self._changed = changed
        self._reflections: dict[Kind, Reflection] = {}
        self._added = asyncio.Event()
        self._written: dict[Place, JsonObject] = {}
        self._owned: defaultdict[object, set[Place]] = defaultdict(set)
        """By the uid of the controller, and by namespace and label of the instance."""
        self._gone: dict[str, None] = {}
        """The uids of those that went last: an answer about one of them may come after the word that it went."""

    def follow(self, kind: Kind, *, namespace: str = "", labels: str = "") -> None:
        """Follow this kind as well, from now on or from when `run` runs."""
        if kind not in self._reflections:
            self._reflections[kind] = self._cluster.reflect(kind, namespace=namespace, labels=labels)
            self._added.set()

    async def run(self) -> None:
        """Keep all that is followed up to date, until cancelled."""
        running: set[Kind] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                self._added.clear()
                for kind in self._reflections.keys() - running:
                    running.add(kind)
                    group.create_task(self._reflect(kind), name=f"reflect {kind.plural}")
                await self._added.wait()

    async def synced(self, *kinds: Kind) -> None:
        """Wait until all that was there has been read, of these kinds or of every kind that is followed."""
        for kind in kinds or tuple(self._reflections):
            await self._reflections[kind].synced.wait()

    def is_synced(self, *kinds: Kind) -> bool:
        """Whether all that was there of these kinds has been read."""
        return all(self._reflections[kind].synced.is_set() for kind in kinds)

    async def _reflect(self, kind: Kind) -> None:
        await self._reflections[kind].run(
            lambda change: self._hear(kind, change), lambda version: self._miss(kind, version)
        )

    def get(self, kind: Kind, key: Key) -> JsonObject | None:
        """One object, or None."""
        written = self._written.get((kind, key))
        return written if written is not None else self._objects(kind).get(key)

    def all(self, kind: Kind) -> Iterator[JsonObject]:
        """All objects of a kind."""
        seen = {key for of, key in self._written if of == kind}
        yield from (body for key, body in self._objects(kind).items() if key not in seen)
        yield from (self._written[kind, key] for key in seen)

    def owned(self, uid: str) -> list[tuple[Kind, JsonObject]]:
        """All objects whose controller has this uid."""
        return self._indexed(uid)

    def of_instance(self, instance: Key) -> list[tuple[Kind, JsonObject]]:
        """All objects that say they serve an instance of this name: pods of its jobs too, and an earlier one's."""
        return self._indexed(instance)

    def _indexed(self, owner: object) -> list[tuple[Kind, JsonObject]]:
        places = sorted(self._owned.get(owner, ()), key=lambda place: (place[0].name, place[1]))
        found = ((kind, self.get(kind, key)) for kind, key in places)
        return [(kind, body) for kind, body in found if body is not None]

    def wrote(self, kind: Kind, body: JsonObject) -> None:
        """The cluster has answered a write with this."""
        place = kind, key_of(body)
        if uid_of(body) in self._gone:
            return
        reflected = self._objects(kind).get(place[1])
        if reflected is None or _version(reflected) < _version(body):
            self._written[place] = body
            self._index(place, reflected, body)

    def removed(self, kind: Kind, body: JsonObject) -> None:
        """The deletion of this object has begun, at the latest now."""
        if is_leaving(body) or self._objects(kind).get(key_of(body)) is None:
            self._written.pop((kind, key_of(body)), None)
            return
        leaving = {**body, "metadata": {**body["metadata"], "deletionTimestamp": "now"}}
        self._written[kind, key_of(body)] = leaving

    def _objects(self, kind: Kind) -> Mapping[Key, JsonObject]:
        reflection = self._reflections.get(kind)
        return reflection.objects if reflection is not None else {}

    def _hear(self, kind: Kind, change: Change) -> None:
        body = change.now or change.before
        if body is None:
            return
        place = kind, key_of(body)
        if change.now is None:
            self._bury(uid_of(body))
        written = self._written.get(place)
        if written is not None and _outdated(written, change):
            del self._written[place]
        self._index(place, change.before, self.get(*place))
        if written is None or change.now is None or _version(written) != _version(change.now):
            # Else it is the echo of a write, and whoever wrote has gone on with it already.
            self._changed(kind, change)

    def _miss(self, kind: Kind, version: int) -> None:
        """All has been read anew. What was written and went meanwhile was never reflected, so nobody has told of it."""
        there = self._objects(kind)
        written = [(place, body) for place, body in self._written.items() if place[0] == kind]
        for place, body in written:
            if place[1] not in there and _version(body) <= version:
                del self._written[place]
                self._bury(uid_of(body))
                self._index(place, body, None)
                self._changed(kind, Change(body, None))

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _MOST_GONE:
            del self._gone[next(iter(self._gone))]

    def _index(self, place: Place, before: JsonObject | None, now: JsonObject | None) -> None:
        for owner in _owners(before) if before is not None else ():
            self._owned[owner].discard(place)
            if not self._owned[owner]:
                del self._owned[owner]
        for owner in _owners(now) if now is not None else ():
            self._owned[owner].add(place)


def _owners(body: JsonObject) -> Iterator[object]:
    if uid := owner_uid(body):
        yield uid
    if name := label(body, INSTANCE_LABEL):
        yield key_of(body)[0], name


def _outdated(written: JsonObject, change: Change) -> bool:
    """Whether what is reflected now is as new as what was written. Another life of the name is another matter."""
    if change.now is None:
        return change.before is not None and uid_of(written) == uid_of(change.before)
    return _version(change.now) >= _version(written)


def _version(body: JsonObject) -> int:
    """Which of two is newer: resource versions of one kind are numbers that grow (KEP-5504)."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0

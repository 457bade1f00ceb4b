"""All objects of a kind as they are, across everything that can happen to a watch.

List, then watch from the version of the list. A watch that ends goes on at the last version, which bookmarks keep
fresh. Where the API server has forgotten that version (410, as status or within the stream) all is listed again, and
what is missing has gone. Whatever else fails is tried again, each time later, up to a limit, and never in step with
other replicas. A watch that is silent far longer than it may be is given up: its connection is half dead.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Final

import msgspec
import structlog

from ashore_broker_launcher.cluster import Change, ClusterError, JsonObject, Key, Kind, Unreachable, unheard
from ashore_broker_launcher.launchers.kubernetes import errors, paths
from ashore_broker_launcher.launchers.kubernetes.connection import Answer, Broken, Stream, TooLargeError
from ashore_broker_launcher.launchers.kubernetes.http import LARGEST_ERROR, Http
from ashore_broker_launcher.launchers.kubernetes.listing import list_all, trimmed
from ashore_broker_launcher.objects import key_of, uid_of

_DOUBTS: Final = 5
"""After so many failures the version is doubted too."""
_OK: Final = 200

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Patience(msgspec.Struct, frozen=True):
    """How long a reflector waits, in seconds."""

    watch: tuple[float, float] = (240.0, 300.0)
    """So long lasts a watch, between these; replicas that begin together do not list together for ever."""
    beyond: float = 30.0
    """So much longer may it take before it is given up."""
    first: float = 0.25
    """The first pause after a failure; each is twice as long as the last."""
    most: float = 20.0
    """No pause is longer, unless the API server says so."""
    between: Callable[[float, float], float] = random.uniform
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class _Event(msgspec.Struct):
    type: str
    object: JsonObject


class Reflector:
    """See Reflection."""

    def __init__(self, http: Http, kind: Kind, namespace: str, labels: str, patience: Patience) -> None:
        self._http, self._kind = http, kind
        self._namespace, self._labels = namespace, labels
        self._patience = patience
        self._objects: dict[Key, JsonObject] = {}
        self._version = ""
        self._failures = 0
        self._tell: Callable[[Change], None] = _nobody
        self._listed: Callable[[int], None] = unheard
        self.synced = asyncio.Event()

    @property
    def objects(self) -> Mapping[Key, JsonObject]:
        """See Reflection."""
        return self._objects

    async def run(self, changed: Callable[[Change], None], listed: Callable[[int], None] = unheard) -> None:
        """See Reflection."""
        self._tell, self._listed = changed, listed
        while True:
            try:
                await self._list_and_watch()
            except errors.Expired as error:
                _log.info("a watch goes on from a new list", kind=self._kind.name, reason=str(error))
                self._version = ""
                # Once is usual, and at once; what forgets again and again is given time.
                await self._pause(None)
                self._failures += 1
            except ClusterError as error:
                if self._failures == 0:
                    _log.warning("the cluster is not followed for now", kind=self._kind.name, reason=str(error))
                self._failures += 1
                if self._failures >= _DOUBTS:
                    self._version = ""
                await self._pause(error.retry_seconds if isinstance(error, Unreachable) else None)

    async def _list_and_watch(self) -> None:
        if not self._version:
            listed = await list_all(self._http, self._kind, self._namespace, self._labels)
            self._take_all(listed.items)
            self._version = listed.version
            self._listed(int(listed.version) if listed.version.isdecimal() else 0)
            self.synced.set()
        seen = await self._watch()
        # A watch that ends before it has told anything may do so for ever.
        self._failures = 0 if seen else self._failures + 1
        await self._pause(None)

    async def _pause(self, told: float | None) -> None:
        """As long as the API server wants, or twice as long as the last time; not at all after a success."""
        patience = self._patience
        if told is None and self._failures == 0:
            return
        doubled = min(patience.most, patience.first * 2 ** min(self._failures - 1, 20))
        await patience.sleep(patience.between(told, 1.5 * told) if told else patience.between(doubled / 2, doubled))

    async def _watch(self) -> int:
        """Follow until the API server ends it; the answer is how much it has told."""
        seconds = max(1, round(self._patience.between(*self._patience.watch)))
        target = paths.collection(self._kind, self._namespace) + paths.query(
            watch=True,
            allowWatchBookmarks=True,
            resourceVersion=self._version,
            timeoutSeconds=seconds,
            labelSelector=self._labels,
        )
        try:
            async with asyncio.timeout(seconds + self._patience.beyond):
                async with self._http.stream(target) as (head, stream):
                    return await self._follow(head, stream)
        except TimeoutError as error:
            raise Unreachable(f"watch {self._kind.plural}: the connection is dead") from error
        except TooLargeError as error:
            raise Unreachable(f"watch {self._kind.plural}: {error}") from error

    async def _follow(self, head: Answer, stream: Stream) -> int:
        if head.status != _OK:
            raise errors.failure(f"watch {self._kind.plural}", await _whole(head, stream))
        seen = 0
        async with aclosing(stream.lines(self._http.bounds.event)) as lines:
            async for line in lines:
                self._take_line(line)
                seen += 1
        return seen

    def _take_line(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=_Event)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise Unreachable(f"watch {self._kind.plural}: an event cannot be read: {error}") from error
        if event.type == "ERROR":
            raise errors.meaning(f"watch {self._kind.plural}", errors.told(event.object))
        metadata = event.object.get("metadata")
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not isinstance(version, str):
            raise Unreachable(f"watch {self._kind.plural}: an event tells of no object of Kubernetes")
        if event.type == "DELETED":
            self._remove(key_of(trimmed(event.object, self._kind)), event.object)
        elif event.type in ("ADDED", "MODIFIED"):
            self._put(trimmed(event.object, self._kind))
        # A bookmark has nothing but its version.
        self._version = version
        self._failures = 0

    def _take_all(self, items: list[JsonObject]) -> None:
        """What is listed is there, and everything else has gone."""
        there = {key_of(one) for one in items}
        for key in [key for key in self._objects if key not in there]:
            self._remove(key, self._objects[key])
        for one in items:
            self._put(one)

    def _put(self, now: JsonObject) -> None:
        key = key_of(now)
        before = self._objects.get(key)
        if before is not None and uid_of(before) != uid_of(now):
            # One of that name has gone, unseen, and this is another.
            self._remove(key, before)
            before = None
        if before is None or _version(before) != _version(now):
            self._objects[key] = now
            self._tell(Change(before, now))

    def _remove(self, key: Key, last: JsonObject) -> None:
        if self._objects.pop(key, None) is not None:
            self._tell(Change(last, None))


async def _whole(head: Answer, stream: Stream) -> Answer:
    """An answer whose body says why there is no watch."""
    body = b""
    with suppress(Broken):
        async with aclosing(stream.parts()) as parts:
            async for part in parts:
                body += part
                if len(body) > LARGEST_ERROR:
                    break
    return Answer(head.status, head.headers, body[:LARGEST_ERROR])


def _version(body: JsonObject) -> str:
    return str(body["metadata"].get("resourceVersion", ""))


def _nobody(_change: Change) -> None:
    """Before `run`."""

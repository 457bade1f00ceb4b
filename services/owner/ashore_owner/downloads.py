"""Files that profiles send from URLs: each is fetched once for all devices that get it, and kept for a while.

A file is told apart by its URL and the hash that is demanded of it. With a hash it stays the same for ever, without one
it is fetched anew after `KEPT_SECONDS`. The content lies in files without a name in the data folder and is mapped into
memory, so a large one costs no memory of its own, and nothing is left behind by a process that dies.
"""

import asyncio
import hashlib
import mmap
import ssl
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

import structlog

from ashore.fdo.serviceinfo import StepFailedError
from ashore.fdo.serviceinfo.download import Arrive, Content
from ashore_owner.fetching import Unfetched, fetch, parse
from ashore_owner.networks import Networks

LIMIT: Final = 256 << 20
KEPT_SECONDS: Final = 600.0
_FAILED_SECONDS: Final = 10.0
_AT_ONCE: Final = 4
_LIMITS_KEPT: Final = 4
"""All files together take so many times what one may have."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Stored(NamedTuple):
    """A file that is here."""

    data: "bytes | mmap.mmap"
    sha384: bytes


@dataclass(slots=True)
class _Entry:
    task: asyncio.Task[Stored]
    until: float = float("inf")
    """When it is fetched anew; not before it has arrived."""


class Downloads:
    """Fetches, and remembers."""

    def __init__(
        self,
        networks: Networks | None = None,
        *,
        limit: int = LIMIT,
        folder: Path | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._networks = networks or Networks()
        self._limit = limit
        self._folder = folder
        self._tls = tls
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str | None], _Entry] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def begin(self, url: str, sha384: str | None) -> Arrive:
        """Fetch it unless it is here or on its way; what is returned tells when it has arrived."""
        key = (url, sha384)
        entry = self._entries.get(key)
        if entry is None or entry.until <= self._clock():
            entry = self._entries[key] = _Entry(asyncio.create_task(self._fetch(url, sha384), name="download"))
            entry.task.add_done_callback(lambda task: self._arrived(key, task))
        self._entries.move_to_end(key)
        return lambda: _content(entry.task)

    async def close(self) -> None:
        """Give up what is on its way, and let go of what is here."""
        tasks = [entry.task for entry in self._entries.values()]
        self._entries.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, url: str, sha384: str | None) -> Stored:
        shown = parse(url).shown
        digest = hashlib.sha384()
        async with self._slots:
            begun = self._clock()
            with tempfile.TemporaryFile(dir=self._folder) as file:
                await fetch(
                    url,
                    lambda piece: _keep(file, digest, piece),
                    networks=self._networks,
                    limit=self._limit,
                    tls=self._tls,
                )
                length = file.tell()
                file.flush()
                data = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) if length else b""
        if sha384 not in (None, digest.hexdigest()):
            raise Unfetched(
                f"{shown} has the SHA-384 {digest.hexdigest()} and not the expected one: find out who has changed the "
                "file, or correct the profile"
            )
        log.info("file fetched", url=shown, length=length, seconds=round(self._clock() - begun, 1))
        return Stored(data, digest.digest())

    def _arrived(self, key: tuple[str, str | None], task: asyncio.Task[Stored]) -> None:
        entry = self._entries.get(key)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            # For some seconds a failure is remembered as well: a thousand devices shall not ask a thousand times.
            log.warning("file not fetched", reason=str(failure))
        if entry is None or entry.task is not task:
            return
        if failure is not None or task.cancelled():
            entry.until = self._clock() + _FAILED_SECONDS
        elif key[1] is None:
            entry.until = self._clock() + KEPT_SECONDS
        self._make_room()

    def _make_room(self) -> None:
        """Forget what is stale, and what was not asked for the longest; devices that get it now hold it themselves."""
        for stale in [key for key, entry in self._entries.items() if entry.until <= self._clock()]:
            del self._entries[stale]
        sizes = {key: _size(entry.task) for key, entry in self._entries.items()}
        total = sum(sizes.values())
        for key, size in sizes.items():
            if total <= _LIMITS_KEPT * self._limit:
                return
            total -= size
            if size:
                del self._entries[key]


def _keep(file: IO[bytes], digest: "hashlib._Hash", piece: bytes) -> None:
    file.write(piece)
    digest.update(piece)


def _size(task: asyncio.Task[Stored]) -> int:
    return len(task.result().data) if task.done() and not task.cancelled() and task.exception() is None else 0


def _content(task: asyncio.Task[Stored]) -> Content | None:
    """What has arrived; raise StepFailedError where it never will."""
    if not task.done():
        return None
    if task.cancelled():
        raise StepFailedError("this service is stopping; the device tries again")
    failure = task.exception()
    if failure is not None:
        raise StepFailedError(str(failure)) from failure
    stored = task.result()
    return Content(memoryview(stored.data), stored.sha384)

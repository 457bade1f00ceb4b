"""Who leads among replicas, by a Lease: one at a time, and nobody begins before the last one has stopped.

Clocks of two machines are never compared. A replica that does not lead waits until the Lease has not changed for its
whole length, by its own clock. The one that leads counts from before it asked, and stops a third earlier when it could
not renew. A write takes a version with it, so of two that want the Lease at once one gets it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from ashore_broker_launcher.cluster import LEASE, Cluster, ClusterError, Conflict, JsonObject, NotFound

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
_MICROSECONDS: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class Terms(msgspec.Struct, frozen=True):
    """How long a Lease counts, in seconds."""

    length: int = 15
    """After so long without a change another replica takes it."""
    deadline: float = 10.0
    """After so long without having renewed it a replica stops to lead."""
    every: float = 2.0
    """So often a replica renews it, or looks whether it may have it."""


class Leadership:
    """One replica's part in it."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        *,
        terms: Terms | None = None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster, self._namespace, self._name, self._identity = cluster, namespace, name, identity
        self._terms = terms or Terms()
        self._clock, self._today, self._sleep = clock, today, sleep
        self._lease: JsonObject | None = None
        """As it was seen last."""
        self._seen: str | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None

    @property
    def leads(self) -> bool:
        """Whether this replica may act as leader at this moment; it says no even where nobody has run for a while."""
        return self._renewed_at is not None and self._clock() < self._renewed_at + self._terms.deadline

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work whenever this replica leads, until cancelled; it is cancelled when the lead is lost."""
        try:
            while True:
                await self.step()
                if self.leads:
                    await self._lead(work)
                await self._sleep(self._terms.every)
        finally:
            await self.release()

    async def step(self) -> None:
        """Renew the Lease, or take it where nobody holds it; what fails is tried with the next step."""
        asked_at = self._clock()
        try:
            self._renewed_at = asked_at if await self._write_or_wait() else None
        except Conflict:
            # Somebody else was faster; what is there now says who.
            self._lease = None
        except ClusterError as error:
            _log.warning("the lease cannot be renewed or looked at", name=self._name, reason=str(error))

    async def release(self) -> None:
        """Let another replica begin at once; only after the work has stopped."""
        lease, leads = self._lease, self.leads
        self._renewed_at = None
        if lease is None or not leads:
            return
        with suppress(ClusterError, TimeoutError):
            # Empty, and as good as over, so that a replica of any release takes it.
            spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
            async with asyncio.timeout(self._terms.deadline / 2):
                await self._cluster.replace(LEASE, {**lease, "spec": spec})

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        _log.info("this replica leads", identity=self._identity)
        task = asyncio.ensure_future(work())
        try:
            while self.leads and not task.done():
                await self._sleep(min(self._terms.every, self._left()))
                # An API server that does not answer must not keep a replica at work that leads no longer.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._left()):
                        await self.step()
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})
            _log.info("this replica leads no longer", identity=self._identity)

    def _left(self) -> float:
        """How long it still leads if it cannot renew."""
        return 0.0 if self._renewed_at is None else max(0.0, self._renewed_at + self._terms.deadline - self._clock())

    async def _write_or_wait(self) -> bool:
        """Whether the Lease is ours now."""
        lease = self._lease if self._renewed_at is not None and self._lease is not None else await self._look()
        if lease is None:
            self._see(await self._cluster.create(LEASE, self._new()))
            return True
        if not self._is_free(lease):
            return False
        self._see(await self._cluster.replace(LEASE, {**lease, "spec": self._spec(lease.get("spec") or {})}))
        return True

    async def _look(self) -> JsonObject | None:
        try:
            lease = await self._cluster.get(LEASE, self._namespace, self._name)
        except NotFound:
            return None
        self._see(lease)
        return lease

    def _see(self, lease: JsonObject) -> None:
        """What counts is when a change was seen, after the answer has come; that it is still the same is no news."""
        if self._seen != lease["metadata"].get("resourceVersion"):
            self._seen, self._seen_at = lease["metadata"].get("resourceVersion"), self._clock()
        self._lease = lease

    def _is_free(self, lease: JsonObject) -> bool:
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") in (None, "", self._identity):
            return True
        length = max(self._terms.length, int(spec.get("leaseDurationSeconds") or 0))
        return self._clock() >= self._seen_at + length

    def _new(self) -> JsonObject:
        metadata = {"namespace": self._namespace, "name": self._name}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": self._spec({})}

    def _spec(self, before: JsonObject) -> JsonObject:
        now, ours = self._now(), before.get("holderIdentity") == self._identity
        changes = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._terms.length,
            "acquireTime": before.get("acquireTime", now) if ours else now,
            "renewTime": now,
            "leaseTransitions": changes if ours or not before else changes + 1,
        }

    def _now(self) -> str:
        return self._today().astimezone(UTC).strftime(_MICROSECONDS)

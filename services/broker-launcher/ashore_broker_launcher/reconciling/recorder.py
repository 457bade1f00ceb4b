"""Events of Kubernetes about configurations and instances: what `kubectl describe` shows to people.

One that says the same of the same object again within ten minutes is not written a second time, and no object gets more
than a few in a minute: the API server keeps each for an hour.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from ashore_broker_launcher.cluster import EVENT, Cluster, ClusterError, JsonObject
from ashore_broker_launcher.objects import uid_of

REPEAT_SECONDS: Final = 600.0
MOST_IN_A_MINUTE: Final = 10
_MINUTE: Final = 60.0
_MOST_REMEMBERED: Final = 10_000
_LONGEST_MESSAGE: Final = 1024

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Recorder:
    """Writes events, and forgets none that is new."""

    def __init__(self, cluster: Cluster, replica: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._replica = replica
        self._clock = clock
        self._said: dict[tuple[str, str, str], float] = {}
        self._rate: dict[str, list[float]] = {}

    async def record(self, about: JsonObject, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Say this of an object. A cluster that does not take it is no reason to fail: it stands in the status too."""
        now = self._clock()
        if not self._is_news((uid_of(about), reason, message), now):
            return
        try:
            await self._cluster.create(EVENT, self._event(about, kind, reason, message, now))
        except ClusterError as error:
            log.info("an event of Kubernetes could not be written", reason=str(error))

    def _is_news(self, what: tuple[str, str, str], now: float) -> bool:
        recent = [at for at in self._rate.get(what[0], ()) if now - at < _MINUTE]
        if now - self._said.get(what, -REPEAT_SECONDS) < REPEAT_SECONDS or len(recent) >= MOST_IN_A_MINUTE:
            return False
        if len(self._said) >= _MOST_REMEMBERED:
            self._said = {one: at for one, at in self._said.items() if now - at < REPEAT_SECONDS}
            self._rate.clear()
        self._said[what] = now
        self._rate[what[0]] = [*recent, now]
        return True

    def _event(self, about: JsonObject, kind: str, reason: str, message: str, now: float) -> JsonObject:
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = about["metadata"]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.name,
            "metadata": {"generateName": f"{metadata['name'][:200]}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": about.get("apiVersion", ""),
                "kind": about.get("kind", ""),
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata.get("uid", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "source": {"component": "ashore-broker-launcher"},
            "reportingComponent": "ashore.dev/broker-launcher",
            "reportingInstance": self._replica,
        }

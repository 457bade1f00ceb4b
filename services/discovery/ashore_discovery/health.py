"""How each listener works, how fast it is, and what it drops: for people, for Prometheus, and for the heartbeat."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ashore.events import Mode

SAMPLES: Final = 512
_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5)
_WORST: Final[tuple[Mode, ...]] = ("failed", "degraded", "starting", "stopped", "polling", "events")


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One listener, for people."""

    source: str
    mode: Mode
    reason: str = ""
    devices: int = 0
    quarantined: int = 0
    last_event_at: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    dropped: int = 0
    last_dropped: str = ""
    restarts: int = 0


class Numbers:
    """The numbers for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.latency = Histogram(
            "ashore_discovery_seconds",
            "From the first byte on the wire to the bus's acknowledgement",
            ["source"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.sightings = Counter("ashore_discovery_sightings", "What handlers have seen", ["source"], registry=registry)
        self.dropped = Counter(
            "ashore_discovery_dropped",
            "Datagrams, messages and sightings that were not used",
            ["source"],
            registry=registry,
        )
        self.restarts = Counter(
            "ashore_discovery_listener_restarts", "Listeners started again", ["source"], registry=registry
        )
        self.devices = Gauge("ashore_discovery_devices", "Devices, by their state", ["state"], registry=registry)
        self.waiting = Gauge(
            "ashore_discovery_unpublished", "Devices that the bus has not heard of yet", registry=registry
        )


class SourceHealth:
    """One listener."""

    def __init__(self, source: str, numbers: Numbers, clock: Callable[[], float]) -> None:
        self.source = source
        self._clock = clock
        self._mode: Mode = "starting"
        self._reason = ""
        self._last: float | None = None
        self._dropped = self._restarts = 0
        self._last_dropped = ""
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._numbers = numbers
        self._latency = numbers.latency.labels(source)
        self._sightings = numbers.sightings.labels(source)
        # A flood is counted datagram by datagram.
        self._drops = numbers.dropped.labels(source)

    def mode(self, mode: Mode, reason: str) -> None:
        """How it works now."""
        self._mode, self._reason = mode, reason[:1000]

    def failed(self, reason: str) -> None:
        """It is down, and will be started again."""
        self.mode("failed", reason)
        self._restarts += 1
        self._numbers.restarts.labels(self.source).inc()

    def seen(self) -> None:
        """It has seen something."""
        self._last = self._clock()
        self._sightings.inc()

    def dropped(self, why: str) -> None:
        """Something from outside, or of its own, was not used."""
        self._dropped += 1
        self._last_dropped = why[:300]
        self._drops.inc()

    def published(self, seconds: float) -> None:
        """An event of it was acknowledged, so long after the first byte of its cause."""
        self._samples.append(seconds)
        self._latency.observe(seconds)

    def state(self) -> tuple[Mode, str]:
        """Mode and reason."""
        return self._mode, self._reason

    def report(self, devices: int, quarantined: int) -> SourceReport:
        """All of it, for people."""
        return SourceReport(
            source=self.source,
            mode=self._mode,
            reason=self._reason,
            devices=devices,
            quarantined=quarantined,
            last_event_at=self._last,
            p50_ms=self._percentile(0.50),
            p99_ms=self._percentile(0.99),
            dropped=self._dropped,
            last_dropped=self._last_dropped,
            restarts=self._restarts,
        )

    def _percentile(self, part: float) -> float | None:
        if not self._samples:
            return None
        ordered = sorted(self._samples)
        return round(ordered[math.ceil(part * len(ordered)) - 1] * 1000, 2)


class Health:
    """All listeners."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self.numbers = Numbers(registry)
        self._clock = clock
        self._sources: dict[str, SourceHealth] = {}

    def of(self, source: str) -> SourceHealth:
        """The health of one listener."""
        if source not in self._sources:
            self._sources[source] = SourceHealth(source, self.numbers, self._clock)
        return self._sources[source]

    def find(self, source: str) -> SourceHealth | None:
        """The health of one listener, if there is such a one."""
        return self._sources.get(source)

    def forget(self, source: str) -> None:
        """It is not wanted any more."""
        self._sources.pop(source, None)
        for one in (self.numbers.latency, self.numbers.sightings, self.numbers.dropped, self.numbers.restarts):
            one.remove(source)

    def sources(self) -> list[SourceHealth]:
        """All of them, by name."""
        return [self._sources[name] for name in sorted(self._sources)]


def worst(states: list[tuple[Mode, str]]) -> tuple[Mode, str]:
    """The mode of a handler that has several listeners."""
    return min(states, key=lambda state: _WORST.index(state[0]))

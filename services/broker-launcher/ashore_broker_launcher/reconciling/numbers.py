"""How long things take, for Prometheus: from the wire to an instance, and from a sighting to a workload."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ashore_broker_launcher.presence import Sighting

_BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 60.0)


class Numbers:
    """The launcher's numbers; the two of Akri's that are a controller's have Akri's names."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._to_instance = Histogram(
            "ashore_instance_seconds",
            "From the device's sighting to the order for its instance",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.waiting = Gauge(
            "ashore_waiting", "Things that wait to be looked at, or are being looked at", registry=registry
        )
        self.pods = Gauge("akri_broker_pod_count", "Broker pods", ["configuration", "node"], registry=registry)
        self.instances = Gauge("akri_instance_count", "Instances", ["configuration", "is_shared"], registry=registry)
        self.passes = Counter("ashore_passes", "Looks at something", ["what"], registry=registry)
        self.writes = Counter("ashore_writes", "Writes to the cluster", ["verb", "kind"], registry=registry)

    def instance(self, seen: Sequence[Sighting]) -> None:
        """A device has no instance yet, and gets one now. What was told again says nothing of speed."""
        fresh = [one.seen.seen_at for one in seen if not one.seen.snapshot]
        if fresh:
            self._to_instance.observe(max(0.0, self._clock() - min(fresh) / 1000))

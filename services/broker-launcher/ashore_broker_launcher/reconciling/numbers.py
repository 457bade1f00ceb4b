"""How long things take, for Prometheus: from the wire to an instance, and from a sighting to a workload."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

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
        self._nodes: dict[str, set[str]] = {}
        self._pods = Gauge("akri_broker_pod_count", "Broker pods", ["configuration", "node"], registry=registry)
        self._instances = Gauge("akri_instance_count", "Instances", ["configuration", "is_shared"], registry=registry)
        self.passes = Counter("ashore_passes", "Looks at something", ["what"], registry=registry)
        self.writes = Counter("ashore_writes", "Writes to the cluster", ["verb", "kind"], registry=registry)

    def count(self, configuration: str, shared: Mapping[bool, int], pods: Mapping[str, int]) -> None:
        """How many instances a configuration has, of shared devices and of others, and how many pods by node."""
        for is_shared in (True, False):
            self._instances.labels(configuration, str(is_shared).lower()).set(shared.get(is_shared, 0))
        for node in self._nodes.get(configuration, set()) - pods.keys():
            self._pods.remove(configuration, node)
        self._nodes[configuration] = set(pods)
        for node, count in pods.items():
            self._pods.labels(configuration, node).set(count)

    def forget(self, configuration: str) -> None:
        """The configuration is no more."""
        for node in self._nodes.pop(configuration, set()):
            self._pods.remove(configuration, node)
        for is_shared in ("true", "false"):
            with suppress(KeyError):
                self._instances.remove(configuration, is_shared)

    def instance(self, seen: Sequence[Sighting]) -> None:
        """A device has no instance yet, and gets one now. What was told again says nothing of speed."""
        fresh = [one.seen.seen_at for one in seen if not one.seen.snapshot]
        if fresh:
            self._to_instance.observe(max(0.0, self._clock() - min(fresh) / 1000))

"""How the device plugin is: for people, and for Prometheus."""

from collections.abc import Sequence
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

_MOST: Final = 20

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Numbers:
    """The numbers for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.resources = Gauge("ashore_device_plugin_resources", "Resources that are offered", registry=registry)
        self.unregistered = Gauge(
            "ashore_device_plugin_unregistered", "Those of them that the kubelet does not know yet", registry=registry
        )
        self.claims = Gauge("ashore_device_plugin_slots", "Slots that this node has", registry=registry)
        self.problems = Gauge("ashore_device_plugin_problems", "What people should look at", registry=registry)
        self.allocations = Counter(
            "ashore_device_plugin_allocations", "Requests of the kubelet for devices", ["result"], registry=registry
        )
        self.reclaimed = Counter(
            "ashore_device_plugin_reclaimed", "Slots given back as no container used them", registry=registry
        )


class Health:
    """Problems, each of which is logged when it comes and when it goes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.numbers = Numbers(registry)
        self._problems: dict[str, str] = {}

    def say(self, about: str, problem: str) -> None:
        """What is wrong about something; an empty text where nothing is any more."""
        before = self._problems.pop(about, "")
        if problem:
            self._problems[about] = problem
        if problem == before:
            return
        if problem:
            log.warning("problem", about=about, reason=problem)
        else:
            log.info("problem over", about=about, reason=before)

    def problems(self) -> list[str]:
        """What is wrong, in sentences."""
        return list(self._problems.values())


def in_short(problems: Sequence[str]) -> str:
    """Several problems of one kind, and how many more there are."""
    more = len(problems) - _MOST
    return "; ".join([*problems[:_MOST], *([f"and {more} more"] if more > 0 else [])])

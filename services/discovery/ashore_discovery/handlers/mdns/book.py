"""The services of one interface: what is known of each, where it is, and whether it answers questions."""

from typing import Final

import msgspec

from ashore_discovery.handlers.mdns.record import Service

MOST_ON_A_HOST: Final = 512
"""A packet about a host is news of all its services, so a forger must not put all that there can be on one."""


class Host(msgspec.Struct, kw_only=True):
    """A machine that has services."""

    ids: dict[str, None] = {}
    """Its services."""
    answering: dict[str, None] = {}
    """Those for which it has once answered a question to it alone, the one that was asked longest ago first.

    Not every responder does, and of two on one machine only one can: the silence of the others says nothing.
    """
    tries: dict[str, int] = {}
    """How often it was asked for those that it has never answered for."""
    unanswered: int = 0
    """How many rounds it has been silent."""
    due: float = 0.0
    """When it is asked next."""

    def next_answering(self) -> str:
        """Whom to ask: one after the other."""
        id = next(iter(self.answering))  # noqa: A001 - a sighting's own word
        del self.answering[id]
        self.answering[id] = None
        return id

    def next_untried(self, most: int) -> str | None:
        """One for which it may never have been asked often enough."""
        return next((one for one in self.ids if one not in self.answering and self.tries.get(one, 0) < most), None)

    def leave(self, id: str) -> None:  # noqa: A002 - a sighting's own word
        """One of its services is gone."""
        for kept in (self.ids, self.answering, self.tries):
            kept.pop(id, None)


class Book:
    """What has been heard, with a limit."""

    def __init__(self, most: int) -> None:
        self.services: dict[str, Service] = {}
        self.hosts: dict[str, Host] = {}
        self.refused = 0
        """How many services were not taken because there are too many."""
        self._most = most

    def note(self, service: Service) -> bool:
        """Keep what is known of a service; False where there is no room for one more."""
        known = self.services.get(service.id)
        host = self.host_of(service)
        crowded = host is not None and service.id not in host.ids and len(host.ids) >= MOST_ON_A_HOST
        if crowded or (known is None and len(self.services) >= self._most):
            self.refused += 1
            return False
        if known is not None and known.host.lower() != service.host.lower():
            self._leave_host(known)
        self.services[service.id] = service
        if service.host:
            self.hosts.setdefault(service.host.lower(), Host()).ids.setdefault(service.id)
        return True

    def forget(self, id: str) -> Service | None:  # noqa: A002 - a sighting's own word
        """It is gone."""
        service = self.services.pop(id, None)
        if service is not None:
            self._leave_host(service)
        return service

    def host_of(self, service: Service) -> Host | None:
        """The machine on which it is, where that is known."""
        return self.hosts.get(service.host.lower())

    def of_host(self, host: str) -> list[str]:
        """The services of a host."""
        found = self.hosts.get(host.lower())
        return list(found.ids) if found else []

    def _leave_host(self, service: Service) -> None:
        host = self.host_of(service)
        if host is not None:
            host.leave(service.id)
            if not host.ids:
                del self.hosts[service.host.lower()]

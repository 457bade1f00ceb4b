"""Whose a resource is: pure.

Names of extended resources have no namespace. Where configurations of two namespaces have one name, or an instance has
that of a configuration, the first one has the resource for as long as it is there, and the others are problems.
"""

import re
from typing import Final, Literal, NamedTuple

from ashore_device_plugin.instances import Instance, Key

PREFIX: Final = "akri.sh/"
_FORM: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
"""What may stand behind the slash: as long as a label."""


class Owner(NamedTuple):
    """An instance or a configuration, which has a resource."""

    kind: Literal["instance", "configuration"]
    namespace: str
    name: str

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def resource(self) -> str:
        """The resource as containers ask for it."""
        return PREFIX + self.name

    def __str__(self) -> str:
        return f"the {self.kind} {self.name} in {self.namespace}"


def owners(instance: Instance) -> tuple[Owner, Owner]:
    """Whose resources offer this instance."""
    return (
        Owner("instance", instance.namespace, instance.name),
        Owner("configuration", instance.namespace, instance.configuration),
    )


class Names:
    """Who has which resource."""

    def __init__(self) -> None:
        self._claimants: dict[str, dict[Owner, int]] = {}
        self._holders: dict[str, Owner] = {}
        self._found: list[str] | None = None
        """Problems, until somebody comes or goes."""

    def put(self, owner: Owner, born: int) -> None:
        """It wants its resource; `born` says since when."""
        wanting = self._claimants.setdefault(owner.resource, {})
        if owner not in wanting:
            self._found = None
        wanting[owner] = min(born, wanting.get(owner, born))

    def drop(self, owner: Owner) -> None:
        """It wants it no more; the next oldest has it when that is arranged."""
        wanting = self._claimants.get(owner.resource, {})
        wanting.pop(owner, None)
        self._found = None
        if not wanting:
            self._claimants.pop(owner.resource, None)
        if self._holders.get(owner.resource) == owner:
            del self._holders[owner.resource]

    def holder(self, resource: str) -> Owner | None:
        """Who has it. Who has it once keeps it; otherwise the oldest gets it."""
        if resource not in self._holders:
            wanting = self._claimants.get(resource)
            if not wanting or not self.usable(resource):
                return None
            self._holders[resource] = min(wanting, key=lambda owner: (wanting[owner], owner))
        return self._holders[resource]

    def problems(self) -> list[str]:
        """Resources that cannot be offered, and why."""
        if self._found is None:
            self._found = [text for resource in sorted(self._claimants) for text in self._problems(resource)]
        return self._found

    def _problems(self, resource: str) -> list[str]:
        wanting = sorted(self._claimants[resource])
        if not self.usable(resource):
            return [f"{resource} cannot be offered: the name of a resource has at most 63 characters after the slash"]
        holder = self.holder(resource)
        return [f"{one} is not offered: {resource} is {holder}; rename one" for one in wanting if one != holder]

    @staticmethod
    def usable(resource: str) -> bool:
        """Whether Kubernetes takes it for the name of a resource."""
        return _FORM.fullmatch(resource.removeprefix(PREFIX)) is not None

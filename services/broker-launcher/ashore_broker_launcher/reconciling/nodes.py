"""The nodes of the cluster: which are there and Ready, and how agents call them.

An agent may run where the cluster has no node: a gateway that sees cameras, say. Its sightings count, but no pod can be
pinned there. A node that the cluster knows and that is not Ready has lost its devices until it is back.
"""

from collections.abc import Mapping

from ashore.events import token_of
from ashore_broker_launcher.cluster import NODE, JsonObject
from ashore_broker_launcher.reconciling.view import View


class Nodes:
    """What the view says of nodes."""

    def __init__(self, view: View) -> None:
        self._view = view

    def names(self) -> dict[str, str]:
        """Kubernetes' names by the names that agents have: dots are dashes there."""
        return {token_of(name): name for name in self._all()}

    def ready(self) -> frozenset[str] | None:
        """The nodes that can run something; None where the cluster shows none."""
        found = self._all()
        return frozenset(name for name, body in found.items() if is_ready(body)) if found else None

    def lost(self) -> frozenset[str]:
        """The nodes that are there and cannot run anything now."""
        return frozenset(name for name, body in self._all().items() if not is_ready(body))

    def knows(self, name: str) -> bool:
        """Whether there is such a node, or whether nothing is known of nodes."""
        found = self._all()
        return not found or name in found

    def _all(self) -> Mapping[str, JsonObject]:
        return {str(body["metadata"]["name"]): body for body in self._view.all(NODE)}


def is_ready(body: JsonObject) -> bool:
    """Whether its kubelet says Ready."""
    conditions = body.get("status", {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)

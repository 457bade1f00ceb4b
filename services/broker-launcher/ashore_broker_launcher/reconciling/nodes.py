"""The nodes of the cluster: which are there and Ready, and how agents call them.

An agent may run where the cluster has no node: a gateway that sees cameras, say. Its sightings count, but no pod can be
pinned there. A node that the cluster knows and that is not Ready has lost its devices until it is back.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ashore.events import token_of
from ashore_broker_launcher.cluster import NODE, JsonObject
from ashore_broker_launcher.reconciling.view import View


class _Read(NamedTuple):
    """What is known of all nodes: each pass asks, and with hundreds of nodes that takes a while to find out."""

    ready: frozenset[str]
    lost: frozenset[str]
    names: Mapping[str, str]


class Nodes:
    """What the view says of nodes."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._read: _Read | None = None

    def changed(self) -> None:
        """The cluster says something else of a node."""
        self._read = None

    def names(self) -> Mapping[str, str]:
        """Kubernetes' names by the names that agents have: dots are dashes there."""
        return self._known().names

    def ready(self) -> frozenset[str] | None:
        """The nodes that can run something; None where the cluster shows none."""
        known = self._known()
        return known.ready if known.ready or known.lost else None

    def lost(self) -> frozenset[str]:
        """The nodes that are there and cannot run anything now."""
        return self._known().lost

    def knows(self, name: str) -> bool:
        """Whether there is such a node, or whether nothing is known of nodes."""
        known = self._known()
        return name in known.ready or name in known.lost or not (known.ready or known.lost)

    def _known(self) -> _Read:
        if self._read is None:
            found = {str(body["metadata"]["name"]): is_ready(body) for body in self._view.all(NODE)}
            ready = frozenset(name for name, is_there in found.items() if is_there)
            self._read = _Read(ready, frozenset(found) - ready, {token_of(name): name for name in found})
        return self._read


def is_ready(body: JsonObject) -> bool:
    """Whether its kubelet says Ready."""
    conditions = body.get("status", {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)

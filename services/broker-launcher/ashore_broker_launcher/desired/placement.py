"""On which nodes an instance's broker pods are.

The capacity is a hard bound on pods, those included that are about to end: a device whose broker is replaced is not
handed to the next before the last has let go of it. Akri's controller makes one pod for each node and lets the kubelets
quarrel. A pod that is there keeps its place. Free places go to nodes in an order that is another one for each instance,
so that shared devices spread over the nodes, and a node on which it failed three times is taken after the others.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.phases import as_dict

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
PATIENCE: Final = 3
"""After so many failures in a row another node is tried."""
Rank = tuple[bool, bool, float, str]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A pod that has a place."""

    node: str
    name: str
    leaving: bool = False
    serves: bool = False
    since: float = 0.0

    @property
    def rank(self) -> Rank:
        """Who stays if not all can: one that serves, then the older one."""
        return not self.leaving, self.serves, -self.since, self.name


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Who stays, who goes and why, and which nodes get a new pod."""

    kept: list[Held] = []
    gone: list[Held] = []
    """Their node does not see the device any more."""
    surplus: list[Held] = []
    added: list[str] = []
    spare: bool = False
    """Whether there is a node without a place."""


def place_pods(
    instance: str,
    nodes: Collection[str],
    capacity: int,
    held: Collection[Held],
    *,
    ready: Collection[str] | None = None,
    failures: Mapping[str, int] | None = None,
) -> Placement:
    """Who gets a place; `failures` are those in a row of this instance's pod on a node."""
    gone = [one for one in held if one.node not in nodes and not one.leaving]
    # What is leaving a node that is lost may leave for ever: it holds no place.
    leaving = [one for one in held if one.leaving and (ready is None or one.node in ready)]
    mine = sorted(
        (one for one in held if one.node in nodes and not one.leaving), key=lambda one: one.rank, reverse=True
    )
    kept = [one for at, one in enumerate(mine) if one.node not in {before.node for before in mine[:at]}][:capacity]
    surplus = [one for one in mine if one not in kept]
    room = max(
        0, capacity - len(mine) - len(leaving) - len([one for one in gone if ready is None or one.node in ready])
    )
    taken = {one.node for one in held}
    free = [node for node in set(nodes) if node not in taken and (ready is None or node in ready)]
    free.sort(key=lambda node: ((failures or {}).get(node, 0) // PATIENCE, _order(instance, node)))
    return Placement(kept=kept, gone=gone, surplus=surplus, added=free[:room], spare=len(free) > room)


def pinned(spec: JsonObject, node: str) -> JsonObject:
    """The pod spec for this node only, whatever else its own affinity requires.

    Terms of a node selector are alternatives, so each of them gets the node as a further requirement. Akri adds a term,
    and with it takes the user's own requirement away. A term that is empty selects nothing, and stays so.
    """
    here = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = as_dict(spec.get("affinity"))
    of_node = as_dict(affinity.get("nodeAffinity"))
    required = as_dict(of_node.get(_REQUIRED))
    terms = required.get("nodeSelectorTerms") or [{"matchFields": []}]
    pinned = [_with_field(term, here) for term in terms] if isinstance(terms, list) else terms
    selector = {**required, "nodeSelectorTerms": pinned}
    return {**spec, "affinity": {**affinity, "nodeAffinity": {**of_node, _REQUIRED: selector}}}


def node_of(pod: JsonObject) -> str:
    """The node to which the launcher has pinned a pod; empty where it is none of ours."""
    of_node = as_dict(as_dict(as_dict(pod.get("spec")).get("affinity")).get("nodeAffinity"))
    terms = as_dict(of_node.get(_REQUIRED)).get("nodeSelectorTerms")
    # Akri's own pods have the term of the node last, and so has each term the field.
    for term in reversed(terms if isinstance(terms, list) else []):
        for field in reversed(as_dict(term).get("matchFields") or []):
            if as_dict(field).get("key") == "metadata.name":
                return str(next(iter(field.get("values") or []), ""))
    return ""


def _with_field(term: Any, field: JsonObject) -> Any:
    if not isinstance(term, dict) or not term:
        return term
    fields = term.get("matchFields") or []
    return {**term, "matchFields": [*fields, field]} if isinstance(fields, list) else term


def _order(instance: str, node: str) -> bytes:
    return hashlib.blake2b(f"{instance}\n{node}".encode(), digest_size=8).digest()

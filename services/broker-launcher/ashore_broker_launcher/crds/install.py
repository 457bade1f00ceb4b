"""Brings the definitions into a cluster, or makes sure that those which are there will do.

Definitions of others are never replaced: whoever runs Akri itself has the same names, and its agents would lose what
they write. A definition of ours that lacks fields of this release is brought up to date; one that has more is left
alone, since taking fields away takes them from all objects.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, cast

from ashore_broker_launcher.cluster import Cluster, ClusterError, JsonObject, NotFound, Refused, Unreachable
from ashore_broker_launcher.crds import DEFINITION, definitions, schema
from ashore_broker_launcher.objects import label

PART_OF: Final = "app.kubernetes.io/part-of"
OURS: Final = "ashore"
_POLL_SECONDS: Final = 0.2
_SECONDS: Final = 30.0
_MOST_SHOWN: Final = 5
_OPEN: Final = "x-kubernetes-preserve-unknown-fields"
_BY_HAND: Final = "kubectl apply --server-side -k deploy/kubernetes/crds"


class DefinitionsError(ClusterError):
    """The cluster's definitions will not do; the text says why, and what to do."""


async def ensure(cluster: Cluster, *, install: bool, seconds: float = _SECONDS) -> None:
    """Have both definitions served; raise DefinitionsError where that cannot be, Unreachable where nobody answers."""
    for wanted in definitions():
        await _ensure(cluster, wanted, install=install)
    try:
        async with asyncio.timeout(seconds):
            for wanted in definitions():
                await _established(cluster, wanted["metadata"]["name"])
    except TimeoutError as error:
        raise DefinitionsError(
            f"the API server has not begun to serve akri.sh within {seconds:.0f} s: look at the conditions of "
            "`kubectl get crd configurations.akri.sh instances.akri.sh -o yaml`"
        ) from error


async def _ensure(cluster: Cluster, wanted: JsonObject, *, install: bool) -> None:
    name = wanted["metadata"]["name"]
    try:
        present: JsonObject | None = await cluster.get(DEFINITION, "", name)
    except NotFound:
        present = None
    except Refused:
        # Who may not look at definitions finds out by using what they define.
        return
    problem = refusal(wanted, present)
    if problem is None:
        return
    if not install or (present is not None and label(present, PART_OF) != OURS):
        raise DefinitionsError(problem)
    try:
        await cluster.apply(DEFINITION, wanted)
    except Unreachable:
        raise
    except ClusterError as error:
        raise DefinitionsError(f"{name} cannot be installed: {error}; ask an administrator to `{_BY_HAND}`") from error


def refusal(wanted: JsonObject, present: JsonObject | None) -> str | None:
    """Why a definition will not do, and what to do; None where it will."""
    name = wanted["metadata"]["name"]
    if present is None:
        return f"the cluster does not know {name}: `{_BY_HAND}`, or set ASHORE_INSTALL_CRDS=on"
    lacking = list(missing(wanted, present))
    if not lacking:
        return None
    shown = ", ".join(lacking[:_MOST_SHOWN]) + (" and more" if len(lacking) > _MOST_SHOWN else "")
    if label(present, PART_OF) == OURS:
        return f"{name} is of another release and lacks {shown}: `{_BY_HAND}`, or set ASHORE_INSTALL_CRDS=on"
    return (
        f"{name} in this cluster is not ashore's (Akri brings one of that name) and lacks {shown}: uninstall what "
        f"brought it, or if nothing uses it any more, `{_BY_HAND} --force-conflicts`; objects stay"
    )


def missing(wanted: JsonObject, present: JsonObject) -> Iterator[str]:
    """What the one defines and the other does not: the status, and fields by their places."""
    versions = present.get("spec", {}).get("versions", [])
    version = next((one for one in versions if one.get("name") == "v0" and one.get("served")), None)
    if version is None:
        yield "version v0"
        return
    if "status" not in (version.get("subresources") or {}):
        yield "the subresource status"
    yield from _missing(schema(wanted), schema(present), "")


def _missing(wanted: JsonObject, present: JsonObject, place: str) -> Iterator[str]:
    if present.get(_OPEN) and not present.get("properties"):
        return
    properties = cast(JsonObject, present.get("properties") or {})
    for name, part in (wanted.get("properties") or {}).items():
        path = f"{place}.{name}".lstrip(".")
        if name not in properties:
            if not present.get(_OPEN):
                yield path
        else:
            yield from _missing(part, properties[name], path)
    if "items" in wanted and "items" in present:
        yield from _missing(wanted["items"], present["items"], f"{place}[]")


async def _established(cluster: Cluster, name: str) -> None:
    while True:
        try:
            present = await cluster.get(DEFINITION, "", name)
        except Refused:
            return
        conditions = present.get("status", {}).get("conditions", [])
        if any(one["type"] == "Established" and one["status"] == "True" for one in conditions):
            return
        await asyncio.sleep(_POLL_SECONDS)

"""All objects of a kind, page by page, as they were at one moment."""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import POD, JsonObject, Kind, Unreachable
from ashore_broker_launcher.launchers.kubernetes import errors, paths
from ashore_broker_launcher.launchers.kubernetes.connection import TooLargeError
from ashore_broker_launcher.launchers.kubernetes.http import Http

PAGE: Final = 500
_MOST_ROUNDS: Final = 3
_OK: Final = 200
_OF_PODS: Final = ("affinity", "nodeName")
"""What the launcher reads of what a Pod should be; it is never written back."""


class _Metadata(msgspec.Struct, rename={"version": "resourceVersion", "more": "continue"}):
    version: str = ""
    more: str = ""


class _Page(msgspec.Struct):
    metadata: _Metadata
    items: list[JsonObject] | None


class Listed(msgspec.Struct):
    """The objects, and the version from which a watch goes on."""

    items: list[JsonObject]
    version: str


async def list_all(http: Http, kind: Kind, namespace: str, labels: str) -> Listed:
    """All pages; raise what the port may."""
    for _ in range(_MOST_ROUNDS):
        try:
            return await _list_once(http, kind, namespace, labels)
        except errors.Expired:
            # The pages belong to a moment that the API server has forgotten while we read: from the beginning.
            continue
    raise Unreachable(f"list {kind.plural}: the API server forgets faster than pages can be read")


async def _list_once(http: Http, kind: Kind, namespace: str, labels: str) -> Listed:
    listed = Listed([], "")
    size, more = PAGE, ""
    while True:
        try:
            wanted = paths.query(labelSelector=labels, limit=size, **{"continue": more})
            page = await _page(http, kind, namespace, wanted)
        except TooLargeError as error:
            if size == 1:
                raise Unreachable(f"list {kind.plural}: {error}") from error
            size = max(1, size // 8)
            continue
        listed.items.extend(_clean(one, kind) for one in page.items or [])
        listed.version, more = page.metadata.version, page.metadata.more
        if not more:
            return listed


async def _page(http: Http, kind: Kind, namespace: str, wanted: str) -> _Page:
    asked = f"list {kind.plural}{f' in {namespace}' if namespace else ''}"
    answer = await http.ask("GET", paths.collection(kind, namespace) + wanted)
    if answer.status != _OK:
        raise errors.failure(asked, answer)
    try:
        return msgspec.json.decode(answer.body, type=_Page)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreachable(f"{asked}: the answer cannot be read: {error}") from error


def _clean(one: JsonObject, kind: Kind) -> JsonObject:
    """A list says once for all objects of which kind they are."""
    return {"apiVersion": kind.api_version, "kind": kind.name, **trimmed(one, kind)}


def trimmed(one: JsonObject, kind: Kind) -> JsonObject:
    """The object without what nobody here reads; raise Unreachable where it is none."""
    metadata = one.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise Unreachable("what the API server lists or tells is no object of Kubernetes")
    # Who owns which field is half of an object.
    metadata.pop("managedFields", None)
    if kind == POD and isinstance(spec := one.get("spec"), dict):
        # And of the other half of a Pod most is what its containers are.
        one["spec"] = {name: spec[name] for name in _OF_PODS if name in spec}
    return one

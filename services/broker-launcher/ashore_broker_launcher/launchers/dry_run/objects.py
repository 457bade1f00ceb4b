"""How an API server treats an object, as far as the launcher relies on it: versions, generations, managers' fields."""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Final

import msgspec

from ashore_broker_launcher.cluster import JsonObject, Kind

_OF_SERVER: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


class Stored(msgspec.Struct, kw_only=True):
    """An object, with what each manager has applied to it."""

    kind: Kind
    body: JsonObject
    created: JsonObject = {}
    applied: dict[str, JsonObject] = {}
    statuses: dict[str, JsonObject] = {}

    def rebuild(self, version: int) -> bool:
        """Make the object from what everybody said; whether it is another one than before."""
        merged: JsonObject = deepcopy(self.created)
        for part in self.applied.values():
            _merge(merged, part)
        status: JsonObject = {}
        for part in self.statuses.values():
            _merge(status, part)
        merged["status"] = status or merged.get("status", {})
        metadata = merged.setdefault("metadata", {})
        own = self.body.get("metadata", {})
        metadata |= {name: own[name] for name in _OF_SERVER if name in own}
        if merged == self.body:
            return False
        if merged.get("spec") != self.body.get("spec"):
            metadata["generation"] = own.get("generation", 0) + 1
        metadata["resourceVersion"] = str(version)
        self.body = merged
        return True


def born(kind: Kind, uid: str, now: float) -> Stored:
    """An object that nobody has said anything of yet."""
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Stored(kind=kind, body={"metadata": {"uid": uid, "generation": 0, "creationTimestamp": at}})


def said(body: JsonObject) -> JsonObject:
    """What a client says of an object: all but its status, and but what is the server's to say."""
    found = {name: deepcopy(value) for name, value in body.items() if name != "status"}
    metadata = found.get("metadata", {})
    found["metadata"] = {name: value for name, value in metadata.items() if name not in _OF_SERVER}
    return found


def _merge(into: JsonObject, part: JsonObject) -> None:
    """Maps field by field; lists and all else as a whole."""
    for name, value in part.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = deepcopy(value)

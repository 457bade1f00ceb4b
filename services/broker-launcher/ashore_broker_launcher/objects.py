"""Small things about objects of Kubernetes that everybody here needs."""

import hashlib

import msgspec

from ashore_broker_launcher.cluster import JsonObject, Key, Kind
from ashore_broker_launcher.model import HASH, Meta_


def key_of(body: JsonObject) -> Key:
    """Namespace and name."""
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(body: JsonObject) -> str:
    """Which life of that name it is."""
    return str(body["metadata"].get("uid", ""))


def annotation(body: JsonObject, name: str) -> str:
    """An annotation; empty where there is none."""
    return str((body["metadata"].get("annotations") or {}).get(name, ""))


def label(body: JsonObject, name: str) -> str:
    """A label; empty where there is none."""
    return str((body["metadata"].get("labels") or {}).get(name, ""))


def is_leaving(body: JsonObject) -> bool:
    """Whether its deletion has begun."""
    return body["metadata"].get("deletionTimestamp") is not None


def owner_uid(body: JsonObject) -> str:
    """The uid of its controller; empty where it has none."""
    owners = body["metadata"].get("ownerReferences") or []
    return next((str(one["uid"]) for one in owners if one.get("controller")), "")


def owned_by(kind: Kind, owner: Meta_) -> JsonObject:
    """The reference of an object to its owner, with whom it goes."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def hash_of(body: object) -> str:
    """A short text that is another one when the body is."""
    return hashlib.blake2b(msgspec.json.encode(body, order="sorted"), digest_size=8).hexdigest()


def hashed(body: JsonObject) -> JsonObject:
    """The object with the hash of itself among its annotations."""
    metadata = body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), HASH: hash_of(body)}
    return {**body, "metadata": {**metadata, "annotations": annotations}}


def says(status: JsonObject | None, wanted: JsonObject) -> bool:
    """Whether a status says this already, and nothing else of the same things; what is empty may be absent."""
    return all(((status or {}).get(name) or None) == (value or None) for name, value in wanted.items())

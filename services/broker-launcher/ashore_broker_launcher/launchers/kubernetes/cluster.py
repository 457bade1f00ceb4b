"""The port to a cluster, on a real API server."""

from typing import Final, Self, TypeVar

import msgspec

from ashore_broker_launcher.cluster import (
    MANAGER,
    POD,
    Conflict,
    JsonObject,
    Kind,
    NotFound,
    Propagation,
    Refused,
    Unreachable,
)
from ashore_broker_launcher.launchers.kubernetes import errors, paths
from ashore_broker_launcher.launchers.kubernetes.access import Access
from ashore_broker_launcher.launchers.kubernetes.connection import Answer, TooLargeError
from ashore_broker_launcher.launchers.kubernetes.http import Bounds, Http
from ashore_broker_launcher.launchers.kubernetes.listing import list_all
from ashore_broker_launcher.launchers.kubernetes.reflector import Patience, Reflector

APPLY: Final = "application/apply-patch+yaml"
"""JSON is YAML."""
_SUCCESS: Final = range(200, 300)
_MOST_LOG: Final = 1024 * 1024
_LAST_OF_LOG: Final = 8 * 1024

T = TypeVar("T")


class KubernetesCluster:
    """A real cluster, for the length of a block: `async with KubernetesCluster(access) as cluster`."""

    def __init__(self, access: Access, *, patience: Patience | None = None, bounds: Bounds | None = None) -> None:
        self._http = Http(access, bounds)
        self._patience = patience or Patience()
        self._kinds: dict[str, dict[str, Kind]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._http.close()

    async def kind(self, api_version: str, name: str) -> Kind:
        """See Cluster."""
        if name not in self._kinds.get(api_version, {}):
            asked = f"the kinds of {api_version}"
            answer = await self._ask("GET", paths.group(api_version), asked)
            self._kinds[api_version] = paths.kinds(api_version, _decoded(answer, asked, paths.Resources))
        try:
            return self._kinds[api_version][name]
        except KeyError:
            raise NotFound(f"the cluster has no kind {name[:100]!r} in {api_version}") from None

    async def get(self, kind: Kind, namespace: str, name: str) -> JsonObject:
        """See Cluster."""
        asked = _asked("get", kind, namespace, name)
        return _object(await self._ask("GET", paths.single(kind, namespace, name), asked), asked)

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "") -> "list[JsonObject]":
        """See Cluster."""
        return (await list_all(self._http, kind, namespace, labels)).items

    async def create(self, kind: Kind, body: JsonObject) -> JsonObject:
        """See Cluster."""
        metadata = body.get("metadata") or {}
        asked = _asked("create", kind, metadata.get("namespace"), metadata.get("name"))
        if kind.namespaced and not metadata.get("namespace"):
            raise Refused(f"{asked}: it must say in which namespace it is", 400)
        target = paths.collection(kind, metadata.get("namespace") or "") + paths.query(fieldManager=MANAGER)
        return _object(await self._ask("POST", target, asked, body), asked)

    async def check(self, kind: Kind, body: JsonObject) -> None:
        """Create an object for a trial, which stores nothing; Refused also for a field that is not known."""
        metadata = body.get("metadata") or {}
        asked = _asked("try", kind, metadata.get("namespace"), metadata.get("name"))
        wanted = paths.query(fieldManager=MANAGER, dryRun="All", fieldValidation="Strict")
        await self._ask("POST", paths.collection(kind, metadata.get("namespace") or "") + wanted, asked, body)

    async def apply(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """See Cluster."""
        return await self._apply(kind, body, "", manager)

    async def apply_status(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """See Cluster."""
        return await self._apply(kind, body, "status", manager)

    async def replace(self, kind: Kind, body: JsonObject) -> JsonObject:
        """See Cluster."""
        metadata = body.get("metadata") or {}
        asked = _asked("replace", kind, metadata.get("namespace"), metadata.get("name"))
        if not metadata.get("resourceVersion"):
            raise Conflict(f"{asked}: it does not say which version it replaces")
        target = paths.of(kind, body) + paths.query(fieldManager=MANAGER)
        return _object(await self._ask("PUT", target, asked, body), asked)

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", propagation: Propagation = "Background"
    ) -> None:
        """See Cluster."""
        options: JsonObject = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            target = paths.single(kind, namespace, name)
            await self._ask("DELETE", target, _asked("delete", kind, namespace, name), options)
        except NotFound:
            return

    async def log(self, namespace: str, pod: str, *, container: str = "", lines: int = 20) -> str:
        """See Cluster."""
        # The limit counts from the first of these lines, so it is far, and the end is cut from what comes.
        wanted = paths.query(tailLines=lines, limitBytes=_MOST_LOG, container=container)
        target = paths.single(POD, namespace, pod, "log") + wanted
        answer = await self._ask("GET", target, _asked("read the log of", POD, namespace, pod))
        return answer.body[-_LAST_OF_LOG:].decode(errors="replace")

    def reflect(self, kind: Kind, *, namespace: str = "", labels: str = "") -> Reflector:
        """See Cluster."""
        return Reflector(self._http, kind, namespace, labels, self._patience)

    async def _apply(self, kind: Kind, body: JsonObject, subresource: str, manager: str) -> JsonObject:
        metadata = body.get("metadata") or {}
        asked = _asked("apply", kind, metadata.get("namespace"), metadata.get("name"))
        told = {"apiVersion": kind.api_version, "kind": kind.name, **body}
        target = paths.of(kind, body, subresource) + paths.query(fieldManager=manager, force=True)
        return _object(await self._ask("PATCH", target, asked, told, APPLY), asked)

    async def _ask(
        self, method: str, target: str, asked: str, body: JsonObject | None = None, coding: str = "application/json"
    ) -> Answer:
        try:
            content = b"" if body is None else msgspec.json.encode(body)
            answer = await self._http.ask(method, target, content, coding)
        except TooLargeError as error:
            raise Unreachable(f"{asked}: {error}") from error
        if answer.status not in _SUCCESS:
            raise errors.failure(asked, answer)
        return answer


def _asked(verb: str, kind: Kind, namespace: str | None, name: str | None) -> str:
    place = f"{namespace}/" if namespace else ""
    return f"{verb} {kind.name} {place}{name}"


def _object(answer: Answer, asked: str) -> JsonObject:
    body = _decoded(answer, asked, JsonObject)
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or "name" not in metadata:
        raise Unreachable(f"{asked}: the answer is no object of Kubernetes")
    # Who owns which field is half of an object, and nobody here reads it.
    metadata.pop("managedFields", None)
    return body


def _decoded(answer: Answer, asked: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreachable(f"{asked}: the answer cannot be read: {error}") from error

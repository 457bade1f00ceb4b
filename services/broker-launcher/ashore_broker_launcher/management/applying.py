"""Configurations that come through the API: checked first, then applied through the port as anybody would."""

from typing import Final, Literal

import msgspec

from ashore.http.problems import Problem
from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    Cluster,
    ClusterError,
    Conflict,
    JsonObject,
    Key,
    NotFound,
    Refused,
    Unreachable,
)
from ashore_broker_launcher.desired.phases import as_dict
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from ashore_broker_launcher.management.views import manifest, shown
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item

APPLIER: Final = "ashore-api"
"""The field manager of configurations that come through the API."""
DEFAULT_NAMESPACE: Final = "default"
_FORGETS: Final = (
    "the dry-run launcher forgets it when it stops: to keep it, put it into a file of its folder of Configurations"
)
_FORBIDDEN: Final = 403
_WRITTEN: Final = ("generation", "labels", "annotations")
"""What is another one when something else than the status has changed."""


class Applied(msgspec.Struct, kw_only=True):
    """What became of a configuration that was applied."""

    namespace: str
    name: str
    result: Literal["created", "changed", "unchanged"]
    warnings: list[str] = []


class Applier:
    """Applies configurations."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def apply(self, body: JsonObject) -> Applied:
        """Make the configuration as the object says; raise Problem or ClusterError."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        self._refuse(body)
        cluster = self._parts.cluster
        before = await _found(cluster, (namespace, name))
        _refuse_other_handler(before, body)
        now = await cluster.apply(CONFIGURATION, manifest(body), manager=APPLIER)
        # Whoever applies it and asks for it at once finds it; and for who writes, the view has no news.
        self._parts.view.wrote(CONFIGURATION, now)
        self._parts.queue.add(Item("configuration", (namespace, name)))
        warnings = [*checks.warnings(body), *([_FORGETS] if isinstance(cluster, MemoryCluster) else [])]
        return Applied(namespace=namespace, name=name, result=_result(before, now), warnings=warnings)

    def _refuse(self, body: JsonObject) -> None:
        problems = checks.problems(body, self._parts.rules)
        own = self._parts.namespace
        if own and body["metadata"]["namespace"] != own:
            problems.append(f"metadata.namespace: this launcher looks at the namespace '{own}' only")
        if problems:
            raise Problem(
                422,
                f"the configuration {_name(body)} cannot be used: {'; '.join(problems)}",
                remedy="mend it; `ashore configuration explain FILE` says what it would do",
                errors=problems,
            )


def addressed(body: JsonObject, namespace: str = "", name: str = "") -> JsonObject:
    """The object with its namespace and name; raise Problem where it has none, or others than its address."""
    metadata = body.get("metadata", {})
    if not isinstance(metadata, dict):
        raise Problem(
            422, "the object's metadata is no map of names and values", remedy="give it `metadata: {name: …}`"
        )
    own = {"namespace": namespace or DEFAULT_NAMESPACE, "name": name, **{k: v for k, v in metadata.items() if v}}
    for field, wanted in (("namespace", namespace), ("name", name)):
        if not isinstance(own[field], str) or not own[field]:
            raise Problem(422, f"the object's metadata.{field} is no name", remedy=f"give it a {field}")
        if wanted and own[field] != wanted:
            raise Problem(
                422, f"the object is of the {field} '{own[field][:253]}', and was sent to '{wanted}'", remedy="use one"
            )
    return {**body, "metadata": own}


def problem_of(error: ClusterError) -> Problem:
    """What the cluster did not do, for whoever asked."""
    match error:
        case Unreachable():
            return Problem(503, str(error), remedy="ask again; `ashore doctor` says what keeps it away")
        case NotFound():
            return Problem(404, str(error), remedy="`ashore configuration list` and `instance list` say what there is")
        case Conflict():
            return Problem(409, str(error), remedy="somebody has changed it meanwhile: look at it, and ask again")
        case Refused() if error.status == _FORBIDDEN:
            return Problem(502, str(error), remedy="let the launcher do this: deploy/kubernetes has its roles")
        case Refused():
            return Problem(422, str(error), remedy="mend it, and ask again")
    return Problem(502, str(error), remedy="see the launcher's log")


async def _found(cluster: Cluster, key: Key) -> JsonObject | None:
    try:
        return await cluster.get(CONFIGURATION, *key)
    except NotFound:
        return None


def _refuse_other_handler(before: JsonObject | None, body: JsonObject) -> None:
    """Every device would be another one. A cluster refuses it too, in its own words."""
    if before is None:
        return
    old, new = _handler(before), _handler(body)
    if old != new:
        problem = f"spec.discoveryHandler.name is {old}, and cannot become {new}"
        raise Problem(
            422, f"{_name(body)}: {problem}", remedy="delete the configuration, and apply it again", errors=[problem]
        )


def _handler(body: JsonObject) -> str:
    return str(as_dict(as_dict(body.get("spec")).get("discoveryHandler")).get("name"))


def _name(body: JsonObject) -> str:
    return shown((body["metadata"]["namespace"], body["metadata"]["name"]))


def _result(before: JsonObject | None, now: JsonObject) -> Literal["created", "changed", "unchanged"]:
    """By what people write: the launcher's own status makes new versions of the object all the time."""
    if before is None:
        return "created"
    same = all(before["metadata"].get(name) == now["metadata"].get(name) for name in _WRITTEN)
    return "unchanged" if same else "changed"

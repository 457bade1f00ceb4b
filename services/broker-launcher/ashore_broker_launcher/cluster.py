"""The port to a cluster: what the launcher may ask of it, whatever answers.

Objects are plain JSON, as the API server has them: what users write must pass through word for word. Adapters:
`launchers.kubernetes` (a real API server) and `launchers.dry_run` (memory, which shows what would be applied). Both
pass the same contract.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol

import msgspec

JsonObject = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name; the namespace is empty where an object has none."""
MANAGER: Final = "ashore-broker-launcher"
"""Under this name the launcher owns fields of objects."""
Propagation = Literal["Background", "Foreground", "Orphan"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of object, by what the API server calls it."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True


CONFIGURATION: Final = Kind("akri.sh/v0", "Configuration", "configurations")
INSTANCE: Final = Kind("akri.sh/v0", "Instance", "instances")
POD: Final = Kind("v1", "Pod", "pods")
JOB: Final = Kind("batch/v1", "Job", "jobs")
SERVICE: Final = Kind("v1", "Service", "services")
NODE: Final = Kind("v1", "Node", "nodes", namespaced=False)
EVENT: Final = Kind("v1", "Event", "events")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")


class ClusterError(Exception):
    """The cluster did not do what was asked; the text says what, to which object, and what can be done."""


class Unreachable(ClusterError):  # noqa: N818 - named by the condition that callers wait out
    """The API server cannot be reached or is overloaded (429, 5xx): ask again, after `retry_seconds` if it says so."""

    def __init__(self, text: str, retry_seconds: float | None = None) -> None:
        super().__init__(text)
        self.retry_seconds = retry_seconds


class NotFound(ClusterError):  # noqa: N818 - named by the condition that callers act on
    """There is no such object, or no such kind."""


class Conflict(ClusterError):  # noqa: N818 - named by the condition that callers act on
    """Somebody else has changed, made or taken it meanwhile (409)."""


class Refused(ClusterError):  # noqa: N818 - named by what happened to the call
    """The API server will not do this until somebody changes something: forbidden (403) or invalid (400, 422)."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Change(msgspec.Struct, frozen=True):
    """An object has appeared (`before` is None), changed, or gone (`now` is None)."""

    before: JsonObject | None
    now: JsonObject | None


def unheard(_version: int) -> None:
    """Nobody wants to know."""


class Reflection(Protocol):
    """All objects of a kind as they are, kept up to date while `run` runs."""

    synced: asyncio.Event
    """Set once all that there was has been read; it stays set."""

    @property
    def objects(self) -> Mapping[Key, JsonObject]:
        """All of them, by namespace and name."""
        ...

    async def run(self, changed: Callable[[Change], None], listed: Callable[[int], None] = unheard) -> None:
        """Keep up to date, across lost connections, until cancelled; `changed` is called after each change.

        `listed` is called when all has been read anew, with the version of the list: what was written before that and
        is not among `objects` has gone, maybe without a change that could be told.
        """
        ...


class Cluster(Protocol):
    """What the launcher asks of a cluster. Every call may raise Unreachable or Refused."""

    async def kind(self, api_version: str, name: str) -> Kind:
        """The kind of objects that say this of themselves; NotFound where the cluster has none."""
        ...

    async def get(self, kind: Kind, namespace: str, name: str) -> JsonObject:
        """One object; NotFound."""
        ...

    async def list(self, kind: Kind, *, namespace: str = "", labels: str = "") -> "list[JsonObject]":
        """All objects of a kind: of all namespaces or one, and with these labels only (`a=b,c=d`)."""
        ...

    async def create(self, kind: Kind, body: JsonObject) -> JsonObject:
        """Make an object; Conflict where there is one of that name."""
        ...

    async def apply(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """Make the object have these fields, whoever owned them before (server-side apply); it is made if absent.

        A `metadata.uid` in the body is a condition: Conflict where that object is another one or gone.
        """
        ...

    async def apply_status(self, kind: Kind, body: JsonObject, *, manager: str = MANAGER) -> JsonObject:
        """As `apply`, for the status; NotFound where the object is gone."""
        ...

    async def replace(self, kind: Kind, body: JsonObject) -> JsonObject:
        """Put the object in place of the one with its `metadata.resourceVersion`; Conflict where that is another."""
        ...

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str = "", propagation: Propagation = "Background"
    ) -> None:
        """Delete an object, and with it what it owns. It is well if it is gone; Conflict where it has another uid."""
        ...

    async def log(self, namespace: str, pod: str, *, container: str = "", lines: int = 20) -> str:
        """The last lines that a pod has written, a few KiB at most; NotFound, or Refused where there are none yet."""
        ...

    def reflect(self, kind: Kind, *, namespace: str = "", labels: str = "") -> Reflection:
        """Follow all objects of a kind: of all namespaces or one, and with these labels only."""
        ...

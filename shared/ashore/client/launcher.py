"""The broker launcher's REST API."""

from typing import Final

from ashore.client.connection import Connection, Query
from ashore.client.launcher_model import (
    Applied,
    ConfigurationDetail,
    ConfigurationExplanation,
    ConfigurationPage,
    InstanceDetail,
    InstancePage,
    LauncherState,
    Manifest,
    ObjectPage,
    WorkloadLog,
    WorkloadPage,
)

LINES: Final = 20


class LauncherClient:
    """What the broker launcher can be asked; every call may raise ClientError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def state(self) -> LauncherState:
        """How the launcher is."""
        return await self.connection.get("/launcher", LauncherState)

    async def configurations(
        self, *, namespace: str = "", limit: int = 50, cursor: str | None = None
    ) -> ConfigurationPage:
        """A part of the list of configurations."""
        query = _query(limit, cursor, namespace=namespace)
        return await self.connection.get("/configurations", ConfigurationPage, query)

    async def configuration(self, namespace: str, name: str) -> ConfigurationDetail:
        """One configuration."""
        return await self.connection.get(f"/configurations/{namespace}/{name}", ConfigurationDetail)

    async def apply(self, namespace: str, name: str, manifest: Manifest) -> Applied:
        """Make or change a configuration; what is wrong with it is in ClientError's `errors`."""
        return await self.connection.send("PUT", f"/configurations/{namespace}/{name}", manifest, Applied)

    async def delete(self, namespace: str, name: str) -> None:
        """Delete a configuration, and all it has started."""
        await self.connection.order("DELETE", f"/configurations/{namespace}/{name}")

    async def explain(self, manifest: Manifest) -> ConfigurationExplanation:
        """What would become of a configuration, which need not exist."""
        return await self.connection.send("POST", "/configurations/explain", manifest, ConfigurationExplanation)

    async def instances(
        self, *, namespace: str = "", configuration: str = "", limit: int = 50, cursor: str | None = None
    ) -> InstancePage:
        """A part of the list of instances."""
        query = _query(limit, cursor, namespace=namespace, configuration=configuration)
        return await self.connection.get("/instances", InstancePage, query)

    async def instance(self, namespace: str, name: str) -> InstanceDetail:
        """One instance."""
        return await self.connection.get(f"/instances/{namespace}/{name}", InstanceDetail)

    async def rerun(self, namespace: str, name: str) -> InstanceDetail:
        """Have the jobs of an instance run again."""
        return await self.connection.send("POST", f"/instances/{namespace}/{name}/rerun", None, InstanceDetail)

    async def workloads(
        self, *, namespace: str = "", configuration: str = "", limit: int = 50, cursor: str | None = None
    ) -> WorkloadPage:
        """A part of the list of workloads."""
        query = _query(limit, cursor, namespace=namespace, configuration=configuration)
        return await self.connection.get("/workloads", WorkloadPage, query)

    async def log(self, namespace: str, name: str, *, lines: int = LINES) -> WorkloadLog:
        """The last lines of a pod, or of the latest pod of a job."""
        return await self.connection.get(f"/workloads/{namespace}/{name}/log", WorkloadLog, {"lines": lines})

    async def objects(
        self, *, kind: str = "", namespace: str = "", limit: int = 50, cursor: str | None = None
    ) -> ObjectPage:
        """A part of what a dry run has applied, whole objects."""
        return await self.connection.get("/objects", ObjectPage, _query(limit, cursor, kind=kind, namespace=namespace))


def _query(limit: int, cursor: str | None, **filters: str) -> Query:
    return {"limit": limit, "cursor": cursor, **{name: text for name, text in filters.items() if text}}

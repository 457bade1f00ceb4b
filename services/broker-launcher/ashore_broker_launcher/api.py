"""The broker launcher's management API: configurations, instances, and what serves them.

What it shows is what the launcher itself has in view, and what it changes goes through the port: `kubectl` does the
same, and neither knows of the other. Of all pods in a cluster only the log of those is read that the launcher made.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from ashore.http.auth import Scope
from ashore.http.problems import Problem
from ashore.http.routes import Handler, Method, Request, Route
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    EVENT,
    INSTANCE,
    LEASE,
    NODE,
    ClusterError,
    JsonObject,
    Key,
    Refused,
)
from ashore_broker_launcher.desired.phases import as_dict
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from ashore_broker_launcher.management.answers import (
    AgentView,
    ConfigurationPage,
    InstancePage,
    LauncherView,
    LogView,
    ObjectPage,
    WorkloadPage,
)
from ashore_broker_launcher.management.applying import Applied, Applier, addressed, problem_of
from ashore_broker_launcher.management.explaining import ConfigurationExplanation, Explainer
from ashore_broker_launcher.management.finding import find, pod_of, refuse_without_jobs, why_unusable
from ashore_broker_launcher.management.paging import InNamespace, Lines, OfConfiguration, OfKind, page_of, within
from ashore_broker_launcher.management.views import (
    ConfigurationDetail,
    InstanceDetail,
    configuration_detail,
    configuration_view,
    instance_detail,
    instance_view,
    shown,
    workload_views,
)
from ashore_broker_launcher.model import RERUN
from ashore_broker_launcher.objects import key_of, uid_of
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item

RERUNNER: Final = "ashore-rerun"
"""The field manager of the annotation by which jobs run again."""
_EXPLAIN: Final = "Say what a configuration would do, and apply nothing"
_NOT_SHOWN: Final = frozenset({CONFIGURATION, EVENT, LEASE, NODE})
"""What the dry-run launcher holds, and did not apply."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Api:
    """The handlers."""

    def __init__(self, parts: Parts, leads: Callable[[], bool]) -> None:
        self._parts = parts
        self._leads = leads
        self._explainer = Explainer(parts)
        self._applier = Applier(parts)

    def routes(self) -> list[Route]:
        """Every operation."""
        one, instance = "/configurations/{namespace}/{name}", "/instances/{namespace}/{name}"
        explain, logs = "/configurations/explain", "/workloads/{namespace}/{name}/log"
        whole, gone = JsonObject, 204
        return [
            _route("GET", "/launcher", self.launcher, "Show how the launcher is", LauncherView),
            _route(
                "GET",
                "/configurations",
                self.configurations,
                "List configurations",
                ConfigurationPage,
                query=InNamespace,
            ),
            _route("POST", explain, self.explain, _EXPLAIN, ConfigurationExplanation, request=whole, scope="read"),
            _route("GET", one, self.configuration, "Show a configuration", ConfigurationDetail),
            _route("PUT", one, self.apply, "Make or change a configuration", Applied, request=whole),
            _route("DELETE", one, self.delete, "Delete a configuration, and all it has started", status=gone),
            _route("GET", "/instances", self.instances, "List instances", InstancePage, query=OfConfiguration),
            _route("GET", instance, self.instance, "Show an instance", InstanceDetail),
            _route("POST", f"{instance}/rerun", self.rerun, "Run its jobs again", InstanceDetail),
            _route(
                "GET", "/workloads", self.workloads, "List what runs for instances", WorkloadPage, query=OfConfiguration
            ),
            _route("GET", logs, self.log, "Show its last lines", LogView, query=Lines),
            _route("GET", "/objects", self.objects, "Show what a dry run has applied", ObjectPage, query=OfKind),
        ]

    async def launcher(self, _request: Request) -> LauncherView:
        """How the launcher is, and whether the cluster can be used: it is asked now."""
        parts = self._parts
        lost = parts.presence.lost(parts.clock())
        return LauncherView(
            launcher="dry-run" if isinstance(parts.cluster, MemoryCluster) else "kubernetes",
            site=parts.site,
            namespace=parts.namespace,
            leads=self._leads(),
            queue=len(parts.queue),
            configurations=sum(1 for _ in parts.view.all(CONFIGURATION)),
            instances=sum(1 for _ in parts.view.all(INSTANCE)),
            cluster=await why_unusable(parts.cluster),
            agents=[AgentView(node=node, lost=node in lost) for node in parts.presence.agents()],
        )

    async def configurations(self, request: Request) -> ConfigurationPage:
        """A page of configurations."""
        asked = request.filters(InNamespace)
        found = (body for body in self._parts.view.all(CONFIGURATION) if within(asked.namespace, body))
        items, following = page_of(found, key_of, asked)
        return ConfigurationPage([configuration_view(body) for body in items], following)

    async def configuration(self, request: Request) -> ConfigurationDetail:
        """One configuration."""
        return configuration_detail(find(self._parts.view, CONFIGURATION, _key(request)))

    async def explain(self, request: Request) -> ConfigurationExplanation:
        """What would become of a configuration."""
        return self._explainer.explain(addressed(request.payload(dict)))

    async def apply(self, request: Request) -> Applied:
        """Make or change a configuration."""
        namespace, name = _key(request)
        applied = await self._applier.apply(addressed(request.payload(dict), namespace, name))
        log.info("configuration applied", configuration=shown((namespace, name)), by=request.principal.name)
        return applied

    async def delete(self, request: Request) -> None:
        """Delete a configuration; its instances and their brokers go with it."""
        key = _key(request)
        body = find(self._parts.view, CONFIGURATION, key)
        await self._parts.cluster.delete(CONFIGURATION, *key, uid=uid_of(body))
        self._parts.view.removed(CONFIGURATION, body)
        # One that goes as soon as it has come may never be followed, and is taken back from agents all the same.
        self._parts.queue.add(Item("configuration", key))
        log.info("configuration deleted", configuration=shown(key), by=request.principal.name)

    async def instances(self, request: Request) -> InstancePage:
        """A page of instances."""
        asked = request.filters(OfConfiguration)
        items, following = page_of(self._instances(asked), key_of, asked)
        return InstancePage([instance_view(body) for body in items], following)

    async def instance(self, request: Request) -> InstanceDetail:
        """One instance."""
        return instance_detail(find(self._parts.view, INSTANCE, _key(request)))

    async def rerun(self, request: Request) -> InstanceDetail:
        """Have the jobs of an instance run again."""
        key = _key(request)
        body = find(self._parts.view, INSTANCE, key)
        refuse_without_jobs(self._parts.view, body)
        at = datetime.fromtimestamp(self._parts.clock(), UTC).isoformat(timespec="milliseconds")
        metadata = {"namespace": key[0], "name": key[1], "uid": uid_of(body), "annotations": {RERUN: at}}
        order = {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "metadata": metadata}
        now = await self._parts.cluster.apply(INSTANCE, order, manager=RERUNNER)
        log.info("jobs run again", instance=shown(key), by=request.principal.name)
        return instance_detail(now)

    async def workloads(self, request: Request) -> WorkloadPage:
        """A page of workloads."""
        asked, now = request.filters(OfConfiguration), self._parts.clock()
        found = (one for body in self._instances(asked) for one in workload_views(self._parts.view, body, now))
        items, following = page_of(found, lambda one: (one.namespace, one.kind, one.name), asked)
        return WorkloadPage(items, following)

    async def log(self, request: Request) -> LogView:
        """The last lines of a pod, or of the latest pod of a job."""
        namespace, name = _key(request)
        pod = pod_of(self._parts.view, (namespace, name))
        try:
            text = await self._parts.cluster.log(namespace, pod, lines=request.filters(Lines).lines)
        except Refused as error:
            raise Problem(409, str(error), remedy="`ashore workload list` says whether it has begun") from error
        return LogView(namespace=namespace, pod=pod, log=text)

    async def objects(self, request: Request) -> ObjectPage:
        """What the dry-run launcher has applied."""
        asked, cluster = request.filters(OfKind), self._parts.cluster
        if not isinstance(cluster, MemoryCluster):
            raise Problem(
                409, "this launcher applies to a cluster, which has the objects", remedy="use kubectl get, or -o yaml"
            )
        found = (
            {"apiVersion": kind.api_version, "kind": kind.name, **body}
            for kind, body in cluster.everything()
            if kind not in _NOT_SHOWN and asked.kind in ("", kind.name) and within(asked.namespace, body)
        )
        items, following = page_of(found, lambda one: (one["kind"], *key_of(one)), asked)
        return ObjectPage(items, following)

    def _instances(self, asked: OfConfiguration) -> Iterable[JsonObject]:
        for body in self._parts.view.all(INSTANCE):
            configuration = as_dict(body.get("spec")).get("configurationName")
            if within(asked.namespace, body) and asked.configuration in ("", configuration):
                yield body


def _route(
    method: Method,
    path: str,
    handler: Handler,
    summary: str,
    response: type[Any] | None = None,
    *,
    request: Any = None,
    query: type[Any] | None = None,
    scope: Scope | None = None,
    status: int = 200,
) -> Route:
    return Route(
        method,
        f"/api/v1{path}",
        _guarded(handler),
        summary,
        scope or ("read" if method == "GET" else "write"),
        request=request,
        response=response,
        query=query,
        status=status,
        tags=[path.split("/")[1]],
    )


def _guarded(handler: Handler) -> Handler:
    """What the cluster refuses is a problem with a remedy."""

    async def guarded(request: Request) -> object:
        try:
            return await handler(request)
        except ClusterError as error:
            raise problem_of(error) from error

    return guarded


def _key(request: Request) -> Key:
    return request.path_params["namespace"], request.path_params["name"]

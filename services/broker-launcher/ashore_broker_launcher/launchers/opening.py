"""Which launcher: a cluster's, or the one that only shows."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import structlog
import yaml

from ashore.service import StartError
from ashore_broker_launcher.admission.trial import Checker
from ashore_broker_launcher.cluster import CONFIGURATION, Cluster, ClusterError, JsonObject, Kind
from ashore_broker_launcher.config import BrokerLauncherSettings
from ashore_broker_launcher.crds.keeping import Definitions
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster

LEASE_NAME: Final = "ashore-broker-launcher"
_POLL_SECONDS: Final = 1.0
_LARGEST_FILE: Final = 1024 * 1024

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

Lead = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does some work whenever this replica leads."""


class Opened(NamedTuple):
    """A launcher: its cluster, how replicas agree on who leads, and what it must do beside."""

    name: str
    cluster: Cluster
    lead: Lead
    leads: Callable[[], bool]
    ready: Callable[[], Awaitable[None]]
    """Returns once the cluster can be used."""
    check: Callable[[], Awaitable[None]]
    """Raises ClusterError as long as it cannot."""
    checker: Checker | None = None
    """Who can be asked whether a broker would be taken."""
    tasks: tuple[Callable[[], Awaitable[None]], ...] = ()


@asynccontextmanager
async def opened(settings: BrokerLauncherSettings, replica: str) -> AsyncIterator[Opened]:
    """The launcher that the settings ask for, for the length of a block; raise StartError."""
    if settings.launcher == "dry-run":
        yield _dry_run(settings)
        return
    # A machine without a cluster need not load what speaks to one.
    from ashore_broker_launcher.launchers.kubernetes.access import NoClusterError, find  # noqa: PLC0415

    try:
        access = find(settings.kubeconfig)
    except NoClusterError as error:
        if settings.launcher == "kubernetes" or settings.kubeconfig is not None:
            raise StartError(str(error)) from error
        log.info("no cluster is found, so this only shows what it would apply", reason=str(error))
        yield _dry_run(settings)
        return
    from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster  # noqa: PLC0415
    from ashore_broker_launcher.launchers.kubernetes.lease import Leadership  # noqa: PLC0415

    async with KubernetesCluster(access) as cluster:
        leadership = Leadership(cluster, settings.lease_namespace, LEASE_NAME, replica)
        definitions = Definitions(cluster, install=settings.install_crds)
        log.info("cluster found", host=access.host)
        leads = functools.partial(getattr, leadership, "leads")
        yield Opened("kubernetes", cluster, leadership.run, leads, definitions.wait, definitions.check, cluster)


def _dry_run(settings: BrokerLauncherSettings) -> Opened:
    cluster = MemoryCluster(_show)
    folder = settings.manifests
    tasks = (lambda: _read_folder(cluster, folder),) if folder is not None else ()
    return Opened("dry-run", cluster, lambda work: work(), lambda: True, _at_once, _at_once, tasks=tasks)


async def _at_once() -> None:
    """There is nothing to wait for."""


def _show(verb: str, kind: Kind, body: JsonObject) -> None:
    if kind.name != "Event":
        metadata = body["metadata"]
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        log.info("would be done in a cluster", verb=verb, kind=kind.name, name=name)


async def _read_folder(cluster: MemoryCluster, folder: Path) -> None:
    """Have the Configurations of a folder's files, as they change."""
    before: dict[str, JsonObject] = {}
    told = ""
    while True:
        try:
            found = {
                f"{one['metadata'].get('namespace', 'default')}/{one['metadata']['name']}": one for one in _in(folder)
            }
            told = ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            if str(error) != told:
                told = str(error)
                log.warning("the folder of configurations cannot be read", folder=str(folder), reason=told)
            found = before
        for gone in before.keys() - found.keys():
            await cluster.delete(CONFIGURATION, *gone.split("/", 1))
        for name, body in found.items():
            if before.get(name) != body:
                await _apply(cluster, body)
        before = found
        await asyncio.sleep(_POLL_SECONDS)


async def _apply(cluster: MemoryCluster, body: JsonObject) -> None:
    try:
        await cluster.apply(CONFIGURATION, body, manager="file")
    except ClusterError as error:
        log.warning("configuration left out", reason=str(error))


def _in(folder: Path) -> list[JsonObject]:
    """All Configurations in the files of a folder."""
    found: list[JsonObject] = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError(f"{path.name} is larger than {_LARGEST_FILE} bytes")
        documents = [one for one in yaml.safe_load_all(path.read_text()) if one]
        found += [one for one in documents if one.get("kind") == CONFIGURATION.name]
    return found

"""The clusters that pass the contract of the launcher's port: a real one, and that in memory."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ashore.bus.nats import NatsBus
from ashore_broker_launcher.cluster import Cluster
from ashore_broker_launcher.crds.install import ensure
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from tests.kube.api import Api
from tests.kube.users import namespace
from tests.launcher_kit import World, world


class Setup(NamedTuple):
    """A cluster of either kind, and a namespace of the test's own in it."""

    kind: str
    cluster: Cluster
    namespace: str


@pytest.fixture(params=["memory", "kubernetes"])
async def setup(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setup]:
    """Make an empty namespace in a cluster of either kind."""
    if request.param == "memory":
        yield Setup("memory", MemoryCluster(), "place")
        return
    # By name, since whoever tests memory alone needs no control plane.
    access = request.getfixturevalue("kube_cluster").access
    here = from_files([access.write(tmp_path / "kubeconfig")])
    async with Api(access) as api, namespace(api) as place, KubernetesCluster(here) as cluster:
        await ensure(cluster, install=True)
        yield Setup("kubernetes", cluster, place)


@pytest.fixture
def cluster(setup: Setup) -> Cluster:
    """Give the cluster alone."""
    return setup.cluster


@pytest.fixture
def place(setup: Setup) -> str:
    """Give the namespace alone."""
    return setup.namespace


@pytest.fixture
async def made(setup: Setup, nats_bus: NatsBus) -> AsyncIterator[World]:
    """Make a world on a real bus."""
    async with world(nats_bus, setup.cluster, setup.namespace) as found:
        yield found

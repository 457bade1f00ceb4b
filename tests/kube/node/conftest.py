"""A whole node for tests that ASHORE_TEST_NODE=1 asks for: containerd and a kubelet, on the control plane of the tests.

It needs root, runc and Go. Who asks for it and cannot have it is told so by a failure.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_broker_launcher.cluster import POD
from ashore_broker_launcher.crds.install import ensure
from tests.kube.adapter import adapter
from tests.kube.api import Api
from tests.kube.binaries import ToolMissingError
from tests.kube.control_plane import Cluster
from tests.kube.fixtures import own
from tests.kube.node import containerd, kubelet
from tests.kube.node.kubelet import NODE
from tests.kube.node.pods import at_work
from tests.kube.node.whole import WholeNode, device_plugin
from tests.kube.processes import Program
from tests.launcher_kit import World, world


@pytest.fixture(scope="session")
def node_wanted() -> None:
    """Skip unless somebody has asked, and fail where what they ask for cannot be."""
    if os.environ.get("ASHORE_TEST_NODE") != "1":
        pytest.skip("a whole node is only run where ASHORE_TEST_NODE=1 asks for it")
    if os.geteuid() != 0:
        pytest.fail("a whole node can only be run by root")
    try:
        containerd.prepare()
        kubelet.build()
    except ToolMissingError as error:
        pytest.fail(str(error))


@pytest.fixture
def whole_node(node_wanted: None, kube_cluster: Cluster, controllers: None, scheduler: None) -> Iterator[WholeNode]:
    """Run a node that belongs to the control plane of the tests."""
    with WholeNode(own(kube_cluster)) as node:
        yield node


@pytest.fixture
def plugin_settings() -> dict[str, str]:
    """Say what the device plugin is told, beside where it is: nothing, but where a module says otherwise."""
    return {}


@pytest.fixture
async def plugin(
    whole_node: WholeNode,
    kube: Api,
    nats_bus: NatsBus,
    nats_server: EmbeddedServer,
    plugin_settings: dict[str, str],
) -> AsyncIterator[Program]:
    """Run the device plugin on that node, once it is ready."""
    await whole_node.ready(kube)
    with device_plugin(whole_node, nats_server, **plugin_settings) as program:
        yield program
    await kube.delete(f"/api/v1/nodes/{NODE}")


@pytest.fixture
async def made(
    plugin: Program, kube: Api, kube_namespace: str, nats_bus: NatsBus, tmp_path: Path
) -> AsyncIterator[World]:
    """Make a launcher's world on that node."""
    async with adapter(kube.access, tmp_path) as cluster:
        await ensure(cluster, install=True)
        async with world(nats_bus, cluster, kube_namespace) as found:
            yield found
        # While there is still a kubelet to stop them.
        await kube.delete(f"/api/v1/namespaces/{kube_namespace}/pods")
        await found.count(POD, 0)


@pytest.fixture
async def launched(made: World) -> AsyncIterator[World]:
    """Have the launcher at work."""
    async with at_work(made):
        yield made

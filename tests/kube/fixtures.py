"""Fixtures of a real Kubernetes: `tests/conftest.py` has them for every test.

`kube_cluster` starts once for the session; a test asks for `controllers` or `scheduler` where it needs them. `kube`
talks to the cluster as its admin, `kube_namespace` is a namespace of the test's own. What a test may break, it asks for
as `control_plane`: that is never somebody's cluster. In CI a control plane that is missing is a failure; elsewhere a
skip, with its reason.
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.kube import binaries
from tests.kube.api import Api, from_kubeconfig, kubeconfig_of_the_environment
from tests.kube.control_plane import Cluster, ControlPlane, Given
from tests.kube.users import namespace


@pytest.fixture(scope="session")
def kube_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a control plane, or take the cluster that KUBECONFIG names."""
    named = kubeconfig_of_the_environment()
    if named is not None:
        yield Given(from_kubeconfig(named))
        return
    try:
        found = binaries.find()
    except binaries.ToolMissingError as error:
        _missing(str(error))
    with ControlPlane(found, tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def control_plane(kube_cluster: Cluster) -> ControlPlane:
    """Give the control plane to a test that kills parts of it."""
    if not isinstance(kube_cluster, ControlPlane):
        pytest.skip("nobody kills parts of the cluster that KUBECONFIG names")
    return kube_cluster


@pytest.fixture
def controllers(kube_cluster: Cluster) -> None:
    """Have garbage collected, Jobs run, service accounts made and so on."""
    reason = kube_cluster.run_controllers()
    if reason:
        _missing(reason)


@pytest.fixture
def scheduler(kube_cluster: Cluster) -> None:
    """Have Pods bound to nodes."""
    reason = kube_cluster.run_scheduler()
    if reason:
        _missing(reason)


@pytest.fixture
async def kube(kube_cluster: Cluster) -> AsyncIterator[Api]:
    """Talk to the cluster as its admin."""
    async with Api(kube_cluster.access) as api:
        yield api


@pytest.fixture
async def kube_namespace(kube: Api) -> AsyncIterator[str]:
    """Make a namespace in which Pods can be, with or without controllers."""
    async with namespace(kube) as name:
        yield name


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

"""A fixture for tests here: a control plane of a module's own, whose definitions and rights nobody else uses."""

from collections.abc import Iterator

import pytest

from tests.kube.binaries import find
from tests.kube.control_plane import Cluster, ControlPlane


@pytest.fixture(scope="module")
def bare(kube_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run it, without controllers."""
    if not isinstance(kube_cluster, ControlPlane):
        pytest.skip("nobody changes definitions and rights of the cluster that KUBECONFIG names")
    with ControlPlane(find(), tmp_path_factory.mktemp("bare")) as running:
        yield running

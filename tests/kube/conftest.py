"""A fixture for tests here: a control plane of a module's own, whose definitions and rights nobody else uses."""

from collections.abc import Iterator

import pytest

from tests.kube.control_plane import Cluster, ControlPlane
from tests.kube.fixtures import own


@pytest.fixture(scope="module")
def bare(kube_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Run it, without controllers."""
    with ControlPlane(own(kube_cluster).binaries, tmp_path_factory.mktemp("bare")) as running:
        yield running

"""Fixtures of a real Kubernetes: `tests/conftest.py` has them for every test.

`kube_cluster` starts once for the session, and a line at the end of the run says which it was; a test asks for
`controllers` or `scheduler` where it needs them. `kube` talks to the cluster as its admin, `kube_namespace` is a
namespace of the test's own. What a test may break, and what has to reach a server of the test on loopback, it asks for
as `control_plane`: that is never somebody's cluster, nor k3s, which has no parts and a network of its own. In CI what
is missing is a failure; elsewhere a skip, with its reason, unless somebody has asked for just that.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from tests.kube import binaries
from tests.kube.api import Api, from_kubeconfig
from tests.kube.choosing import ASKED, BackEnd, choose
from tests.kube.control_plane import Cluster, ControlPlane, Given
from tests.kube.users import namespace

_TOLD = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def kube_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a control plane, or take the cluster that KUBECONFIG names."""
    folder = tmp_path_factory.mktemp("kube")
    with ExitStack() as ending:
        try:
            chosen = choose(os.environ, lambda found: _begun(found, folder), binaries.release(), ending)
        except binaries.ToolMissingError as error:
            _missing(str(error), asked=bool(os.environ.get(ASKED)))
        request.config.stash[_TOLD] = chosen.told
        yield chosen.cluster


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say against which Kubernetes tests ran, and why."""
    if _TOLD in config.stash:
        terminalreporter.write_line(f"Kubernetes: {config.stash[_TOLD]}")


@pytest.fixture
def control_plane(kube_cluster: Cluster) -> ControlPlane:
    """Give the control plane to a test that kills parts of it, or has it ask kubelets and webhooks on loopback."""
    return own(kube_cluster)


def own(cluster: Cluster) -> ControlPlane:
    """The control plane whose parts are ours, on our loopback, to kill or to add to; else the test is skipped."""
    if isinstance(cluster, Given):
        pytest.skip("nobody touches the parts of the cluster that KUBECONFIG names")
    if not isinstance(cluster, ControlPlane):
        _missing(
            f"k3s is all of a piece, and on no loopback of ours, as this test needs it: make kube, and {ASKED}=built"
        )
    return cluster


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


def _begun(back_end: BackEnd, folder: Path) -> AbstractContextManager[Cluster]:
    match back_end:
        case BackEnd.GIVEN:
            return nullcontext(Given(from_kubeconfig(Path(os.environ["KUBECONFIG"]))))
        case BackEnd.ASSETS:
            return ControlPlane(binaries.brought(Path(os.environ["KUBEBUILDER_ASSETS"])), folder)
        case BackEnd.BUILT:
            return ControlPlane(binaries.built(), folder)
        case BackEnd.K3S:
            # Docker's client takes a quarter of a second, which tests without Kubernetes need not wait for.
            from tests.kube.k3s import K3s

            return K3s(folder)


def _missing(reason: str, *, asked: bool = False) -> NoReturn:
    if asked or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)

"""Which Kubernetes the tests run against.

In this order: the cluster that KUBECONFIG names; else the programs in the folder KUBEBUILDER_ASSETS; else k3s where
Docker can run it; else the control plane that `make kube` has built. ASHORE_TEST_KUBERNETES=k3s or built asks for one
of the last two, whatever else there is.

How each begins is for whoever asks; here is only which, and in what words it is told.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from enum import StrEnum
from typing import Final, NamedTuple

from tests.kube.binaries import ToolMissingError
from tests.kube.control_plane import Cluster

ASKED: Final = "ASHORE_TEST_KUBERNETES"


class BackEnd(StrEnum):
    """Where a cluster for tests comes from."""

    GIVEN = "the cluster that KUBECONFIG names"
    ASSETS = "the programs in KUBEBUILDER_ASSETS"
    K3S = "k3s in a container"
    BUILT = "built here"


_BY_WORD: Final = {"k3s": BackEnd.K3S, "built": BackEnd.BUILT}


class Chosen(NamedTuple):
    """A cluster that runs, and a line for people about it."""

    cluster: Cluster
    told: str


def candidates(environment: Mapping[str, str]) -> list[BackEnd]:
    """What may be tried, the best first; what somebody has asked for stands alone."""
    asked = environment.get(ASKED)
    if asked:
        if asked not in _BY_WORD:
            raise ToolMissingError(f"{ASKED} is {asked!r}, and can be {' or '.join(_BY_WORD)}")
        return [_BY_WORD[asked]]
    if environment.get("KUBECONFIG"):
        return [BackEnd.GIVEN]
    if environment.get("KUBEBUILDER_ASSETS"):
        return [BackEnd.ASSETS]
    return [BackEnd.K3S, BackEnd.BUILT]


def choose(
    environment: Mapping[str, str],
    begin: Callable[[BackEnd], AbstractContextManager[Cluster]],
    version: str,
    ending: ExitStack,
) -> Chosen:
    """Begin the first that can be had, until `ending`; raise ToolMissingError with all reasons where there is none."""
    refused: list[str] = []
    for back_end in candidates(environment):
        try:
            cluster = ending.enter_context(begin(back_end))
        except ToolMissingError as error:
            refused.append(str(error))
        else:
            return Chosen(cluster, _told(back_end, version, refused))
    raise ToolMissingError("; ".join(refused))


def _told(back_end: BackEnd, version: str, refused: list[str]) -> str:
    # Of what is given only its owner knows the version.
    known = f", {version}" if back_end in {BackEnd.K3S, BackEnd.BUILT} else ""
    why = f" ({'; '.join(refused)})" if refused else ""
    return f"{back_end}{known}{why}"

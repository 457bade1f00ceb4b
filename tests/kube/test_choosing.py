"""Which Kubernetes the tests take, and how soon they know whether Docker can give them one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.kube.api import Access
from tests.kube.binaries import ToolMissingError
from tests.kube.choosing import BackEnd, Chosen, candidates, choose
from tests.kube.control_plane import Cluster, Given
from tests.kube.images import lacking
from tests.kube.scripted_docker import Docker, pulled, silent

IMAGE = "example/k3s:v1"
PATIENCE = 60.0


class Offered:
    """What can be had, and what was begun and ended of it."""

    def __init__(self, **missing: str) -> None:
        self._missing = {BackEnd[name]: reason for name, reason in missing.items()}
        self.log: list[str] = []

    @contextmanager
    def begin(self, back_end: BackEnd) -> Iterator[Cluster]:
        self.log.append(f"try {back_end.name}")
        if back_end in self._missing:
            raise ToolMissingError(self._missing[back_end])
        yield Given(Access(back_end.name, ""))
        self.log.append(f"end {back_end.name}")

    def chosen(self, environment: Mapping[str, str]) -> Chosen:
        with ExitStack() as ending:
            return choose(environment, self.begin, "v1.2.3", ending)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [BackEnd.K3S, BackEnd.BUILT]),
        ({"KUBECONFIG": "", "KUBEBUILDER_ASSETS": "", "ASHORE_TEST_KUBERNETES": ""}, [BackEnd.K3S, BackEnd.BUILT]),
        ({"KUBEBUILDER_ASSETS": "a"}, [BackEnd.ASSETS]),
        ({"KUBECONFIG": "c", "KUBEBUILDER_ASSETS": "a"}, [BackEnd.GIVEN]),
        ({"KUBECONFIG": "c", "ASHORE_TEST_KUBERNETES": "built"}, [BackEnd.BUILT]),
        ({"KUBEBUILDER_ASSETS": "a", "ASHORE_TEST_KUBERNETES": "k3s"}, [BackEnd.K3S]),
    ],
)
def test_what_stands_in_the_environment_says_what_is_tried(
    environment: dict[str, str], expected: list[BackEnd]
) -> None:
    assert candidates(environment) == expected


def test_nobody_gets_another_kubernetes_than_the_one_they_asked_for() -> None:
    with pytest.raises(ToolMissingError, match="ASHORE_TEST_KUBERNETES is 'k3d', and can be k3s or built"):
        candidates({"ASHORE_TEST_KUBERNETES": "k3d"})
    offered = Offered(K3S="no Docker engine answers")
    with pytest.raises(ToolMissingError, match=r"^no Docker engine answers$"):
        offered.chosen({"ASHORE_TEST_KUBERNETES": "k3s"})
    assert offered.log == ["try K3S"]


def test_the_first_that_can_be_had_is_taken_and_ended() -> None:
    offered = Offered()
    chosen = offered.chosen({})
    assert (chosen.cluster.access.url, chosen.told) == ("K3S", "k3s in a container, v1.2.3")
    assert offered.log == ["try K3S", "end K3S"]


def test_why_the_better_one_was_not_taken_is_told() -> None:
    offered = Offered(K3S="no Docker engine answers")
    chosen = offered.chosen({})
    assert (chosen.cluster.access.url, chosen.told) == ("BUILT", "built here, v1.2.3 (no Docker engine answers)")
    assert offered.log == ["try K3S", "try BUILT", "end BUILT"]


def test_where_there_is_none_all_reasons_are_told() -> None:
    with pytest.raises(ToolMissingError, match=r"^no Docker engine answers; nothing is built$"):
        Offered(K3S="no Docker engine answers", BUILT="nothing is built").chosen({})


def test_a_cluster_that_somebody_named_is_told_without_a_version_that_we_do_not_know() -> None:
    assert Offered().chosen({"KUBECONFIG": "c"}).told == "the cluster that KUBECONFIG names"


def test_where_no_engine_answers_that_is_the_reason(tmp_path: Path) -> None:
    reason = lacking([IMAGE], reaching(f"unix://{tmp_path}/none.sock", tmp_path), PATIENCE)
    assert reason == "no Docker engine answers"


def test_an_image_that_is_there_is_not_pulled(tmp_path: Path) -> None:
    with Docker(images=[IMAGE]) as docker:
        assert lacking([IMAGE], reaching(docker.url, tmp_path), PATIENCE) == ""
        assert docker.asked_for == []


def test_an_image_that_is_not_there_is_pulled(tmp_path: Path) -> None:
    with Docker(images=["example/other:v1"], pull=pulled) as docker:
        assert lacking(["example/other:v1", IMAGE], reaching(docker.url, tmp_path), PATIENCE) == ""
        assert docker.asked_for == [IMAGE]


@pytest.mark.parametrize(("status", "key"), [(404, "message"), (200, "error")], ids=["at once", "amid the stream"])
def test_what_the_engine_says_of_a_pull_that_failed_is_the_reason(tmp_path: Path, status: int, key: str) -> None:
    with Docker(pull=lambda: (status, {key: "no route\nto the registry"})) as docker:
        reason = lacking([IMAGE], reaching(docker.url, tmp_path), PATIENCE)
    assert reason == f"Docker cannot pull {IMAGE}: no route to the registry"


def test_a_pull_without_end_is_given_up(tmp_path: Path) -> None:
    with Docker(pull=silent) as docker:
        reason = lacking([IMAGE], reaching(docker.url, tmp_path), 2)
    assert reason == f"Docker has not pulled {IMAGE} within 2 s; docker pull does it once"


def reaching(url: str, home: Path) -> dict[str, str]:
    """An environment with that engine, and without what whoever runs the tests has set for theirs."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_HOST": url}

"""What is news: the difference between what is and what was told."""

import msgspec

from ashore.events import InstanceAdded, InstanceChanged, WorkloadFailed, WorkloadLaunched, WorkloadStopped
from ashore_broker_launcher.model import Instance
from ashore_broker_launcher.presence import Sighting
from ashore_broker_launcher.reconciling import telling
from ashore_broker_launcher.reconciling.telling import Workload
from tests.unit.launcher.kit import seen

INSTANCE = Instance.read(
    {
        "metadata": {"name": "cams-4294ea", "namespace": "default", "uid": "u1"},
        "spec": {
            "configurationName": "cams",
            "cdiName": "akri.sh/cams=4294ea",
            "nodes": ["node.a"],
            "brokerProperties": {"A": "b"},
        },
    }
)


def sightings() -> list[Sighting]:
    event = seen(node="node-a", device_nodes=("/dev/video0",))
    return [Sighting(event, match) for match in event.matches]


def test_an_instance_is_added_once_with_what_its_node_has() -> None:
    added = telling.of_instance("site", INSTANCE, sightings(), None)
    assert type(added) is InstanceAdded
    (node,) = added.nodes
    assert (node.node, node.device_nodes[0].host_path) == ("node-a", "/dev/video0")
    assert telling.of_instance("site", INSTANCE, sightings(), added) is None


def test_what_is_different_is_told_as_a_change_and_another_life_as_an_addition() -> None:
    added = telling.of_instance("site", INSTANCE, sightings(), None)
    more = msgspec.structs.replace(INSTANCE, spec=msgspec.structs.replace(INSTANCE.spec, capacity=2))
    assert type(telling.of_instance("site", more, sightings(), added)) is InstanceChanged
    other = msgspec.structs.replace(INSTANCE, metadata=msgspec.structs.replace(INSTANCE.metadata, uid="u2"))
    assert type(telling.of_instance("site", other, sightings(), added)) is InstanceAdded


def test_what_the_stream_will_forget_is_told_again() -> None:
    added = telling.of_instance("site", INSTANCE, sightings(), None)
    assert type(telling.of_instance("site", INSTANCE, sightings(), added, again=True)) is InstanceChanged


def pod(stage: telling.Stage, uid: str = "p1", reason: str = "") -> Workload:
    return Workload(kind="Pod", name="cams-4294ea-pod", uid=uid, stage=stage, reason=reason)


def news(workloads: list[Workload], told: dict[str, WorkloadLaunched]) -> list[WorkloadLaunched]:
    return list(telling.of_workloads("site", INSTANCE, workloads, told, {}))


def test_a_workload_is_launched_once_and_a_successor_after_its_end() -> None:
    assert news([pod("waiting")], {}) == []
    (launched,) = news([pod("launched")], {})
    told = {"Pod/cams-4294ea-pod": launched}
    assert news([pod("launched")], told) == []
    stopped, again = news([pod("launched", "p2")], told)
    assert (type(stopped), stopped.uid) == (WorkloadStopped, "p1")
    assert (type(again), again.uid) == (WorkloadLaunched, "p2")


def test_a_failure_is_told_again_only_with_another_reason() -> None:
    (failed,) = news([pod("failed", reason="Error")], {})
    assert type(failed) is WorkloadFailed
    told = {"Pod/cams-4294ea-pod": failed}
    assert news([pod("failed", reason="Error")], told) == []
    assert len(news([pod("failed", reason="OOMKilled")], told)) == 1
    assert news([], told) == [], "what has failed is not stopped too"

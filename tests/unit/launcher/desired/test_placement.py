"""Which nodes get a pod: a table, and laws that hold for whatever is there."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ashore_broker_launcher.desired.placement import Held, Placement, place_pods
from tests.desired_kit import Stage, pods

NODES = ["a", "b", "c", "d"]


def place(nodes: list[str], capacity: int, *held: Held, **more: Any) -> Placement:
    return place_pods("cams-1", nodes, capacity, held, **more)


def held(node: str, **more: Any) -> Held:
    return Held(node=node, name=f"{node}-pod", **more)


def test_each_node_gets_one_where_the_capacity_allows() -> None:
    assert sorted(place(NODES, 9).added) == NODES


def test_never_more_than_the_capacity() -> None:
    assert len(place(NODES, 2).added) == 2


def test_shared_devices_spread_over_the_nodes() -> None:
    first = {place_pods(f"cams-{number}", NODES, 1, []).added[0] for number in range(40)}
    assert first == set(NODES)


def test_a_pod_keeps_its_place_whatever_nodes_come() -> None:
    for node in NODES:
        placement = place(NODES, 1, held(node))
        assert ([one.node for one in placement.kept], placement.added) == ([node], [])


def test_a_node_that_is_not_ready_gets_none_and_keeps_what_it_has() -> None:
    assert place(["a", "b"], 2, ready={"a"}).added == ["a"]
    placement = place(["a", "b"], 1, held("b", serves=True), ready={"a"})
    assert [one.node for one in placement.kept] == ["b"]
    assert placement.added == []


def test_a_pod_goes_where_the_device_is_not_seen_and_its_place_is_free_when_it_has_gone() -> None:
    placement = place(["b"], 1, held("a"))
    assert [one.node for one in placement.gone] == ["a"]
    assert placement.added == []
    assert place(["b"], 1, held("a", leaving=True)).added == []
    assert place(["b"], 1).added == ["b"]


def test_a_pod_that_is_leaving_a_lost_node_holds_no_place() -> None:
    assert place(["b"], 1, held("a", leaving=True), ready={"b"}).added == ["b"]
    assert place(["b"], 1, held("a"), ready={"b"}).added == ["b"]


def test_of_too_many_the_newest_of_those_that_serve_least_goes() -> None:
    pods = [held("a", serves=True, since=2), held("b", serves=False, since=1), held("c", serves=True, since=1)]
    placement = place(NODES, 1, *pods)
    assert [one.node for one in placement.kept] == ["c"]
    assert {one.node for one in placement.surplus} == {"a", "b"}
    assert placement.added == []


def test_a_node_where_it_failed_three_times_is_taken_after_the_others() -> None:
    first = place(NODES, 1).added[0]
    assert place(NODES, 1, failures={first: 2}).added == [first]
    assert place(NODES, 1, failures={first: 3}).added != [first]
    assert place([first], 1, failures={first: 3}).added == [first]


NODE = st.sampled_from(["a", "b", "c", "d", "e"])
HELD = st.builds(
    Held,
    node=NODE,
    name=st.text("xyz", min_size=1, max_size=3),
    leaving=st.booleans(),
    serves=st.booleans(),
    since=st.floats(0, 9),
)


@given(
    st.lists(NODE, unique=True), st.integers(1, 4), st.lists(HELD, max_size=6, unique_by=lambda one: one.name),
    st.none() | st.frozensets(NODE), st.dictionaries(NODE, st.integers(0, 9)),
)  # fmt: skip
def test_laws_of_placement(
    nodes: list[str], capacity: int, pods: list[Held], ready: frozenset[str] | None, failures: dict[str, int]
) -> None:
    found = place_pods("cams-1", nodes, capacity, pods, ready=ready, failures=failures)
    holding = [one for one in pods if ready is None or one.node in ready or (not one.leaving and one.node in nodes)]
    assert not found.added or len(holding) + len(found.added) <= capacity, "the capacity is a hard bound"
    assert len(found.kept) <= capacity
    assert all(node in nodes and (ready is None or node in ready) for node in found.added), "no pod on a wrong node"
    assert not {one.node for one in pods} & set(found.added), "no second pod on a node"
    assert all(one.node not in nodes for one in found.gone)
    assert len({one.node for one in found.kept}) == len(found.kept)
    alive = [one for one in pods if not one.leaving]
    assert sorted(one.name for one in [*found.kept, *found.gone, *found.surplus]) == sorted(one.name for one in alive)
    again = place_pods("cams-1", list(reversed(nodes)), capacity, pods[::-1], ready=ready, failures=failures)
    assert again == found or {one.name for one in again.kept} == {one.name for one in found.kept}


@given(st.lists(st.lists(NODE, unique=True, min_size=1), min_size=1, max_size=6), st.integers(1, 3))
def test_whatever_nodes_come_and_go_the_pods_are_as_many_as_they_can_be_and_no_more(
    history: list[list[str]], capacity: int
) -> None:
    stage = Stage({"brokerSpec": pods()}, capacity=capacity)
    for nodes in history:
        before = {one["metadata"]["labels"]["akri.sh/target-node"] for one in stage.children.values()}
        stage.sees(nodes=nodes)
        stage.settle()
        stage.becomes("Pod")
        after = {one["metadata"]["labels"]["akri.sh/target-node"] for one in stage.children.values()}
        assert after <= set(nodes)
        assert len(after) == len(stage.children) == min(capacity, len(nodes))
        assert before & set(nodes) <= after, "who has a place keeps it"


def test_a_smaller_capacity_removes_the_surplus_and_a_larger_one_adds() -> None:
    stage = Stage({"brokerSpec": pods()}, nodes=NODES, capacity=3)
    stage.settle()
    three = set(stage.names())
    stage.sees(capacity=1)
    stage.settle()
    assert [cause for _, cause in stage.told] == ["surplus", "surplus"]
    assert len(stage.names()) == 1
    assert set(stage.names()) < three
    stage.sees(capacity=4)
    stage.settle()
    assert len(stage.names()) == 4


def test_defect_2_a_device_that_is_gone_and_back_while_its_pod_is_leaving_gets_its_pod_again() -> None:
    stage = Stage({"brokerSpec": pods()})
    stage.settle()
    stage.graceful = True
    stage.sees(nodes=[])
    assert [one.cause for one in stage.step().delete] == ["device-gone"]
    stage.sees(nodes=["a"])
    assert stage.step().apply == []
    stage.finish_deletions()
    assert [one["metadata"]["name"] for one in stage.step().apply] == ["a-cams-4294ea-pod"]


def test_defect_2_what_an_earlier_instance_of_that_name_has_left_is_waited_for_and_does_not_last() -> None:
    it = Stage({"brokerSpec": pods(), "brokerManifests": [{"apiVersion": "v1", "kind": "ConfigMap"}]}, nodes=["a", "b"])
    it.settle()
    it.seen["metadata"]["uid"] = "instance-2"
    it.seen["status"] = {}
    plan = it.step()
    assert (plan.apply, plan.delete) == ([], []), "the capacity is one, and the name is taken"
    assert [one.reason for one in plan.problems] == ["NameTaken"]
    for child in it.children.values():
        child["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    plan = it.step()
    assert (plan.apply, plan.problems) == ([], [])
    it.finish_deletions()
    assert sorted(one["kind"] for one in it.step().apply) == ["ConfigMap", "Pod"]


def test_defect_3_a_node_that_is_not_ready_and_comes_back_has_the_same_pod() -> None:
    stage = Stage({"brokerSpec": pods()}, shared=False)
    stage.settle(ready_nodes=frozenset("a"))
    stage.becomes("Pod")
    uid = stage.only("Pod")["metadata"]["uid"]
    stage.settle(ready_nodes=frozenset())
    stage.sees(nodes=[])
    assert stage.settle(ready_nodes=frozenset()).status["phase"] == "Unknown"
    stage.sees(nodes=["a"])
    assert stage.settle(ready_nodes=frozenset("a")).status["phase"] == "Running"
    assert stage.only("Pod")["metadata"]["uid"] == uid


def test_a_shared_device_of_a_lost_node_is_served_by_another_node() -> None:
    stage = Stage({"brokerSpec": pods()}, nodes=["a"])
    stage.settle()
    stage.graceful = True
    stage.sees(nodes=["b"])
    stage.step(ready_nodes=frozenset("b"))
    assert stage.told == [("Pod/a-cams-4294ea-pod", "node-lost")]
    assert "b-cams-4294ea-pod" in stage.names()

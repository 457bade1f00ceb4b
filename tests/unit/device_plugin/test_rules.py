"""The pure parts of the device plugin: which instances hold, whose a resource is, what is offered, what is claimed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.config import SettingsError
from ashore.events import DeviceNode, InstanceAdded, InstanceChanged, InstanceNode, InstanceRemoved, Mount
from ashore.slots import Held, slot_name
from ashore_device_plugin.cdi import CdiFolder
from ashore_device_plugin.claims import Claim, Claims
from ashore_device_plugin.config import DevicePluginSettings
from ashore_device_plugin.giving import given as given_for
from ashore_device_plugin.instances import Instance, Instances
from ashore_device_plugin.names import Names, Owner
from ashore_device_plugin.offers import configuration_offers, free_slots, instance_offers, preferred

KEY = ("default", "cams-1")


def event(
    kind: type[InstanceAdded] = InstanceAdded, nodes: tuple[str, ...] = ("n1",), **fields: object
) -> InstanceAdded:
    given_fields = {"namespace": "default", "configuration": "cams", "instance": "cams-1", **fields}
    return kind(site="site", uid="u", device="d", nodes=[InstanceNode(node=one) for one in nodes], **given_fields)  # type: ignore[arg-type]


def removed() -> InstanceRemoved:
    return InstanceRemoved(
        site="site", namespace="default", configuration="cams", instance="cams-1", uid="u", cause="disappeared"
    )


def instance(name: str = "cams-1", **fields: object) -> Instance:
    return Instance(**{"namespace": "default", "configuration": "cams", "name": name, "born": 1, **fields})  # type: ignore[arg-type]


def mine(slot: int, holder: str = "", name: str = "cams-1") -> Claim:
    return Claim(namespace="default", instance=name, slot=slot, holder=holder)


@given(st.permutations([0, 1, 2, 3]))
def test_in_whatever_order_events_come_the_one_with_the_largest_sequence_holds(order: list[int]) -> None:
    told = [event(), event(InstanceChanged, capacity=2), removed(), event(InstanceChanged, capacity=4)]
    for last in (3, 4):
        instances = Instances("n1")
        for number in order:
            if number < last:
                instances.take(number + 1, told[number])
        found = instances.find(KEY)
        assert (found.capacity if found else None) == {3: None, 4: 4}[last]
        assert len(instances.of(("default", "cams"))) == len(instances) == (last == 4)


def test_an_instance_keeps_its_birth_through_changes_that_come_first() -> None:
    instances = Instances("n1")
    instances.take(9, event(InstanceChanged, capacity=2))
    assert instances.take(4, event()) == KEY
    found = instances.find(KEY)
    assert found is not None
    assert (found.born, found.capacity) == (4, 2)
    instances.take(12, event(InstanceChanged))
    found = instances.find(KEY)
    assert found is not None
    assert found.born == 4


def test_a_capacity_that_no_configuration_can_have_is_cut() -> None:
    instances = Instances("n1")
    instances.take(1, event(capacity=1_000_000_000))
    found = instances.find(KEY)
    assert found is not None
    assert len(instance_offers(found, Claims("n1"))) == 1000


def test_what_this_node_does_not_see_is_not_here() -> None:
    instances = Instances("n1")
    assert instances.take(1, event(nodes=("n2",))) == KEY
    assert instances.find(KEY) is None
    instances.take(2, event(InstanceChanged, nodes=("n2", "n1")))
    assert instances.find(KEY) is not None


def test_the_older_owner_has_the_resource_and_keeps_it_while_it_is_there() -> None:
    names = Names()
    young, old = Owner("configuration", "a", "cams"), Owner("configuration", "b", "cams")
    names.put(young, 7)
    names.put(old, 3)
    assert names.holder("akri.sh/cams") == old
    names.put(young, 1)
    assert names.holder("akri.sh/cams") == old
    assert "the configuration cams in a is not offered" in names.problems()[0]
    names.drop(old)
    assert names.holder("akri.sh/cams") == young
    assert names.problems() == []
    names.drop(young)
    assert names.holder("akri.sh/cams") is None


def test_an_instance_and_a_configuration_of_one_name_do_not_mix() -> None:
    names = Names()
    names.put(Owner("configuration", "a", "cams-1"), 1)
    names.put(Owner("instance", "a", "cams-1"), 2)
    assert names.holder("akri.sh/cams-1") == Owner("configuration", "a", "cams-1")
    assert len(names.problems()) == 1


@pytest.mark.parametrize("name", ["a" * 64, "-a", "a-", "A", "a/b", "a b", ""])
def test_a_name_that_no_resource_can_have_is_a_problem(name: str) -> None:
    names = Names()
    names.put(Owner("instance", "default", name), 1)
    assert names.holder(f"akri.sh/{name}") is None
    assert "at most 63 characters" in names.problems()[0]


@given(
    st.integers(1, 5),
    st.dictionaries(st.integers(0, 6), st.sampled_from(["", "n1", "n2", "C:cams-0:n2", "C:cams-0:n1"])),
    st.dictionaries(st.integers(0, 6), st.sampled_from(["", "C:cams-4"])),
)
def test_no_slot_that_another_has_is_healthy_or_free(capacity: int, usage: dict[int, str], own: dict[int, str]) -> None:
    found = instance(capacity=capacity, usage={slot_name("cams-1", slot): value for slot, value in usage.items()})
    claims = Claims("n1")
    for slot, holder in own.items():
        claims.put(mine(slot, holder))
    others = {slot for slot, value in usage.items() if value.endswith("n2")}
    offers = instance_offers(found, claims)
    assert [one.id for one in offers] == [f"cams-1-{slot}" for slot in range(capacity)]
    healthy = {slot for slot in range(capacity) if offers[slot].healthy}
    assert healthy == {slot for slot in range(capacity) if (own.get(slot) == "" if slot in own else slot not in others)}
    free = set(free_slots(found, claims))
    assert free <= set(range(capacity)) - others - own.keys()
    if len(others) + len(own) >= capacity:
        assert not free


def test_virtual_ids_that_this_node_has_stay_and_each_instance_with_room_adds_a_free_one() -> None:
    claims = Claims("n1")
    claims.put(mine(0, "C:cams-3"))
    claims.put(mine(1, "C:cams-0", "cams-2"))
    both = [instance(), instance("cams-2", capacity=3)]
    ids = [one.id for one in configuration_offers(("default", "cams"), both, claims)]
    assert ids == ["cams-0", "cams-1", "cams-3"]


@given(st.lists(st.integers(0, 9), unique=True), st.lists(st.integers(0, 9), unique=True), st.integers(0, 12))
def test_what_is_preferred_is_available_has_what_must_be_and_is_not_too_much(
    available: list[int], own: list[int], size: int
) -> None:
    must = [str(number) for number in available[:2]]
    found = preferred(map(str, available), must, size, map(str, own))
    assert len(found) == len(set(found)) == min(size, len(available))
    assert set(found) <= set(map(str, available))
    assert set(must[:size]) <= set(found)


def test_a_claim_that_no_container_has_for_long_enough_is_unused() -> None:
    claims = Claims("n1")
    claim, virtual = claims.put(mine(0)), claims.put(mine(1, "C:cams-2"))

    def look(now: float, *used: tuple[str, str]) -> list[Claim]:
        claims.look(set(used), now, lambda owner: True)
        return claims.unused(now, 20)

    assert look(0, ("akri.sh/cams", "cams-2")) == []
    assert look(19) == []
    assert look(20) == [claim]
    assert look(39) == [claim, virtual]
    assert look(40, ("akri.sh/cams-1", "cams-1-0")) == [virtual]
    claims.begin_anew()
    assert look(100) == []


def test_a_resource_of_another_namespace_keeps_no_claim() -> None:
    claims = Claims("n1")
    claims.put(mine(0))
    claims.look({("akri.sh/cams-1", "cams-1-0")}, 0, lambda owner: owner.namespace == "other")
    assert len(claims.unused(20, 20)) == 1


def test_what_the_launcher_knows_is_learnt_and_what_it_does_not_know_is_told() -> None:
    claims = Claims("n1")
    own = claims.put(mine(0))
    own.told = True
    claims.compare([Held(namespace="default", instance="cams-1", slot=1, holder="C:cams-0")])
    assert claims.untold() == [own]
    assert claims.numbers(("default", "cams")) == {0}
    # What was learnt from it, is not true any more, and nobody has, is forgotten; what somebody has is told.
    claims.look({("akri.sh/cams", "cams-0"), ("akri.sh/cams-1", "cams-1-0")}, 0, lambda owner: True)
    claims.compare([])
    assert len(claims.untold()) == 2
    claims.look(set(), 1, lambda owner: True)
    claims.compare([])
    assert list(claims) == [own]
    assert claims.untold() == []


def test_what_was_not_granted_is_claimed_again_when_it_is_free_unless_another_container_here_has_it() -> None:
    claims = Claims("n1")
    claim = claims.put(mine(0, "C:cams-0"))
    claims.refuse(claim)
    assert claims.find(KEY, 0) is None
    assert claims.numbers(("default", "cams")) == {0}
    assert not claims.back(instance(usage={"cams-1-0": "n2"}))
    assert claims.back(instance())
    assert claims.virtual("default", "cams-0") is claim
    claims.refuse(claim)
    other = claims.put(mine(0))
    assert not claims.back(instance())
    assert list(claims) == [other]
    claims.look(set(), 0, lambda owner: True)
    assert claims.given() == []


def test_what_an_earlier_run_has_given_counts_less_than_what_is_known() -> None:
    claims = Claims("n1")
    known = [claims.put(mine(0, "C:cams-0")), claims.put(mine(1))]
    claims.restore([mine(2, "C:cams-0"), mine(1, "C:cams-1"), mine(3, "C:cams-2")])
    assert list(claims) == [*known, mine(3, "C:cams-2")]


def test_of_an_instance_that_goes_only_what_containers_have_stays() -> None:
    claims = Claims("n1")
    had, virtual, left = claims.put(mine(0)), claims.put(mine(1, "C:cams-0")), claims.put(mine(2))
    had.told = virtual.told = left.told = True
    claims.look({had.used_as, virtual.used_as}, 0, lambda owner: True)
    claims.leave(KEY)
    assert claims.untold() == [had, virtual] == list(claims)


def test_an_event_teaches_what_this_node_has_and_not_what_others_have() -> None:
    claims = Claims("n-1")
    claims.learn(instance(usage={"cams-1-0": "n.1", "cams-1-1": "n2", "cams-1-x": "n.1", "cams-1-2": ""}))
    assert [(one.slot, one.told) for one in claims] == [(0, True)]


def test_of_two_devices_of_a_container_each_has_its_own_environment() -> None:
    node, mount = DeviceNode(host_path="/dev/a"), Mount(host_path="/a", container_path="/x")
    first = instance(
        "cams-aa", properties={"URL": "1", "": "x", "A=B": "x", "NUL": "\0"}, device_nodes=[node], mounts=[mount]
    )
    second = instance("cams-bb", properties={"URL": "2"}, device_nodes=[node], mounts=[mount])
    found = given_for([first, second])
    assert found.env == {"URL": "2", "URL_AA": "1", "URL_BB": "2"}
    assert (found.device_nodes, found.mounts) == ([node], [mount])


@pytest.mark.parametrize("path", ["", "dev/a", "/dev/../etc/shadow", "/dev/a\0"])
def test_a_path_that_is_none_is_left_out(path: str) -> None:
    strange = instance(
        device_nodes=[DeviceNode(host_path=path), DeviceNode(host_path="/dev/a", container_path=path or "x")],
        mounts=[Mount(host_path=path, container_path="/x"), Mount(host_path="/x", container_path=path)],
    )
    found = given_for([strange])
    assert (found.device_nodes, found.mounts) == ([], [])


@pytest.mark.parametrize("name", ["cams", "a.b", "plant-1.cams"])
def test_a_device_has_a_name_in_cdi_while_there_is_a_file_of_it(name: str, tmp_path: Path) -> None:
    folder, one = CdiFolder(tmp_path), instance(f"{name}-1", configuration=name)
    assert folder.names(one) == []
    folder.write(one, given_for([one]))
    assert folder.names(one) == [f"akri.sh/{name}=1"]
    assert [path.name for path in tmp_path.iterdir()] == [f"ashore-{name}-1.json"]
    folder.remove(one.name)
    assert folder.names(one) == list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["1cams", "c", "1"])
def test_a_configuration_whose_name_is_no_class_has_no_file_and_no_name_in_cdi(name: str, tmp_path: Path) -> None:
    folder, one = CdiFolder(tmp_path), instance(f"{name}-1", configuration=name)
    folder.write(one, given_for([one]))
    assert folder.names(one) == list(tmp_path.iterdir()) == []


def test_the_file_of_another_namespace_is_no_file_of_a_device(tmp_path: Path) -> None:
    folder, one = CdiFolder(tmp_path), instance()
    folder.write(one, given_for([one]))
    assert folder.names(instance(namespace="other")) == []


def test_a_device_whose_file_cannot_be_written_has_no_name_in_cdi(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder, one = CdiFolder(tmp_path / "file"), instance()
    with pytest.raises(OSError, match="exists"):
        folder.write(one, given_for([one]))
    assert folder.names(one) == []


def test_a_folder_with_too_long_a_path_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match="no socket in it could have a path"):
        DevicePluginSettings.load({"ASHORE_KUBELET_DIR": "/" + "x" * 90})

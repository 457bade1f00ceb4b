"""The rules of slots, and the desk that answers by them: never two for one slot, never more than capacity."""

import asyncio
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.slots import (
    CLAIM,
    RELEASE,
    USAGE,
    Claim,
    ClaimAnswer,
    Held,
    Release,
    ReleaseAnswer,
    User,
    slot_name,
    slot_number,
    user,
)
from ashore_broker_launcher.slots import ApplyError, Desk, SlotRefusedError, Table, claim, release, without_nodes

KEY = ("default", "cam")
NODES = ("n1", "n2", "n3")


def test_a_free_slot_is_granted() -> None:
    assert claim({}, User("n1"), instance="cam", capacity=1, slot=0) == {"cam-0": "n1"}
    assert claim({"cam-0": ""}, User("n1", "C:cams-3"), instance="cam", capacity=1, slot=0) == {"cam-0": "C:cams-3:n1"}


def test_the_same_claim_again_is_granted_and_changes_nothing() -> None:
    for wanted in (User("n1"), User("n1", "C:cams-3")):
        usage = claim({}, wanted, instance="cam", capacity=2, slot=1)
        assert claim(usage, wanted, instance="cam", capacity=2, slot=1) == usage


@pytest.mark.parametrize("wanted", [User("n2"), User("n1", "C:cams-0"), User("n2", "C:cams-0")], ids=str)
def test_a_slot_that_another_has_is_refused_and_it_is_said_who(wanted: User) -> None:
    with pytest.raises(SlotRefusedError, match="cam-0 is used by n1") as refused:
        claim({"cam-0": "n1"}, wanted, instance="cam", capacity=2, slot=0)
    assert refused.value.holder == "n1"


def test_a_slot_beyond_capacity_is_refused_whoever_asks() -> None:
    with pytest.raises(SlotRefusedError, match="there is no slot 1"):
        claim({"cam-1": "n1"}, User("n1"), instance="cam", capacity=1, slot=1)


def test_after_capacity_has_shrunk_those_who_use_it_count_wherever_they_are() -> None:
    with pytest.raises(SlotRefusedError, match="has 1 users, and a capacity of 1"):
        claim({"cam-4": "n1"}, User("n2"), instance="cam", capacity=1, slot=0)


def test_a_release_frees_what_the_node_has_and_nothing_else() -> None:
    usage = {"cam-0": "n1", "cam-1": "n2", "cam-2": "C:cams-0:n1", "cam-3": ""}
    left, released = release(usage, instance="cam", node="n1", slots=[2, 1, 0, 0, 3, 9])
    assert (left, released) == ({"cam-1": "n2"}, [2, 0])


def test_a_lost_node_has_nothing() -> None:
    usage = {"cam-0": "n1", "cam-1": "n2", "cam-2": "C:cams-0:n1"}
    assert without_nodes(usage, ["n1"]) == {"cam-1": "n2"}


def test_a_node_is_the_same_by_its_name_in_kubernetes_and_by_its_agents() -> None:
    usage = {"cam-0": "edge.example.com"}
    assert claim(usage, User("edge-example-com"), instance="cam", capacity=1, slot=0) == usage
    assert without_nodes(usage, ["edge-example-com"]) == {}


def test_values_of_akri_are_read() -> None:
    assert user("") is None
    assert user("n1") == User("n1", "")
    found = user("C:cams-0:n1")
    assert found == User("n1", "C:cams-0")
    assert found.virtual == "cams-0"
    assert str(found) == "C:cams-0:n1"


@given(st.from_regex("[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True), st.integers(0, 999))
def test_a_slots_number_is_read_from_its_name(owner: str, number: int) -> None:
    assert slot_number(owner, slot_name(owner, number)) == number
    assert slot_number(f"{owner}-x", slot_name(owner, number)) is None


@pytest.mark.parametrize("name", ["cam", "cam-", "cam-01", "cam--1", "cam-1 ", "cam-²", "cam-99999999999999", "Cam-1"])
def test_what_is_no_slot_has_no_number(name: str) -> None:
    assert slot_number("cam", name) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from(NODES), st.integers(0, 5), st.sampled_from(["", "C:v-0", "C:v-1"])),
        st.tuples(st.just("release"), st.sampled_from(NODES), st.integers(0, 5), st.just("")),
        st.tuples(st.just("lost"), st.sampled_from(NODES), st.just(0), st.just("")),
        st.tuples(st.just("shrink"), st.just(""), st.integers(1, 6), st.just("")),
    ),
    max_size=40,
)


class Believed:
    """Who has what, kept in another way than the rules do."""

    def __init__(self) -> None:
        self.usage: dict[str, str] = {}
        self.users: dict[int, User] = {}
        self.capacity = 3

    def step(self, verb: str, node: str, slot: int, holder: str) -> None:
        getattr(self, verb)(node, slot, holder)
        assert self.usage == {f"cam-{number}": str(who) for number, who in self.users.items()}

    def shrink(self, _node: str, slot: int, _holder: str) -> None:
        self.capacity = slot

    def release(self, node: str, slot: int, _holder: str) -> None:
        self.usage, freed = release(self.usage, instance="cam", node=node, slots=[slot])
        assert freed == ([slot] if slot in self.users and self.users[slot].node == node else [])
        for one in freed:
            del self.users[one]

    def lost(self, node: str, _slot: int, _holder: str) -> None:
        self.usage = without_nodes(self.usage, [node])
        self.users = {number: who for number, who in self.users.items() if who.node != node}

    def claim(self, node: str, slot: int, holder: str) -> None:
        wanted, has = User(node, holder), self.users.get(slot)
        may = slot < self.capacity and (has == wanted or (has is None and len(self.users) < self.capacity))
        try:
            self.usage = claim(self.usage, wanted, instance="cam", capacity=self.capacity, slot=slot)
        except SlotRefusedError:
            assert not may
        else:
            assert may
            self.users[slot] = wanted


@given(STEPS)
def test_whatever_happens_no_slot_has_two_and_no_claim_makes_more_users_than_capacity(
    steps: list[tuple[str, str, int, str]],
) -> None:
    believed = Believed()
    for step in steps:
        before = len(believed.users)
        believed.step(*step)
        assert len(believed.users) <= max(before, believed.capacity)


class Cluster:
    """Instances that are stored somewhere else, where that takes a while."""

    def __init__(self, capacity: int = 1) -> None:
        self.tables = {KEY: Table(uid="1", capacity=capacity, nodes=list(NODES))}
        self.stored: list[dict[str, str]] = []
        self.away = False

    def table(self, key: tuple[str, str]) -> Table | None:
        return self.tables.get(key)

    def known(self) -> Iterable[tuple[str, str]]:
        return list(self.tables)

    async def apply_usage(self, namespace: str, instance: str, usage: dict[str, str]) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise ApplyError("the API server is away")
        # What a watch tells comes later: the table stays as it is.
        self.stored.append(usage)


async def ask(desk: Desk, node: str, slot: int = 0, holder: str = "", instance: str = "cam") -> ClaimAnswer:
    asked = Claim(namespace="default", instance=instance, node=node, slot=slot, holder=holder)
    return msgspec.json.decode(await desk.verbs()[CLAIM](msgspec.json.encode(asked)), type=ClaimAnswer)


async def give_back(desk: Desk, node: str, *slots: int) -> ReleaseAnswer:
    asked = Release(namespace="default", instance="cam", node=node, slots=list(slots))
    return msgspec.json.decode(await desk.verbs()[RELEASE](msgspec.json.encode(asked)), type=ReleaseAnswer)


async def test_of_many_who_ask_at_once_one_gets_the_slot() -> None:
    cluster = Cluster()
    desk = Desk(cluster)
    answers = await asyncio.gather(*(ask(desk, node) for node in NODES * 5))
    winners = {node for node, answer in zip(NODES * 5, answers, strict=True) if answer.granted}
    assert len(winners) == 1
    assert {answer.holder for answer in answers if not answer.granted} == winners
    assert cluster.stored == [{"cam-0": winners.pop()}]


async def test_what_was_stored_is_known_before_a_watch_tells_it() -> None:
    cluster = Cluster(capacity=2)
    desk = Desk(cluster)
    assert (await ask(desk, "n1")).granted
    assert not (await ask(desk, "n2")).granted
    assert (await ask(desk, "n2", 1)).granted
    assert desk.usage(KEY) == {"cam-0": "n1", "cam-1": "n2"}
    assert (await give_back(desk, "n1", 0, 1)).released == [0]
    assert (await ask(desk, "n2")).granted


async def test_another_life_of_an_instance_begins_with_its_own_usage() -> None:
    cluster = Cluster()
    desk = Desk(cluster)
    assert (await ask(desk, "n1")).granted
    cluster.tables[KEY] = Table(uid="2", capacity=1, nodes=list(NODES))
    assert (await ask(desk, "n2")).granted
    desk.forget(KEY)
    assert desk.usage(KEY) == {}


async def test_what_could_not_be_stored_was_not_granted_and_not_freed() -> None:
    cluster = Cluster()
    desk = Desk(cluster)
    cluster.away = True
    assert "the API server is away" in (await ask(desk, "n1")).problem
    cluster.away = False
    assert (await ask(desk, "n2")).granted
    cluster.away = True
    assert (await give_back(desk, "n2", 0)).problem
    assert desk.usage(KEY) == {"cam-0": "n2"}


async def test_a_node_learns_what_it_has() -> None:
    cluster = Cluster(capacity=3)
    desk = Desk(cluster)
    await ask(desk, "n1")
    await ask(desk, "n1", 1, "C:cams-0")
    await ask(desk, "n2", 2)
    answer = msgspec.json.decode(await desk.verbs()[USAGE](b'{"node":"n1"}'))
    assert msgspec.convert(answer["slots"], list[Held]) == [
        Held(namespace="default", instance="cam", slot=0),
        Held(namespace="default", instance="cam", slot=1, holder="C:cams-0"),
    ]


async def test_a_lost_nodes_slots_are_free_for_others() -> None:
    cluster = Cluster()
    desk = Desk(cluster)
    await ask(desk, "n1")
    async with desk.lock(KEY):
        desk.note(KEY, "1", without_nodes(desk.usage(KEY), ["n1"]))
    assert (await ask(desk, "n2")).granted


async def test_the_usage_has_kubernetes_names_where_the_launcher_knows_them() -> None:
    cluster = Cluster()
    cluster.tables[KEY] = Table(uid="1", capacity=1, nodes=["edge.example"])
    desk = Desk(cluster, {"edge-example": "edge.example"}.__getitem__)
    assert (await ask(desk, "edge-example")).granted
    assert cluster.stored == [{"cam-0": "edge.example"}]
    assert (await ask(desk, "edge-example")).granted


async def test_who_does_not_see_the_device_and_what_is_not_there_is_refused() -> None:
    desk = Desk(Cluster())
    assert (await ask(desk, "n9")).problem == "the node n9 does not see cam"
    assert (await ask(desk, "n1", instance="other")).problem == "there is no instance other in default"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"namespace":"default","instance":"cam","node":"n1","slot":-1}',
        b'{"namespace":"default","instance":"cam","node":"n1","slot":1e9}',
        b'{"namespace":"default","instance":"cam","node":"a:b","slot":0}',
        b'{"namespace":"default","instance":"cam","node":"n1","slot":0,"holder":"C:a:b"}',
        b'{"namespace":"default","instance":"cam","node":"n1\\n","slot":0}',
    ],
)
async def test_a_question_that_is_none_is_answered_with_a_problem(body: bytes) -> None:
    cluster = Cluster()
    assert b"this cannot be answered" in await Desk(cluster).verbs()[CLAIM](body)
    assert cluster.stored == []

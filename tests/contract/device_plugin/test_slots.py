"""Slots: claimed, given back, and known again after restarts, without leaks and without two for one.

Each defect of Akri's agent that was measured has its test here, under the name of what a user sees.
"""

import asyncio
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError

from ashore.bus.server import EmbeddedServer
from tests.bus_kit import until
from tests.contract.device_plugin.fake_kubelet import FakeKubelet, kubelet
from tests.contract.device_plugin.node import CAM, CAMS, Launcher, plugin, ready, short_folder

SLOT = "cams-4294ea-0"
LONG = {"unused_seconds": 60}


async def test_a_slot_of_one_node_is_not_offered_to_another(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], shared=True)
    with short_folder() as elsewhere:
        async with (
            kubelet(elsewhere) as other,
            plugin(nats_server, root, **LONG),
            plugin(nats_server, elsewhere, "n2", **LONG),
        ):
            await until(lambda: node.healthy(CAM) == other.healthy(CAM) == {SLOT})
            await node.admit("pod", CAM, SLOT)
            await until(lambda: other.offers(CAM) == {SLOT: "Unhealthy"} and not other.healthy(CAMS))
            assert node.healthy(CAM) == {SLOT}
            # Its kubelet had not heard yet when it gave the slot away.
            with pytest.raises(GRPCError, match=r"slot 0 of cams-4294ea in default cannot be had: .* is used by n1"):
                await other.allocate(CAM, [SLOT])
    assert slots.usage() == {SLOT: "n1"}


async def test_a_slot_that_another_node_took_meanwhile_is_passed_over_for_the_next(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], capacity=2, shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        # What n2 has, this node has not heard of.
        slots.instances["default", "cams-4294ea"].usage[SLOT] = "n2"
        await node.admit("pod", CAMS, "cams-0")
    assert slots.usage() == {SLOT: "n2", "cams-4294ea-1": "C:cams-0:n1"}


async def test_what_a_configuration_has_is_not_offered_as_the_instances(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await until(lambda: node.offers(CAM) == {SLOT: "Unhealthy"})
        assert node.healthy(CAMS) == {"cams-0"}
        with pytest.raises(GRPCError, match="used through the configuration, as cams-0"):
            await node.allocate(CAM, [SLOT])


async def test_a_node_that_was_lost_and_is_back_has_its_slots_again(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    """Akri's: pods come back, and their slots answer "unable to claim" for ever."""
    await slots.add(capacity=2, shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        await node.admit("stays", CAM, SLOT)
        await node.admit("goes", CAM, "cams-4294ea-1")
        await slots.lose("n1")
        assert slots.usage() == {}
        # The pod that is still there has its slot back, and the one that was replaced gets it as before.
        await until(lambda: slots.usage().get(SLOT) == "n1")
        del node.containers["goes"]
        await node.admit("came", CAM, "cams-4294ea-1")
        await until(lambda: slots.usage() == {SLOT: "n1", "cams-4294ea-1": "n1"})


async def test_a_pod_that_replaces_another_gets_its_slot_at_once(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    """Akri's, with a capacity of one: the slot is refused for 21 seconds, pod after pod."""
    await slots.add(shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        for resource, id_ in ((CAM, SLOT), (CAMS, "cams-0")):
            for number in range(5):
                await node.admit(f"pod-{number}", resource, id_)
                node.containers.clear()
            # Through the other resource it is given when it was given back.
            await found.reclaimer._allocator.give_back(list(found.claims))
            await until(lambda: node.healthy(CAM) == {SLOT})


@pytest.mark.parametrize("resource", [CAM, CAMS], ids=["instance", "configuration"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "local"])
async def test_a_slot_that_no_container_uses_is_given_back(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, resource: str, *, shared: bool
) -> None:
    """Akri's: one of an instance's resource is never given back."""
    await slots.add(shared=shared)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", resource, {CAM: SLOT, CAMS: "cams-0"}[resource])
        await until(lambda: set(slots.usage()) == {SLOT})
        looks = slots.asked.count("usage")
        await until(lambda: slots.asked.count("usage") > looks + 6)
        assert set(slots.usage()) == {SLOT}
        node.containers.clear()
        await until(lambda: slots.usage() == {} and node.healthy(CAM) == {SLOT})


async def test_an_allocation_that_fails_for_one_container_keeps_nothing_of_the_others(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    """Akri's: the first claim stays."""
    await slots.add(nodes=["n1", "n2"], capacity=3, shared=True, usage={"cams-4294ea-1": "n2"})
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        with pytest.raises(GRPCError, match="is used by n2"):
            await node.allocate(CAM, [SLOT], ["cams-4294ea-1"])
        assert slots.usage() == {"cams-4294ea-1": "n2"}
        assert len(found.claims) == 0
        # A slot that was there before stays.
        await node.admit("pod", CAM, SLOT)
        with pytest.raises(GRPCError):
            await node.allocate(CAM, [SLOT], ["cams-4294ea-2", "cams-4294ea-1"])
        assert slots.usage() == {SLOT: "n1", "cams-4294ea-1": "n2"}


async def test_an_allocation_that_fails_for_a_configuration_keeps_nothing_either(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    await slots.add("cams-aaaaaa", shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 3)
        with pytest.raises(GRPCError, match="no device of it has room"):
            await node.allocate(CAMS, ["cams-0"], ["cams-1", "cams-2"])
        assert slots.usage() == slots.usage("cams-aaaaaa") == {}
        assert len(found.claims) == 0


async def test_after_a_restart_nothing_is_leaked_and_nothing_is_claimed_twice(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=4, shared=True)
    await slots.add("cams-aaaaaa", capacity=2, shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 3)
        await node.admit("stays", CAM, SLOT)
        await node.admit("stays", CAMS, "cams-0")
        await node.admit("goes", CAM, "cams-4294ea-1")
        await node.admit("goes", CAMS, "cams-1")
    before = {**slots.usage(), **slots.usage("cams-aaaaaa")}
    assert len(before) == 4
    del node.containers["goes"]
    kept = {name: value for name, value in before.items() if name == SLOT or ":cams-0:" in value}
    async with plugin(nats_server, root) as found:
        await until(lambda: {**slots.usage(), **slots.usage("cams-aaaaaa")} == kept)
        await ready(found, 3)
        await until(lambda: len(found.claims) == 2)
        # What the container has is what it is given again.
        await node.allocate(CAMS, ["cams-0"])
        assert {**slots.usage(), **slots.usage("cams-aaaaaa")} == kept


async def test_a_slot_that_a_container_has_and_nobody_knows_of_is_claimed(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    node.containers["pod"] = {CAM: [SLOT], "vendor.example/gpu": ["gpu-0"], CAMS: ["cams-7"]}
    async with plugin(nats_server, root) as found:
        await until(lambda: slots.usage() == {SLOT: "n1"})
        await until(lambda: any("a container has cams-7 of akri.sh/cams" in one for one in found.health.problems()))
        del node.containers["pod"][CAMS]
        await until(lambda: not found.health.problems())


async def test_a_slot_that_is_another_nodes_meanwhile_is_told_as_a_problem(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAM, SLOT)
        await slots.lose("n1")
        slots.desk.forget(("default", "cams-4294ea"))
        await slots.change(usage={SLOT: "n2"})
        await until(lambda: any("slot 0 of cams-4294ea" in one for one in found.health.problems()))
        await until(lambda: node.offers(CAM) == {SLOT: "Unhealthy"})
        node.containers.clear()
        await until(lambda: not found.health.problems())
    assert slots.usage() == {SLOT: "n2"}


async def test_without_a_launcher_offers_stay_and_a_new_claim_fails_with_a_reason(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=2, shared=True)
    await slots.add("tty-aaaaaa")
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 4)
        await node.admit("pod", CAM, SLOT)
        await slots.bus.close()
        with pytest.raises(GRPCError, match="no broker launcher answers: start it"):
            await node.allocate(CAM, ["cams-4294ea-1"])
        # What this node has, and what only this node can have, is given.
        await node.allocate(CAM, [SLOT])
        await node.allocate("akri.sh/tty-aaaaaa", ["tty-aaaaaa-0"])
        assert node.healthy(CAM) == {SLOT, "cams-4294ea-1"}
        await until(lambda: any("no broker launcher" in one for one in found.health.problems()))


async def test_while_the_bus_is_away_offers_stay_and_then_everything_is_told(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=2, shared=True)
    await slots.add("tty-aaaaaa")
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 4)
        nats_server.stop()
        try:
            with pytest.raises(GRPCError, match="cannot be had"):
                await node.allocate(CAM, [SLOT])
            await node.admit("local", "akri.sh/tty-aaaaaa", "tty-aaaaaa-0")
            assert node.healthy(CAM) == {SLOT, "cams-4294ea-1"}
        finally:
            await asyncio.to_thread(nats_server.start)
        await until(lambda: slots.usage("tty-aaaaaa") == {"tty-aaaaaa-0": "n1"}, seconds=40)
        await node.admit("pod", CAM, SLOT)


async def test_a_claim_that_could_not_be_stored_is_not_granted(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 2)
        slots.refuses = "the API server is away"
        with pytest.raises(GRPCError, match="the API server is away"):
            await node.allocate(CAM, [SLOT])
        slots.refuses = ""
        await node.allocate(CAM, [SLOT])
    assert slots.usage() == {SLOT: "n1"}


async def test_a_smaller_capacity_takes_slots_away_and_leaves_who_has_them(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=3, shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAM, "cams-4294ea-2")
        await slots.change(capacity=1)
        await until(lambda: node.offers(CAM) == {SLOT: "Healthy"} and not node.offers(CAMS))
        # As long as the pod has its slot, there is no room for another.
        with pytest.raises(GRPCError, match="has 1 users, and a capacity of 1"):
            await node.allocate(CAM, [SLOT])
        node.containers.clear()
        await until(lambda: slots.usage() == {})
        await node.admit("next", CAM, SLOT)


async def test_slots_of_an_instance_that_left_the_node_are_given_back_when_no_container_has_them(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAM, SLOT)
        await slots.change(nodes=["n2"])
        await until(lambda: not found.sockets.owners())
        node.containers.clear()
        await until(lambda: slots.usage() == {})

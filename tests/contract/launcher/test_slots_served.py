"""Device plugins ask for slots, and the launcher keeps in the instance who has which."""

from typing import Any

import msgspec

from ashore.bus import NoResponder
from ashore.bus.nats import NatsBus
from ashore.events import InstanceAdded
from ashore.slots import CLAIM, RELEASE, Claim, ClaimAnswer, Release, ReleaseAnswer, subject
from ashore_broker_launcher.cluster import INSTANCE, NODE
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from tests.bus_kit import until
from tests.launcher_kit import World, world


async def claim(made: World, instance: str, slot: int, node: str = "node-a", holder: str = "") -> ClaimAnswer:
    """Ask as a device plugin does, which asks again while nobody leads."""
    asked = Claim(namespace=made.namespace, instance=instance, node=node, slot=slot, holder=holder)
    while True:
        try:
            body = await made.bus.request(subject(CLAIM, "site"), msgspec.json.encode(asked), timeout=5)
        except NoResponder:
            continue
        return msgspec.json.decode(body, type=ClaimAnswer)


async def release(made: World, instance: str, *slots: int, node: str = "node-a") -> list[int]:
    asked = Release(namespace=made.namespace, instance=instance, node=node, slots=list(slots))
    body = await made.bus.request(subject(RELEASE, "site"), msgspec.json.encode(asked), timeout=5)
    return msgspec.json.decode(body, type=ReleaseAnswer).released


def usage(instance: dict[str, Any]) -> dict[str, str]:
    return instance["spec"].get("deviceUsage") or {}


async def test_a_slot_that_is_granted_stands_in_the_instance_and_is_told(made: World) -> None:
    await made.configure()
    async with made.launcher():
        for node in ("node-a", "node-b"):
            await made.live(node)
            await made.see(shared=True, node=node)
        (found,) = await made.until(INSTANCE, lambda found: found and len(found[0]["spec"]["nodes"]) == 2)
        name = found["metadata"]["name"]
        assert (await claim(made, name, 0)).granted
        assert (await claim(made, name, 0)).granted, "the same claim again"
        refused = await claim(made, name, 0, node="node-b")
        assert (refused.granted, refused.holder) == (False, "node-a")
        assert (await claim(made, name, 1, node="node-b", holder="C:cams-0")).granted
        assert not (await claim(made, name, 2)).granted, "capacity is 2"
        (found,) = await made.objects(INSTANCE)
        assert usage(found) == {f"{name}-0": "node-a", f"{name}-1": "C:cams-0:node-b"}
        await until(lambda: any(isinstance(one, InstanceAdded) and len(one.usage) == 2 for one in made.told))
        assert await release(made, name, 0, 1) == [0], "what another node has stays"
        (found,) = await made.objects(INSTANCE)
        assert usage(found) == {f"{name}-1": "C:cams-0:node-b"}


async def test_a_claim_outlives_changes_of_the_device_and_of_the_configuration_and_restarts(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see(shared=True)
        (found,) = await made.count(INSTANCE, 1)
        name = found["metadata"]["name"]
        assert (await claim(made, name, 0)).granted
        await made.see(shared=True, change="changed", properties={"A": "b"})
        await made.configure(capacity=5)
        await made.until(
            INSTANCE,
            lambda found: found[0]["spec"]["capacity"] == 5 and found[0]["spec"]["brokerProperties"] == {"A": "b"},
        )
    async with made.launcher():
        assert not (await claim(made, name, 0, node="node-b")).granted
        (found,) = await made.objects(INSTANCE)
        assert usage(found) == {f"{name}-0": "node-a"}


async def test_a_node_that_is_lost_holds_no_slot_and_gets_one_when_it_is_back(nats_bus: NatsBus) -> None:
    cluster = MemoryCluster()

    async def ready(status: str) -> None:
        conditions = [{"type": "Ready", "status": status}]
        await cluster.apply_status(NODE, {"metadata": {"name": "node-a"}, "status": {"conditions": conditions}})

    await cluster.create(NODE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}})
    await ready("True")
    async with world(nats_bus, cluster, "place") as made:
        await made.configure()
        async with made.launcher():
            await made.live()
            await made.see(shared=True)
            (found,) = await made.count(INSTANCE, 1)
            name = found["metadata"]["name"]
            assert (await claim(made, name, 0)).granted
            await ready("Unknown")
            await made.until(INSTANCE, lambda found: not found[0]["spec"]["nodes"] and not usage(found[0]))
            assert "does not see" in (await claim(made, name, 0)).problem
            await ready("True")
            await made.until(INSTANCE, lambda found: found[0]["spec"]["nodes"] == ["node-a"])
            assert (await claim(made, name, 0)).granted

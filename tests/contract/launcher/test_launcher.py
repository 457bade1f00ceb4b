"""From a device that is seen to an instance and its broker, on a cluster of either kind."""

import asyncio

from ashore.events import InstanceAdded, InstanceRemoved
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, POD
from ashore_broker_launcher.reconciling.parts import GATHER_SECONDS
from tests.bus_kit import until
from tests.launcher_kit import World


async def test_a_device_that_is_seen_becomes_an_instance_with_a_broker(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see("id-abc", handler="debug-echo", facets=("debug-echo:foo0",), shared=True)
        (instance,) = await made.count(INSTANCE, 1)
        assert instance["metadata"]["name"] == "cams-8120fe"
        assert instance["spec"]["nodes"] == ["node-a"]
        assert instance["spec"]["shared"] is True
        (pod,) = await made.count(POD, 1)
        assert pod["metadata"]["ownerReferences"][0]["uid"] == instance["metadata"]["uid"]
        await made.hear("instance-added")
    (added,) = [one for one in made.told if isinstance(one, InstanceAdded)]
    assert (added.configuration, added.instance) == ("cams", "cams-8120fe")


async def test_a_device_that_disappears_loses_instance_and_broker(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        await made.count(POD, 1)
        await made.see(change="disappeared")
        await made.until(INSTANCE, lambda found: not found)
        await made.hear("instance-added", "instance-removed")
    (removed,) = [one for one in made.told if isinstance(one, InstanceRemoved)]
    assert removed.cause == "disappeared"


async def test_a_configuration_is_handed_to_the_agents_and_taken_back(made: World) -> None:
    await made.configure()
    async with made.launcher() as parts:
        found = await made.until(
            CONFIGURATION, lambda found: "HandedOut" in str(found[0].get("status")), "the configuration is handed out"
        )
        assert found[0]["status"]["phase"] == "Active"
        assert (made.namespace, "cams") in parts.handing.given()
        await made.cluster.delete(CONFIGURATION, made.namespace, "cams")
        await made.until(CONFIGURATION, lambda found: not found)
        await until(lambda: (made.namespace, "cams") not in parts.handing.given())


async def test_a_restart_changes_and_tells_nothing(made: World) -> None:
    await made.configure()
    async with made.launcher() as parts:
        await made.live()
        for number in range(5):
            await made.see(f"serial-{number}")
        await made.count(POD, 5)
        await made.hear(*["instance-added"] * 5)
        await made.until(INSTANCE, lambda found: all("phase" in one.get("status", {}) for one in found))
        await made.until(CONFIGURATION, lambda found: found[0]["status"].get("instances") == 5)
        await asyncio.sleep(3 * GATHER_SECONDS)
        await parts.queue.idle()
    before = await versions(made)
    told = len(made.told)
    async with made.launcher() as parts:
        await parts.ledger.synced.wait()
        await parts.view.synced()
        await made.see("serial-0", change="changed")
        await asyncio.sleep(3 * GATHER_SECONDS)
        await parts.queue.idle()
    assert await versions(made) == before
    assert len(made.told) == told


async def versions(made: World) -> dict[str, str]:
    """What changes with every write."""
    found = [one for kind in (CONFIGURATION, INSTANCE, POD) for one in await made.objects(kind)]
    return {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in found}

"""What must not go wrong: collisions, foreign objects, a bus that is away, configurations that cannot work."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore.events import ConfigurationSet
from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import CONFIG_MAP, CONFIGURATION, EVENT, INSTANCE, POD, Kind
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from tests.bus_kit import join, publish, until
from tests.launcher_kit import Object, World, configuration, world

DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")


def twins() -> tuple[str, str]:
    """Two devices whose digests are the same."""
    seen: dict[str, str] = {}
    for number in itertools.count():
        key = f"serial-{number}"
        other = seen.setdefault(names.digest(key), key)
        if other != key:
            return other, key
    raise AssertionError


async def test_two_devices_with_one_digest_are_two_instances_and_people_are_told(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        for key in twins():
            await made.see(key, shared=True)
        found = await made.count(INSTANCE, 2)
        assert {len(one["metadata"]["name"]) for one in found} == {len("cams-") + 6, len("cams-") + 16}
        await made.count(POD, 2)
        await made.until(EVENT, lambda events: any(one.get("reason") == "DigestCollision" for one in events))


async def test_an_instance_that_somebody_deletes_comes_again(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        (before,) = await made.count(INSTANCE, 1)
        await made.cluster.delete(INSTANCE, made.namespace, before["metadata"]["name"])
        await made.until(
            INSTANCE, lambda found: len(found) == 1 and found[0]["metadata"]["uid"] != before["metadata"]["uid"]
        )
        await made.hear("instance-added", "instance-added")


async def test_events_that_come_before_the_configuration_wait_for_it(made: World) -> None:
    async with made.launcher():
        await made.live()
        await made.see()
        await made.configure()
        await made.count(POD, 1)


async def test_after_the_loss_of_the_buss_data_instances_stay(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        await made.count(POD, 1)
    fresh = World(made.bus, made.cluster, made.namespace)
    async with fresh.launcher(site="another") as parts:
        await parts.ledger.synced.wait()
        await parts.view.synced()
        await parts.queue.idle()
        assert len(await made.names(INSTANCE)) == 1
        assert len(await made.names(POD)) == 1


async def test_a_configuration_that_cannot_be_read_keeps_what_it_has(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        (pod,) = await made.count(POD, 1)
        await made.configure(brokerProperties={"A": "b"}, match={"nonsense": 1})
        await made.until(
            CONFIGURATION, lambda found: found[0].get("status", {}).get("phase") == "Invalid", "it is called invalid"
        )
        await made.until(EVENT, lambda events: any(one.get("reason") == "Invalid" for one in events))
        (after,) = await made.objects(POD)
        assert after["metadata"]["uid"] == pod["metadata"]["uid"]
        await made.configure()
        await made.until(CONFIGURATION, lambda found: found[0]["status"]["phase"] == "Active")


async def test_manifests_are_made_for_each_instance_and_stay_in_their_namespace(made: World) -> None:
    good = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "{{INSTANCE}}-about"},
        "data": {"device": "{{DEVICE}}", "url": "{{properties.URL}}"},
    }
    await made.configure(brokerSpec=None, brokerManifests=[good])
    async with made.launcher():
        await made.live()
        await made.see(properties={"URL": "rtsp://{{INSTANCE}}/'\"\n- x: y"})
        about = [one for one in await made.until(CONFIG_MAP, any_about) if any_about([one])]
        found = about[0]
        assert found["data"] == {"device": "serial-k5qm", "url": "rtsp://{{INSTANCE}}/'\"\n- x: y"}
        await made.see(change="disappeared")
        await made.until(CONFIG_MAP, lambda found: not any_about(found))


def any_about(found: list[Object]) -> bool:
    """Every namespace of a real cluster has a ConfigMap of its own as well."""
    return any(one["metadata"]["name"].endswith("-about") for one in found)


@pytest.mark.parametrize(
    ("manifest", "word"),
    [
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}, "Secret"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}},
            "kube-system",
        ),
    ],
)
async def test_manifests_cannot_be_what_is_not_allowed(made: World, manifest: dict[str, object], word: str) -> None:
    await made.configure(brokerSpec=None, brokerManifests=[manifest])
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(
            CONFIGURATION,
            lambda found: found[0].get("status", {}).get("phase") == "Invalid" and word in str(found[0]["status"]),
        )


async def test_a_placeholder_that_a_device_cannot_fill_is_told_on_its_instance(made: World) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "data": {"a": "{{properties.URLS}}"},
    }
    await made.configure(brokerSpec=None, brokerManifests=[manifest])
    async with made.launcher():
        await made.live()
        await made.see(properties={"URL": "rtsp://camera"})
        await made.until(
            INSTANCE,
            lambda found: len(found) == 1 and "URLS" in str(found[0].get("status")),
            "it names the placeholder",
        )


async def test_configurations_of_one_name_in_two_namespaces_do_not_meet(nats_bus: NatsBus) -> None:
    cluster = MemoryCluster()
    async with world(nats_bus, cluster, "") as made:
        for place in ("one", "two"):
            await cluster.apply(CONFIGURATION, configuration(place), manager="user")
        async with made.launcher():
            await made.live()
            await made.see("serial-1", configurations=("one.cams",))
            await made.see("serial-2", configurations=("two.cams",))
            found = await made.count(INSTANCE, 2)
            assert {one["metadata"]["namespace"] for one in found} == {"one", "two"}
            await cluster.delete(CONFIGURATION, "one", "cams")
            (left,) = await made.until(INSTANCE, lambda found: len(found) == 1)
            assert left["metadata"]["namespace"] == "two"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A NATS server for a test that stops it."""
    server = EmbeddedServer(tmp_path, port=0, monitor_port=0)
    server.start()
    yield server
    server.stop()


async def test_while_the_bus_is_away_brokers_are_left_alone_and_then_all_is_told(own_server: EmbeddedServer) -> None:
    bus = await join(own_server, "admin")
    await bus.declare()
    async with world(bus, MemoryCluster(), "place") as made:
        await made.configure()
        async with made.launcher() as parts:
            await made.live()
            await made.see("serial-1")
            await made.see("serial-2")
            before = {one["metadata"]["uid"] for one in await made.count(POD, 2)}
            await made.hear("instance-added", "instance-added")
            own_server.stop()
            # Somebody edits while nobody hears of it.
            await made.configure(capacity=5)
            await made.until(INSTANCE, lambda found: all(one["spec"]["capacity"] == 5 for one in found))
            own_server.start()
            await made.hear("instance-changed", "instance-changed")
            await until(lambda: len(parts.queue) == 0)
        assert {one["metadata"]["uid"] for one in await made.objects(POD)} == before
        assert made.times("instance-added") == 2
    await bus.close()


async def test_while_an_agent_is_silent_nobody_knows_and_brokers_stay(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live(interval=0.3)
        await made.see()
        (pod,) = await made.count(POD, 1)
        await made.until(INSTANCE, lambda found: seen_condition(found) == "Unknown", "the agent is silent")
        assert [one["metadata"]["uid"] for one in await made.objects(POD)] == [pod["metadata"]["uid"]]
        await made.live(interval=3600)
        await made.until(INSTANCE, lambda found: seen_condition(found) == "True", "the agent is back")


def seen_condition(found: list[Object]) -> str:
    """Whether the one instance is seen, as its status says."""
    conditions = found[0].get("status", {}).get("conditions", [])
    return next((one["status"] for one in conditions if one["type"] == "Seen"), "")


async def test_launchers_of_two_namespaces_leave_each_others_instances_alone(nats_bus: NatsBus) -> None:
    cluster = MemoryCluster()
    async with world(nats_bus, cluster, "one") as one, world(nats_bus, cluster, "two") as two:
        for made in (one, two):
            await made.configure()
            async with made.launcher() as parts:
                await made.live()
                await made.see(f"serial-{made.namespace}")
                await made.count(POD, 1)
                await made.hear("instance-added")
                await parts.queue.idle()
        for made in (one, two):
            assert made.times("instance-removed") == 0
            assert len(await made.names(INSTANCE)) == 1


async def test_what_was_written_while_its_instance_went_does_not_stay(made: World) -> None:
    await made.configure()
    async with made.launcher():
        await made.live()
        await made.see()
        (instance,) = await made.count(INSTANCE, 1)
        await made.count(POD, 1)
        await made.see(change="disappeared")
        await made.until(INSTANCE, lambda found: not found)
        # As if the answer to its creation had come only now.
        await made.cluster.create(POD, pod_of(instance, made.namespace))
        await made.until(POD, lambda found: not found)


def pod_of(instance: Object, namespace: str) -> Object:
    """A pod that says it serves the instance."""
    labels = {"controller": "akri.sh", "akri.sh/instance": instance["metadata"]["name"]}
    metadata = {"name": "late", "namespace": namespace, "labels": labels}
    containers = [{"name": "b", "image": "example/b"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


async def test_a_launcher_that_is_started_again_knows_the_manifests_that_it_made(made: World) -> None:
    await made.configure(brokerSpec=None, brokerManifests=[deployment(1)])
    async with made.launcher():
        await made.live()
        await made.see()
        await made.count(DEPLOYMENT, 1)
        await made.hear("workload-launched")
    await made.configure(brokerSpec=None, brokerManifests=[deployment(2)])
    async with made.launcher():
        await made.until(DEPLOYMENT, lambda found: [one["spec"]["replicas"] for one in found] == [2])
        assert not [one for one in await made.objects(EVENT) if one.get("reason") == "BrokerRefused"]
    assert not made.times("workload-stopped")


def deployment(replicas: int) -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "b", "image": "example/b"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "{{INSTANCE}}"}, "spec": spec}


async def test_manifests_that_are_no_longer_wanted_go_with_the_next_start(made: World) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{INSTANCE}}-about"}, "data": {"a": "1"}}
    await made.configure(brokerSpec=None, brokerManifests=[manifest])
    async with made.launcher():
        await made.live()
        await made.see()
        await made.until(CONFIG_MAP, any_about)
    await made.configure()
    async with made.launcher():
        await made.count(POD, 1)
        await made.until(CONFIG_MAP, lambda found: not any_about(found))


async def test_a_configuration_on_the_bus_that_nobody_can_read_keeps_no_launcher_from_working(made: World) -> None:
    broken = ConfigurationSet(site="site", token="somebodys", configuration=msgspec.Raw(b'{"name": "\xff"}'))
    await publish(made.bus, broken)
    await made.configure()
    async with made.launcher() as parts:
        await made.live()
        await made.see()
        await made.count(POD, 1)
        await publish(made.bus, broken, "again")
        await made.configure("more")
        await made.until(CONFIGURATION, lambda found: all(one.get("status") for one in found))
        assert {key[1] for key in parts.handing.given()} == {"cams", "more"}

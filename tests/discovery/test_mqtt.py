"""The handler `mqtt` at real brokers: mosquitto, and nats-server with its MQTT listener.

Devices are processes that are killed; the Sparkplug node is the client of Cirrus Link (npm: sparkplug-client).
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_discovery.handlers.mqtt.details import (
    Broker,
    Gone,
    HomeAssistant,
    Late,
    MqttDetails,
    MqttSettings,
    Own,
    Sparkplug,
    Tls,
    TopicMap,
)
from ashore_discovery.handlers.mqtt.handler import Mqtt
from ashore_discovery.model import Facet
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, hearing
from tests.discovery.peers import modules_with
from tests.discovery_kit import Heard, listening
from tests.mqtt_kit import ROOT, broker, device

BOTH = pytest.mark.parametrize("kind", ["mosquitto", "nats"])
PUMP = "default/ashore/v1/hall/pump"


@pytest.fixture
def port(unused_tcp_port: int) -> int:
    return unused_tcp_port


def settings(port: int, **more: Any) -> MqttSettings:
    broker = Broker(host="127.0.0.1", port=port, settle_seconds=0.3, longest_pause_seconds=0.5, **more)
    return MqttSettings(brokers={"default": broker})


@asynccontextmanager
async def at(port: int, details: MqttDetails, **more: Any) -> AsyncIterator[Heard]:
    async with listening(Mqtt, details, settings=settings(port, **more)) as heard:
        await heard.swept()
        yield heard


@asynccontextmanager
async def client(port: int) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", port) as found:
        yield found


@BOTH
async def test_a_birth_is_seen_and_the_will_of_who_is_killed_ends_it(kind: str, tmp_path: Path, port: int) -> None:
    async with broker(kind, tmp_path, port), at(port, MqttDetails(own=Own())) as heard:
        async with device(port, "hall/pump", "1") as process:
            found = await heard.until("seen", PUMP)
            assert found.facts["serial"] == "SN-hall/pump"
            process.kill()
            killed = time.time()
            gone = await heard.until("gone", PUMP)
        assert gone.cause == "will"
        print(f"{kind}: killed to sighting {1000 * (gone.wire_at - killed):.1f} ms")


@BOTH
async def test_what_is_retained_is_seen_by_who_comes_late_and_the_dead_are_not(
    kind: str, tmp_path: Path, port: int
) -> None:
    async with broker(kind, tmp_path, port), client(port) as sender:
        for name, boot, death in (("alive", "2", "1"), ("dead", "1", "1")):
            await sender.publish(f"ashore/v1/hall/{name}/birth", f'{{"boot":"{boot}"}}', qos=1, retain=True)
            await sender.publish(f"ashore/v1/hall/{name}/death", f'{{"boot":"{death}"}}', qos=1, retain=True)
        async with at(port, MqttDetails(own=Own())) as heard:
            assert [one.id for one in heard.sightings if one.kind == "seen"] == ["default/ashore/v1/hall/alive"]


@BOTH
async def test_the_will_of_an_old_session_ends_nothing(kind: str, tmp_path: Path, port: int) -> None:
    async with (
        broker(kind, tmp_path, port),
        at(port, MqttDetails(own=Own())) as heard,
        device(port, "hall/pump", "1") as old,
    ):
        await heard.until("seen", PUMP)
        async with device(port, "hall/pump", "2"), client(port) as sender:
            await heard.until("seen", PUMP, after=len(heard.sightings) - 1)
            await until(lambda: any(one.facts.get("boot") == "2" for one in heard.sightings))
            old.kill()
            await old.wait()
            # Whatever comes later has come after the will.
            await asyncio.sleep(0.5)
            await sender.publish("ashore/v1/hall/last/birth", b'{"boot":"1"}', qos=1)
            await heard.until("seen", "default/ashore/v1/hall/last")
            assert not [one for one in heard.sightings if one.kind == "gone"]


@BOTH
async def test_devices_of_home_assistant_come_and_go(kind: str, tmp_path: Path, port: int) -> None:
    lamp = "default/homeassistant/lamp-1"
    config = {"avty_t": "lamps/1/state", "uniq_id": "x", "dev": {"ids": "lamp-1", "mf": "Ikea"}}
    async with (
        broker(kind, tmp_path, port),
        at(port, MqttDetails(home_assistant=HomeAssistant())) as heard,
        client(port) as sender,
    ):
        await sender.publish("lamps/1/state", "online", qos=1, retain=True)
        await sender.publish("homeassistant/light/x/config", msgspec.json.encode(config), qos=1, retain=True)
        assert (await heard.until("seen", lamp)).facts["manufacturer"] == "Ikea"
        await sender.publish("lamps/1/state", "offline", qos=1, retain=True)
        assert (await heard.until("gone", lamp)).cause == "offline"
        await sender.publish("lamps/1/state", "online", qos=1, retain=True)
        await heard.until("seen", lamp, after=2)
        await sender.publish("homeassistant/light/x/config", b"", qos=1, retain=True)
        assert (await heard.until("gone", lamp, after=3)).cause == "removed"


@BOTH
async def test_a_topic_map(kind: str, tmp_path: Path, port: int) -> None:
    form = TopicMap(name="line", topic="plant.1/{line}/{dev}/up", gone=Gone(values=["0"]))
    async with broker(kind, tmp_path, port), at(port, MqttDetails(maps=[form])) as heard, client(port) as sender:
        await sender.publish("plant.1/a/b/up", "1", retain=True)
        assert (await heard.until("seen", "default/map/line/a/b")).facts["line"] == "a"
        await sender.publish("plant.1/a/b/up", "0", retain=True)
        await heard.until("gone", "default/map/line/a/b")


@asynccontextmanager
async def edge_node(port: int, node: str = "edge", device: str = "valve") -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        "node",
        str(ROOT / "tests/discovery/sparkplug_node.js"),
        f"tcp://127.0.0.1:{port}",
        "hall",
        node,
        device,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(modules_with("sparkplug-client"))},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"born\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def tell(process: asyncio.subprocess.Process, word: str) -> None:
    assert process.stdin is not None
    process.stdin.write(word.encode() + b"\n")
    await process.stdin.drain()


EDGE, VALVE = "default/spBv1.0/hall/edge", "default/spBv1.0/hall/edge/valve"


@BOTH
async def test_births_and_deaths_of_a_real_sparkplug_node(kind: str, tmp_path: Path, port: int) -> None:
    async with broker(kind, tmp_path, port), at(port, MqttDetails(sparkplug=Sparkplug())) as heard:
        async with edge_node(port) as process:
            found = await heard.until("seen", EDGE)
            assert (found.facts["serial"], found.facts["manufacturer"]) == ("SN-edge", "Cirrus")
            assert (await heard.until("seen", VALVE)).facts["hardware"] == "2.0"
            await tell(process, "device-death")
            await heard.until("gone", VALVE)
            count = len(heard.sightings)
            await tell(process, "device-birth")
            await heard.until("seen", VALVE, after=count)
            process.kill()
            killed = time.time()
            gone = await heard.until("gone", EDGE)
        assert gone.cause == "will"
        await heard.until("gone", VALVE, after=count)
        print(f"{kind}: killed to sighting of the will {1000 * (gone.wire_at - killed):.1f} ms")


@BOTH
@pytest.mark.parametrize("late", ["listen", "ask"])
async def test_a_sparkplug_node_that_was_born_before_us(kind: str, late: Late, tmp_path: Path, port: int) -> None:
    async with broker(kind, tmp_path, port), edge_node(port) as process:
        await asyncio.sleep(0.3)
        async with at(port, MqttDetails(sparkplug=Sparkplug(late=late))) as heard:
            await tell(process, "data")
            await heard.until("seen", VALVE)
            if late == "ask":
                while not any(one.cause == "birth" and one.id == EDGE for one in heard.sightings):
                    await heard.until("seen", EDGE, after=len(heard.sightings))
                assert await heard.handler.probe(Facet(source="mqtt", handler="mqtt", id=VALVE)) is True
            else:
                assert {one.cause for one in heard.sightings} == {"data"}


@BOTH
async def test_a_broker_that_dies_makes_devices_unknown_and_its_return_makes_no_flap(
    kind: str, tmp_path: Path, port: int, nats_server: EmbeddedServer, nats_bus: NatsBus
) -> None:
    look = {"name": "all", "handler": "mqtt", "details": {"own": {}}}
    handlers = {"mqtt": msgspec.to_builtins(settings(port, return_seconds=20))}
    async with (
        broker(kind, tmp_path / "broker", port) as mqtt,
        device(port, "hall/pump", "1") as process,
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, look, handlers=handlers),
    ):
        await ear.until("appeared", PUMP)
        mqtt.kill()
        await ear.until("unknown", PUMP)
        await asyncio.sleep(1)
        await mqtt.start()
        await until(lambda: ear.states() == {PUMP: "present"})
        assert ear.changes(PUMP) == ["appeared", "unknown", "changed"]
        # What the broker has kept says that it is there, before it has come back itself.
        assert process.stdout is not None
        assert await process.stdout.readline() == b"born\n"
        process.kill()
        killed = time.time()
        gone = await ear.until("disappeared", PUMP)
        print(
            f"{kind}: killed to event {gone.seen_at - 1000 * killed:.0f} ms, heard {1000 * (time.time() - killed):.0f}"
        )


async def test_who_does_not_come_back_with_its_broker_is_gone_after_its_time(
    tmp_path: Path, port: int, nats_server: EmbeddedServer, nats_bus: NatsBus
) -> None:
    look = {"name": "all", "handler": "mqtt", "details": {"own": {}}}
    handlers = {"mqtt": msgspec.to_builtins(settings(port, return_seconds=1))}
    async with (
        broker("mosquitto", tmp_path / "broker", port) as mqtt,
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, look, handlers=handlers),
    ):
        async with device(port, "hall/pump", "1"):
            await ear.until("appeared", PUMP)
            mqtt.kill()
            await ear.until("unknown", PUMP)
        await mqtt.start()
        gone = await ear.until("disappeared", PUMP)
        assert gone.cause == "probe-missed"


@BOTH
async def test_an_agent_that_is_started_anew_makes_no_flap_and_misses_whoever_has_left(
    kind: str, tmp_path: Path, port: int, nats_server: EmbeddedServer, nats_bus: NatsBus
) -> None:
    look = {"name": "all", "handler": "mqtt", "details": {"own": {}}}
    handlers = {"mqtt": msgspec.to_builtins(settings(port, return_seconds=1))}
    async with broker(kind, tmp_path / "broker", port), hearing(nats_bus) as ear, device(port, "hall/pump", "1"):
        async with device(port, "hall/left", "1"), agent(nats_server, tmp_path, look, handlers=handlers):
            await ear.until("appeared", PUMP)
            await ear.until("appeared", "hall/left")
        async with agent(nats_server, tmp_path, look, handlers=handlers):
            await ear.until("disappeared", "hall/left")
        assert not {"appeared", "disappeared"} & set(ear.changes(PUMP)[1:])


def certificates(folder: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    found = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "broker.pem").write_bytes(found.public_bytes(serialization.Encoding.PEM))
    (folder / "broker.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
async def test_a_broker_with_tls_and_a_password(protocol: str, tmp_path: Path, port: int) -> None:
    keys = tmp_path / "keys"
    certificates(keys)
    tls = Tls(ca=(keys / "broker.pem").read_text(), certificate=(keys / "broker.pem").read_text())
    tls = msgspec.structs.replace(tls, key=(keys / "broker.key").read_text())
    form = Broker(
        host="127.0.0.1", port=port, settle_seconds=0.3, tls=tls, username="agent", password="right", protocol=protocol
    )
    async with broker("mosquitto", tmp_path / "broker", port, keys=keys):
        for password, mode in (("wrong", "degraded"), ("right", "events")):
            brokers = {"default": msgspec.structs.replace(form, password=password)}
            async with listening(Mqtt, MqttDetails(own=Own()), settings=MqttSettings(brokers=brokers)) as heard:
                await until(lambda found=heard: bool(found.modes))
                assert heard.modes[0][0] == mode
                assert mode == "events" or "authori" in heard.modes[0][1].lower()
        brokers = {"default": msgspec.structs.replace(form, tls=Tls())}
        async with listening(Mqtt, MqttDetails(own=Own()), settings=MqttSettings(brokers=brokers)) as heard:
            await until(lambda: bool(heard.modes))
            assert "certificate" in heard.modes[0][1]


async def test_of_two_brokers_one_is_lost(tmp_path: Path, unused_tcp_port_factory: Any) -> None:
    first, second = unused_tcp_port_factory(), unused_tcp_port_factory()
    brokers = {
        name: Broker(host="127.0.0.1", port=number, settle_seconds=0.3, longest_pause_seconds=0.5)
        for name, number in (("one", first), ("two", second))
    }
    details = [MqttDetails(own=Own(), broker=name) for name in (*brokers, "three")]
    async with (
        broker("mosquitto", tmp_path / "one", first) as lost,
        broker("mosquitto", tmp_path / "two", second),
        listening(Mqtt, *details, settings=MqttSettings(brokers=brokers)) as heard,
        device(first, "hall/a", "1"),
        device(second, "hall/b", "1"),
    ):
        a, b = await heard.until("seen", "one/ashore/v1/hall/a"), await heard.until("seen", "two/ashore/v1/hall/b")
        assert "there is no broker 'three'" in heard.modes[-1][1]
        lost.kill()
        await until(lambda: bool(heard.losses))
        assert {one.within for one in heard.losses} == {"one/"}
        assert heard.modes[-1][0] == "degraded"

        def facet(name: str) -> Facet:
            return Facet(source="mqtt", handler="mqtt", id=name)

        assert await heard.handler.probe(facet(a.id)) is None
        assert await heard.handler.probe(facet(b.id)) is True
        assert heard.handler.replan(Mqtt.plan(details[1:2]))
        await heard.until("gone", a.id)


async def test_a_topic_that_the_broker_refuses_is_told(tmp_path: Path, port: int) -> None:
    server = EmbeddedServer(tmp_path / "nats", port=0, monitor_port=0, mqtt_port=port)
    server.start()
    try:
        password = (tmp_path / "nats" / "nkeys" / "mqtt.password").read_text()
        brokers = {"default": Broker(host="127.0.0.1", port=port, username="mqtt", password=password)}
        async with listening(Mqtt, MqttDetails(sparkplug=Sparkplug()), settings=MqttSettings(brokers=brokers)) as heard:
            await until(lambda: bool(heard.modes))
            assert heard.modes[0][0] == "degraded"
            assert "refuses the topic spBv1.0/+/NDEATH/+" in heard.modes[0][1]
    finally:
        server.stop()


@BOTH
async def test_a_flood_of_rubbish_harms_nobody(kind: str, tmp_path: Path, port: int) -> None:
    everything = MqttDetails(own=Own(), home_assistant=HomeAssistant(), sparkplug=Sparkplug())
    async with broker(kind, tmp_path, port), at(port, everything, largest=1000, queue=64) as heard:
        async with client(port) as sender:
            for number in range(300):
                await sender.publish(f"ashore/v1/x/d{number}/birth", b"\xff{" * 3)
                await sender.publish(f"homeassistant/x/d{number}/config", b'{"avty_t":"a b #","dev":[]}')
                await sender.publish(f"spBv1.0/g/NBIRTH/n{number}", b"\x12\xff\xff\xff\xff\x0f")
            await sender.publish("ashore/v1/hall/large/birth", b'{"boot":"' + b"1" * 2000 + b'"}', retain=True)
            # What a full queue has lost is sent again, because it is retained.
            await sender.publish("ashore/v1/hall/pump/birth", b'{"boot":"1"}', qos=1, retain=True)
            await heard.until("seen", PUMP)
            await sender.publish("ashore/v1/hall/pump/birth", b"", qos=1, retain=True)
            await heard.until("gone", PUMP)
        assert not any("large" in one.id for one in heard.sightings)
        assert not heard.losses


async def test_a_thousand_devices_at_once(tmp_path: Path, port: int) -> None:
    async with broker("mosquitto", tmp_path, port), at(port, MqttDetails(own=Own())) as heard, client(port) as sender:
        began = time.time()
        for number in range(1000):
            await sender.publish(f"ashore/v1/hall/d{number}/birth", b'{"boot":"1"}', retain=True)
        await until(lambda: len({one.id for one in heard.sightings}) == 1000)
        print(f"1000 births in {time.time() - began:.2f} s")

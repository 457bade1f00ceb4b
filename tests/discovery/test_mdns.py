"""The handler `mdns` with real responders in other network namespaces: avahi, and zeroconf as a second one."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_discovery.handlers.mdns.details import MdnsDetails
from ashore_discovery.handlers.mdns.handler import Mdns
from ashore_discovery.handlers.mdns.presets import Preset
from tests.bus_kit import until
from tests.contract.discovery.agents import agent, hearing
from tests.discovery.namespaces import NEEDS_NAMESPACES, lan, running
from tests.discovery.responders import (
    FLOOD,
    GARBAGE,
    HTTP,
    NEEDS_AVAHI,
    PIPES,
    avahi,
    cable,
    established,
    ids,
    ip,
    link_local,
    offered,
    publish,
    watching,
    zeroconf,
)
from tests.discovery_kit import listening

pytestmark = [NEEDS_NAMESPACES]


@NEEDS_AVAHI
async def test_a_service_appears_with_all_that_it_says_and_says_goodbye() -> None:
    async with lan(2) as (here, there), avahi(there) as environment, watching(here, HTTP, enrich=True) as watched:
        words = ("Gate Camera", "_http._tcp", "8080", "model=M 1", "path=/view")
        async with running(await publish(there, environment, *words)) as peer:
            name = "gate camera._http._tcp.local"
            seen = await watched.until(what="Sighting", kind="seen", id=name)
            print(f"wire to sighting {1000 * (seen['at'] - seen['wire_at']):.1f} ms")
            # avahi says at once that there is a service, and where it is when it has made sure that the name is free.
            whole = await watched.whole(name)
            assert whole["facts"]["ip"] == there.address
            assert whole["facts"]["port"] == 8080
            assert f"http://{there.address}:8080/view" in whole["endpoints"]
            assert offered(whole, txt=[{"key": "Model", "equals": "m 1"}, {"key": "secure", "present": False}])
            assert offered(whole, txt=[{"key": "model", "glob": "M *"}], names=["gate *"])
            assert not offered(whole, txt=[{"key": "model", "equals": "M 2"}])
            assert not offered(whole, exclude_names=["gate*"])
            ended = time.time()
            peer.send_signal(signal.SIGTERM)
            bye = await watched.until(what="Sighting", kind="bye", id=seen["id"])
            print(f"SIGTERM to goodbye {1000 * (bye['at'] - ended):.1f} ms")


@NEEDS_AVAHI
async def test_of_a_type_only_services_of_a_subtype_are_seen() -> None:
    wanted = {"services": ["_camera._sub._http._tcp"]}
    async with lan(2) as (here, there), avahi(there) as environment, watching(here, wanted) as watched:
        async with (
            running(await publish(there, environment, "Page", "_http._tcp", "80")),
            running(
                await publish(
                    there, environment, "--subtype=_camera._sub._http._tcp", "Gate", "_http._tcp", "81", "a=b"
                )
            ) as peer,
        ):
            seen = await watched.whole("gate._http._tcp.local")
            assert seen["facts"]["subtypes"] == ["_camera"]
            assert offered(seen, services=["_camera._sub._http._tcp"])
            assert not offered(seen, services=["_door._sub._http._tcp"])
            peer.send_signal(signal.SIGTERM)
            await watched.until(what="Sighting", kind="bye", id=seen["id"])
        assert ids(watched.said(what="Sighting")) == {"gate._http._tcp.local"}


@NEEDS_AVAHI
async def test_a_service_of_another_type_is_not_seen() -> None:
    async with lan(2) as (here, there), avahi(there) as environment, watching(here, HTTP) as watched:
        async with (
            running(await publish(there, environment, "Printer", "_ipp._tcp", "631")),
            running(await publish(there, environment, "Page", "_http._tcp", "80")),
        ):
            await watched.until(what="Sighting", id="page._http._tcp.local")
        assert ids(watched.said(what="Sighting")) == {"page._http._tcp.local"}


@NEEDS_AVAHI
async def test_an_agent_finds_a_pulled_plug_within_five_seconds(
    nats_server: EmbeddedServer, nats_bus: NatsBus, tmp_path: Path
) -> None:
    async with lan(1) as (there,):
        with cable(there) as interface:
            look: dict[str, Any] = {"name": "pages", "handler": "mdns", "details": HTTP}
            handlers = {"mdns": {"interfaces": [interface]}}
            async with (
                avahi(there) as environment,
                agent(nats_server, tmp_path, look, handlers=handlers),
                hearing(nats_bus) as ear,
                running(await publish(there, environment, "Cam", "_http._tcp", "80")),
            ):
                appeared = await ear.until("appeared", "cam._http._tcp.local")
                print(f"wire to event {appeared.seen_at - appeared.wire_at} ms")
                await until(lambda: any("ip" in one.facts for one in ear.devices()), seconds=10)
                await asyncio.sleep(4)
                assert {one.state for one in ear.devices()} == {"present"}
                for _ in range(2):
                    pulled, count = time.time(), len(ear.devices())
                    there.unplug()
                    await ear.until("disappeared", after=count)
                    print(f"pulled plug to disappeared {time.time() - pulled:.2f} s")
                    plugged, count = time.time(), len(ear.devices())
                    there.plug()
                    await ear.until("appeared", after=count)
                    print(f"plug to appeared {time.time() - plugged:.2f} s")
                    await asyncio.sleep(5)


@NEEDS_AVAHI
async def test_what_was_there_before_is_found_at_the_first_look() -> None:
    async with (
        lan(2) as (here, there),
        avahi(there) as environment,
        running(await publish(there, environment, "Old", "_http._tcp", "80")) as peer,
    ):
        await established(peer)
        async with watching(here, HTTP) as watched:
            assert ids(watched.said(what="Sighting")) == {"old._http._tcp.local"}


@NEEDS_AVAHI
async def test_a_pulled_plug_is_found_and_a_return_as_well() -> None:
    async with lan(2) as (here, there), avahi(there) as environment:
        peer = await publish(there, environment, "Cam", "_http._tcp", "80")
        async with running(peer), watching(here, HTTP, probe=0.7) as watched:
            await watched.until(what="Sighting", cause="answered", id="cam._http._tcp.local")
            alive = await watched.until(what="probe", answer=True)
            assert alive["id"] == "cam._http._tcp.local"
            pulled, count = time.time(), len(watched.lines)
            there.unplug()
            missed = await watched.until(after=count, what="Sighting", kind="missed")
            print(f"pulled plug to missed {missed['at'] - pulled:.2f} s")
            await watched.until(after=watched.lines.index(missed), what="probe", answer=False)
            plugged, count = time.time(), len(watched.lines)
            there.plug()
            back = await watched.until(after=count, what="Sighting", kind="seen")
            print(f"plug to seen {back['at'] - plugged:.2f} s")
            await watched.until(after=count, what="probe", answer=True)


async def test_hundred_and_fifty_services_at_once_are_all_seen() -> None:
    async with lan(2) as (here, there), watching(here, HTTP) as watched:
        async with running(await zeroconf(there, 150)):
            await until(lambda: len(ids(watched.said(what="Sighting", kind="seen"))) == 150, seconds=60)
            first, *_ = watched.said(what="Sighting", kind="seen")
            last = next(one for one in reversed(watched.lines) if one.get("cause") == "found")
            print(f"first to last of 150: {last['at'] - first['wire_at']:.2f} s")
            await watched.until(what="Sighting", cause="answered")
        # Killed, it says no goodbye: its host answers no more.
        await watched.until(what="Sighting", kind="missed")


async def test_many_that_come_at_once_are_all_told_since_each_answers(
    nats_server: EmbeddedServer, nats_bus: NatsBus, tmp_path: Path
) -> None:
    look: dict[str, Any] = {"name": "pages", "handler": "mdns", "details": HTTP}
    async with lan(1) as (there,):
        with cable(there) as interface:
            handlers = {"mdns": {"interfaces": [interface]}}
            async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, look, handlers=handlers):
                await until(lambda: any(one.epoch for one in ear.alive()))
                async with running(await zeroconf(there, 150)):
                    await until(lambda: len(ear.last()) == 150, seconds=60)
                times = [one.seen_at for one in ear.devices() if one.change == "appeared"]
                print(f"first to last of 150 told: {max(times) - min(times)} ms")


async def test_a_device_with_nothing_but_ipv6_is_seen_and_asked() -> None:
    async with lan(2) as (here, there):
        address = link_local(there)
        async with running(await zeroconf(there, address=address)), watching(here, HTTP) as watched:
            found = await watched.until(what="Sighting", cause="answered")
            assert found["facts"]["ip"] == f"{address}%eth0"


async def test_a_flood_of_forged_services_ends_at_the_limit() -> None:
    async with (
        lan(2) as (here, there),
        watching(here, HTTP, settings={"most_services": 100}) as watched,
        running(await there.start(sys.executable, "-c", FLOOD, there.address, **PIPES)) as flood,
    ):
        await watched.until(what="health", mode="degraded")
        await flood.wait()
        await asyncio.sleep(1)
        assert len(ids(watched.said(what="Sighting"))) == 100


async def test_what_is_no_mdns_at_all_harms_nobody() -> None:
    async with lan(2) as (here, there), watching(here, HTTP) as watched:
        async with running(await there.start(sys.executable, "-c", GARBAGE, there.address, **PIPES)) as garbage:
            await garbage.wait()
        async with running(await zeroconf(there)):
            await watched.until(what="Sighting", id="thing-0._http._tcp.local")


async def test_each_interface_hears_only_its_own_network() -> None:
    # The first of each has the same address, so it is the second that is far away.
    async with lan(1) as (here,), lan(2) as (_, far):
        switch = far.name.rpartition("-")[0] + "-sw"
        for words in (
            f"-n {here.name} link add eth1 type veth peer name second netns {switch}",
            f"-n {switch} link set second master br0 up",
            f"-n {here.name} address add 10.99.0.9/24 dev eth1",
            f"-n {here.name} link set eth1 up",
        ):
            ip(words)
        async with (
            watching(here, HTTP) as watched,
            watching(here, HTTP, interface="eth1") as other,
            running(await zeroconf(far)),
        ):
            await other.until(what="Sighting", kind="seen")
            await asyncio.sleep(1)
            assert not watched.said(what="Sighting")


@NEEDS_AVAHI
async def test_other_types_are_taken_over_without_a_restart() -> None:
    async with lan(1) as (there,), avahi(there) as environment:
        with cable(there) as interface:
            details = MdnsDetails(services=["_http._tcp"])
            async with (
                running(await publish(there, environment, "Page", "_http._tcp", "80")),
                running(await publish(there, environment, "Paper", "_ipp._tcp", "631")),
                listening(Mdns, details, interface=interface) as heard,
            ):
                await heard.until("seen", "page._http._tcp.local")
                assert heard.handler.replan(Mdns.plan([MdnsDetails(presets=[Preset.PRINTERS])]))
                await heard.until("gone", "page._http._tcp.local")
                await heard.until("seen", "paper._ipp._tcp.local")
                count = len(heard.sightings)
                assert heard.handler.replan(Mdns.plan([details]))
                await heard.until("seen", "page._http._tcp.local", after=count)
                await heard.handler.scan()
                found = await heard.until("seen", "page._http._tcp.local", after=len(heard.sightings))
                assert found.cause in ("answered", "announced")


@NEEDS_AVAHI
async def test_all_types_can_be_browsed_for_the_inventory() -> None:
    async with (
        lan(2) as (here, there),
        avahi(there) as environment,
        running(await publish(there, environment, "Odd", "_odd-thing._udp", "5")),
        watching(here, HTTP, settings={"all_types": True}) as watched,
    ):
        await watched.until(what="Sighting", id="odd._odd-thing._udp.local", seconds=30)


async def test_a_second_responder_on_the_host_of_another_is_not_taken_for_dead() -> None:
    details = {"services": ["_http._tcp", "_ipp._tcp"]}
    async with (
        lan(2) as (here, there),
        running(await zeroconf(there)),
        running(await zeroconf(there, kind="_ipp._tcp")),
        watching(here, details) as watched,
    ):
        await watched.until(what="Sighting", cause="answered")
        await asyncio.sleep(6)
        assert not watched.said(kind="missed")
        assert len(ids(watched.said(what="Sighting", kind="seen"))) == 2

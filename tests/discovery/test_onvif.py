"""The handler `onvif` against ipycam and WSDiscovery, which nobody here wrote, and against forgers; in namespaces."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ashore_discovery.handlers.onvif import gate
from ashore_discovery.handlers.onvif.handler import Onvif
from tests.bus_kit import until
from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan, running
from tests.discovery.onvif_peers import ipycam, leave, publisher, shout
from tests.discovery.watched import Watched, watching

pytestmark = [pytest.mark.interop, NEEDS_NAMESPACES]

ADMIN = {"username_default": "admin", "password_default": "env:CAMERA_PASSWORD"}
FORGED = "urn:uuid:00000000-0000-4000-8000-00000000f0e9"


@asynccontextmanager
async def onvif(host: Host, *, keys: dict[str, str] | None = None, **order: object) -> AsyncIterator[Watched]:
    details = [{"discoveryProperties": keys or {}}]
    async with watching(host, "onvif", details=details, interface="eth0", **order) as watched:
        yield watched


@asynccontextmanager
async def whole(host: Host, folder: Path) -> AsyncIterator[Watched]:
    """A whole agent there, and what its bus is told."""
    order = {
        "configurations": [{"name": "cameras", "handler": "onvif"}],
        "handlers": {"onvif": {"interfaces": ["eth0"]}},
    }
    started = await host.python(
        "tests.discovery.whole", str(folder), json.dumps(order), stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    async with running(started) as process:
        watched = Watched(process)
        listening = asyncio.create_task(watched.listen())
        try:
            await watched.until("health")
            # It has looked around, and what is seen from now on is news.
            await watched.until("alive", lambda one: one["handlers"] and one["handlers"][0]["mode"] == "events")
            yield watched
        finally:
            listening.cancel()


def forgeries(watched: Watched, what: str) -> set[str]:
    return {one["key"] for one in watched.all(what) if one["facts"].get("name") != "Gate"}


async def test_a_camera_is_seen_at_its_hello_says_what_it_is_and_leaves_at_its_bye(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "geheim")
    async with lan(2) as (here, there), onvif(here, keys=ADMIN, enrich=True) as watched:
        await watched.until("Swept")
        async with ipycam(there, tmp_path, username="admin", password="geheim") as camera:
            seen = await watched.until("Sighting", kind="seen")
            print(f"a hello is told {1000 * (seen['at'] - seen['wire_at']):.2f} ms after its first byte")
            assert seen["cause"] == "hello"
            assert seen["endpoints"] == ["http://10.77.0.2:8080/onvif/device_service"]
            assert seen["facts"]["name"] == "Gate"
            learnt = (await watched.until("Learnt", id=seen["id"]))["learnt"]
            told = {name: learnt["facts"][name] for name in ("vendor", "model", "firmware", "serial", "credentials")}
            assert told == {
                "vendor": "Acme", "model": "M1", "firmware": "1.2.3", "serial": "SN-4711", "credentials": "accepted"
            }  # fmt: skip
            # It does not answer GetNetworkInterfaces; the kernel has spoken with its hardware.
            assert len(learnt["facts"]["mac"]) == 17
            assert learnt["identity"] == {"serial": "Acme/M1/SN-4711"}
            await leave(camera)
            await watched.until("Sighting", kind="bye", id=seen["id"])


async def test_a_camera_that_was_there_before_is_found_by_looking_around(tmp_path: Path) -> None:
    async with lan(2) as (here, there), ipycam(there, tmp_path), onvif(here) as watched:
        # It may not have been ready when the first look around began.
        await watched.until("Swept")
        await asyncio.sleep(1)
        await watched.scan()
        found = await watched.until("Sighting", kind="seen", cause="probe-match")
        assert found["facts"]["name"] == "Gate"


@pytest.mark.parametrize(("keys", "outcome"), [(ADMIN, "refused"), ({}, "missing")])
async def test_credentials_that_are_not_taken_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], outcome: str
) -> None:
    monkeypatch.setenv("CAMERA_PASSWORD", "wrong")
    async with lan(2) as (here, there), onvif(here, keys=keys, enrich=True) as watched:
        await watched.until("Swept")
        async with ipycam(there, tmp_path, username="admin", password="geheim"):
            learnt = (await watched.until("Learnt"))["learnt"]
            assert learnt["facts"]["credentials"] == outcome
            assert "firmware" not in learnt["facts"]
            health = await watched.until("health", lambda one: "10.77.0.2" in one["why"])
            assert "credentials" in health["why"]
            assert "wrong" not in json.dumps(watched.said)


async def test_a_pulled_plug_is_found_and_so_is_its_return(tmp_path: Path) -> None:
    (tmp_path / "camera").mkdir()
    async with lan(2) as (here, there), whole(here, tmp_path) as watched, ipycam(there, tmp_path / "camera"):
        appeared = await watched.until("appeared")
        await watched.until("changed", lambda one: "firmware" in one["facts"], key=appeared["key"])
        # Some rounds of questions, so that it is not found by its youth.
        await asyncio.sleep(3)
        assert [one["state"] for one in watched.all("changed")] == ["present"]
        begun = asyncio.get_running_loop().time()
        there.unplug()
        await watched.until("disappeared", key=appeared["key"], seconds=10)
        print(f"a pulled plug is found after {asyncio.get_running_loop().time() - begun:.2f} s")
        said = len(watched.said)
        there.plug()
        await watched.until("appeared", after=said, key=appeared["key"])


async def test_a_foreign_publisher_is_seen_is_found_and_leaves() -> None:
    async with lan(2) as (here, there), onvif(here, probe=1.0) as watched:
        await watched.until("Swept")
        async with publisher(there, "http://10.77.0.2:8000/onvif/device_service") as process:
            seen = await watched.until("Sighting", kind="seen", cause="hello")
            assert seen["facts"]["name"] == "Foreign"
            await watched.scan()
            await watched.until("Sighting", kind="seen", cause="probe-match", id=seen["id"])
            # Nothing is at its URL: it is there because it answers questions of WS-Discovery.
            await watched.until("probe", answer=True, id=seen["id"])
            assert process.stdin is not None
            process.stdin.write(b"leave\n")
            await watched.until("Sighting", kind="bye", id=seen["id"])


async def test_a_forged_goodbye_does_not_remove_a_camera(tmp_path: Path) -> None:
    async with lan(3) as (here, there, elsewhere), onvif(here) as watched:
        await watched.until("Swept")
        async with ipycam(there, tmp_path):
            seen = await watched.until("Sighting", kind="seen")
            await shout(elsewhere, "Bye", epr=seen["id"])
            await shout(elsewhere, "Bye", epr=seen["id"], source="10.77.0.2/32")
            await watched.until("Sighting", kind="bye", id=seen["id"])
            # The first was somebody else's, the second as good as the camera's own: it is asked before it is gone.
            assert len([one for one in watched.all("Sighting") if one["kind"] == "bye"]) == 1
            await watched.until("Sighting", kind="seen", cause="answered", id=seen["id"])


async def test_a_hello_over_ipv6_is_heard() -> None:
    async with lan(2) as (here, there), onvif(here) as watched:
        await watched.until("Swept")
        # An address of a link may be used a second or two after the plug is in.
        await asyncio.sleep(2)
        await shout(there, "Hello", epr=FORGED, ipv6="eth0", xaddr="http://[fe80::1]/onvif")
        seen = await watched.until("Sighting", kind="seen", id=FORGED)
        assert seen["facts"]["url"] == "http://[fe80::1]/onvif"


async def test_urls_that_lead_elsewhere_are_not_followed() -> None:
    async with lan(2) as (here, there), onvif(here, enrich=True) as watched:
        await watched.until("Swept")
        await shout(there, "Hello", epr=FORGED, xaddr="http://127.0.0.1:8045/x http://8.8.8.8/x http://a.example/x")
        seen = await watched.until("Sighting", kind="seen", id=FORGED)
        assert (seen["endpoints"], seen["facts"]["ip"]) == ([], "10.77.0.2")


async def test_a_flood_of_hellos_from_one_sender_ends_at_its_gate() -> None:
    async with lan(2) as (here, there), onvif(here) as watched:
        await watched.until("Swept")
        await shout(there, "Hello", 10_000)
        health = await watched.until("health", lambda one: "were not taken" in one["why"], seconds=30)
        assert health["mode"] == "events"
        seen = {one["id"] for one in watched.all("Sighting") if one["kind"] == "seen"}
        assert gate._NEW_AT_ONCE <= len(seen) < gate._NEW_AT_ONCE + 30


async def test_a_flood_of_hellos_from_everywhere_ends_in_quarantine_and_a_camera_stays(tmp_path: Path) -> None:
    (tmp_path / "camera").mkdir()
    async with lan(3) as (here, there, elsewhere), whole(here, tmp_path) as watched, ipycam(there, tmp_path / "camera"):
        camera = await watched.until("appeared", lambda one: one["facts"].get("name") == "Gate")
        await shout(elsewhere, "Hello", 10_000, source="10.77.0.0/16")
        # The few that are told before it is noticed are taken back, since nobody answers, and no more are told.
        await until(lambda: bool(forgeries(watched, "appeared")))
        began = time.monotonic()
        await until(lambda: forgeries(watched, "appeared") <= forgeries(watched, "disappeared"), seconds=90)
        told = len(forgeries(watched, "appeared"))
        print(f"of 10,000 forgeries {told} were told, and taken back")
        limits = Onvif.limits
        assert told <= limits.unproven + (5 + time.monotonic() - began) * limits.unproven_per_second
        # On a machine that is kept busy a question may be missed, and is asked again; nothing is removed for that.
        assert not [one for one in watched.all("disappeared") if one["key"] == camera["key"]]

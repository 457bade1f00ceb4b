"""The handler `ssdp` against minidlna, which nobody here wrote, across network namespaces."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan, running
from tests.discovery.watched import Watched, watching

MINIDLNA = shutil.which("minidlnad") or shutil.which("minidlnad", path="/usr/sbin:/sbin")
UDN = "4d696e69-444c-164e-9d41-0123456789ab"

pytestmark = [
    pytest.mark.interop,
    NEEDS_NAMESPACES,
    pytest.mark.skipif(MINIDLNA is None, reason="there is no minidlnad (Debian: minidlna)"),
]


@asynccontextmanager
async def minidlna(host: Host, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "media").mkdir(exist_ok=True)
    (folder / "minidlna.conf").write_text(
        f"media_dir={folder}/media\ndb_dir={folder}\nlog_dir={folder}\nnetwork_interface=eth0\nport=8200\n"
        f"friendly_name=The shelf\nuuid={UDN}\nserial=SN-4711-A\nmodel_number=7\nnotify_interval=60\ninotify=no\n"
    )
    assert MINIDLNA is not None
    command = (MINIDLNA, "-S", "-f", f"{folder}/minidlna.conf", "-P", f"{folder}/pid")
    devnull = asyncio.subprocess.DEVNULL
    async with running(await host.start(*command, stdout=devnull, stderr=devnull)) as process:
        yield process


@asynccontextmanager
async def ssdp(host: Host, **order: object) -> AsyncIterator[Watched]:
    async with watching(host, "ssdp", details=[{}], interface="eth0", **order) as watched:
        yield watched


async def test_a_media_server_is_seen_when_it_says_hello_and_leaves_when_it_says_goodbye(tmp_path: Path) -> None:
    async with lan(2) as (here, there), ssdp(here, enrich=True) as watched:
        await watched.until("Swept")
        async with minidlna(there, tmp_path):
            seen = await watched.until("Sighting", id=UDN, kind="seen")
            assert seen["cause"] == "alive"
            assert seen["facts"]["address"] == ["10.77.0.2"]
            assert seen["identity"] == {"uuid": UDN}
            all_of_it = await watched.until(
                "Sighting", lambda one: "urn:schemas-upnp-org:device:MediaServer:1" in one["facts"]["targets"], id=UDN
            )
            assert all_of_it["endpoints"] == ["http://10.77.0.2:8200/rootDesc.xml"]
            learnt = (await watched.until("Learnt", id=UDN))["learnt"]
            assert learnt["facts"]["name"] == "The shelf"
            assert learnt["facts"]["serial"] == "SN-4711-A"
            assert learnt["identity"]["serial"].endswith("/sn-4711-a")
        await watched.until("Sighting", id=UDN, kind="bye")
        # Its services are no devices, and neither are their goodbyes.
        assert {one["id"] for one in watched.all("Sighting")} == {UDN}


async def test_a_media_server_that_is_already_there_is_found_by_a_search(tmp_path: Path) -> None:
    async with lan(2) as (here, there), minidlna(there, tmp_path):
        await asyncio.sleep(1)
        async with ssdp(here) as watched:
            seen = await watched.until("Sighting", id=UDN, kind="seen")
            assert seen["cause"] == "answer"
            await watched.until("Swept")


async def test_a_pulled_plug_is_found_and_put_back_in_it_is_seen_again(tmp_path: Path) -> None:
    async with lan(2) as (here, there), ssdp(here, probe=0.5) as watched, minidlna(there, tmp_path):
        await watched.until("Sighting", id=UDN, kind="seen")
        await watched.until("probe", id=UDN, answer=True)
        there.unplug()
        missed = await watched.until("Sighting", id=UDN, kind="missed")
        assert missed["cause"] == "silent"
        await watched.until("probe", id=UDN, answer=False)
        there.plug()
        after = len(watched.said)
        await watched.until("Sighting", id=UDN, kind="seen", after=after)
        await watched.until("probe", id=UDN, answer=True, after=after)


async def test_a_killed_media_server_is_missed_although_it_said_no_goodbye(tmp_path: Path) -> None:
    async with lan(2) as (here, there), ssdp(here) as watched, minidlna(there, tmp_path) as process:
        await watched.until("Sighting", id=UDN, kind="seen")
        process.send_signal(signal.SIGKILL)
        await watched.until("Sighting", id=UDN, kind="missed")
        assert not [one for one in watched.all("Sighting") if one["kind"] == "bye"]


async def test_a_device_that_speaks_only_ipv6_is_seen() -> None:
    hello = (
        f"NOTIFY * HTTP/1.1\\r\\nHOST: [ff02::c]:1900\\r\\nNT: upnp:rootdevice\\r\\nNTS: ssdp:alive\\r\\n"
        f"USN: uuid:{UDN}::upnp:rootdevice\\r\\n\\r\\n"
    )
    send = (
        "import socket, time\n"
        "s, i = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.if_nametoindex('eth0')\n"
        f"for _ in range(50): s.sendto(b'{hello}', ('ff02::c', 1900, 0, i)); time.sleep(0.2)"
    )
    async with lan(2) as (here, there), ssdp(here) as watched:
        # A new interface may not send before nobody else is found to have its address.
        await asyncio.sleep(2)
        async with running(await there.start(sys.executable, "-c", send)):
            seen = await watched.until("Sighting", id=UDN, kind="seen")
            assert seen["facts"]["address"][0].startswith("fe80::")

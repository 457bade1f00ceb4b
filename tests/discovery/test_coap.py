"""The handler `coap` against libcoap's server and aiocoap's resource directory, across network namespaces."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan, running
from tests.discovery.peers import python_with
from tests.discovery.watched import Watched, watching

SERVER = shutil.which("coap-server-notls") or shutil.which("coap-server")
CLIENT = shutil.which("coap-client-notls") or shutil.which("coap-client")
TWO, THREE = "10.77.0.2:5683", "10.77.0.3:5683"
DEVNULL = asyncio.subprocess.DEVNULL

pytestmark = [
    pytest.mark.interop,
    NEEDS_NAMESPACES,
    pytest.mark.skipif(SERVER is None, reason="there is no coap-server of libcoap (Debian: libcoap3-bin)"),
]


@asynccontextmanager
async def serving(host: Host, group: str = "224.0.1.187") -> AsyncIterator[asyncio.subprocess.Process]:
    assert SERVER is not None
    command = (SERVER, "-g", group, "-G", "eth0")
    async with running(await host.start(*command, stdout=DEVNULL, stderr=DEVNULL)) as process:
        yield process


@asynccontextmanager
async def coap(host: Host, *, probe: float | None = None, **settings: object) -> AsyncIterator[Watched]:
    settings = {"interfaces": ["eth0"], **settings}
    async with watching(host, "coap", details=[{}], settings=settings, probe=probe) as watched:
        yield watched


async def test_all_servers_answer_and_say_what_they_have() -> None:
    async with lan(3) as (here, two, three), serving(two), serving(three):
        await asyncio.sleep(0.5)
        async with coap(here) as watched:
            for name in (TWO, THREE):
                seen = await watched.until("Sighting", id=name, kind="seen")
                assert "/time" in seen["facts"]["resources"]
                assert seen["facts"]["if"] == ["clock"]
            await watched.until("Swept")
            assert {one["id"] for one in watched.all("Sighting")} == {TWO, THREE}


async def test_a_server_that_joins_is_found_by_the_next_poll_and_by_a_scan() -> None:
    async with lan(2) as (here, two), coap(here) as watched:
        await watched.until("Swept")
        async with serving(two):
            await asyncio.sleep(0.5)
            await watched.scan()
            await watched.until("Sighting", id=TWO, kind="seen")


async def test_a_server_over_ipv6_is_found() -> None:
    async with lan(2) as (here, two):
        # A new interface may not be used before nobody else is found to have its address.
        await asyncio.sleep(2)
        async with serving(two, "ff02::fd"), coap(here, probe=0.5) as watched:
            seen = await watched.until("Sighting", lambda one: one["id"].startswith("[fe80:"), kind="seen")
            assert seen["id"].endswith("%eth0]:5683")
            assert seen["identity"]["mac"] == seen["facts"]["mac"]
            await watched.until("probe", id=seen["id"], answer=True)


async def test_a_pulled_plug_is_found_and_put_back_in_it_is_seen_again() -> None:
    async with lan(2) as (here, two), serving(two), coap(here, probe=0.5) as watched:
        await watched.until("Sighting", id=TWO, kind="seen")
        await watched.until("probe", id=TWO, answer=True)
        two.unplug()
        await watched.until("Sighting", id=TWO, kind="missed")
        await watched.until("probe", id=TWO, answer=False)
        after = len(watched.said)
        two.plug()
        await watched.until("Sighting", id=TWO, kind="seen", after=after)


async def test_a_server_that_ends_is_missed() -> None:
    async with lan(2) as (here, two), coap(here) as watched:
        async with serving(two):
            await watched.scan()
            await watched.until("Sighting", id=TWO, kind="seen")
        await watched.until("Sighting", id=TWO, kind="missed")


@pytest.fixture(scope="module")
def aiocoap() -> Path:
    return python_with("aiocoap")


async def client(host: Host, *words: str) -> str:
    """Ask as libcoap's client does; what it prints."""
    assert CLIENT is not None
    pipe = asyncio.subprocess.PIPE
    asking = await host.start(CLIENT, "-B", "5", "-v", "7", *words, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    said, _ = await asking.communicate()
    return said.decode(errors="replace")


async def answered(host: Host, *words: str, code: str) -> str:
    """Ask until the answer has this code."""
    async with asyncio.timeout(60):
        while code not in (said := await client(host, *words)):  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.3)
    return said


async def test_who_registers_with_a_directory_is_seen_and_who_leaves_it_is_gone(aiocoap: Path) -> None:
    async with lan(3) as (here, two, three):
        command = (str(aiocoap), str(aiocoap.with_name("aiocoap-rd")), "--bind", two.address)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(running(await two.start(*command, stdout=DEVNULL, stderr=DEVNULL)))
            # It needs some seconds before it answers, on a busy machine.
            await answered(three, "-m", "get", "coap://10.77.0.2/.well-known/core", code="2.05")
            watched = await stack.enter_async_context(coap(here, probe=0.5, directories=["coap://10.77.0.2"]))
            place = "coap://10.77.0.2/resourcedirectory/?ep=node-7&lt=60&base=coap://10.77.0.9"
            links = '</temp>;rt="temperature";if="core.s"'
            said = await answered(three, "-m", "post", "-t", "40", "-e", links, place, code="2.01")
            seen = await watched.until("Sighting", id="10.77.0.9:5683", kind="seen")
            assert (seen["cause"], seen["facts"]["endpoint"]) == ("registered", "node-7")
            assert seen["facts"]["rt"] == ["temperature"]
            assert seen["identity"]["client"] == "coap//node-7"
            # It is nowhere, as if it slept; that it is listed is enough.
            await watched.until("probe", id="10.77.0.9:5683", answer=True)
            registration = re.findall(r"Location-Path:(\w+)", said)
            await client(three, "-m", "delete", f"coap://10.77.0.2/{'/'.join(registration)}/")
            left = await watched.until("Sighting", id="10.77.0.9:5683", kind="bye")
            assert left["cause"] == "deregistered"

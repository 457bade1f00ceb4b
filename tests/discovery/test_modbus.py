"""The handler `modbus` against pymodbus's server, which nobody here wrote, across network namespaces."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.discovery import pymodbus_server
from tests.discovery.namespaces import NEEDS_NAMESPACES, Host, lan
from tests.discovery.watched import Watched, watching

pytestmark = [pytest.mark.interop, NEEDS_NAMESPACES]

RANGE = {"targets": [{"addresses": "10.77.0.0/28"}]}
PUMP = "10.77.0.2:502/1"


@pytest.fixture(autouse=True, scope="module")
def environment() -> None:
    pymodbus_server.python()


@asynccontextmanager
async def modbus(host: Host, *details: object, **order: object) -> AsyncIterator[Watched]:
    async with watching(host, "modbus", details=details or [RANGE], **order) as watched:
        yield watched


async def test_a_controller_is_found_by_a_sweep_and_says_who_it_is() -> None:
    async with lan(2) as (here, there), pymodbus_server.serving(there):
        await asyncio.sleep(1.5)
        async with modbus(here) as watched:
            seen = await watched.until("Sighting", id=PUMP, kind="seen")
            facts = seen["facts"]
            assert (facts["vendor"], facts["product"], facts["revision"]) == ("Plant Works", "PW-7", "V2.11")
            assert facts["product_name"] == "Pump 7"
            assert facts["identified_by"] == "identification"
            assert seen["identity"]["mac"] == facts["mac"]
            await watched.until("Swept")
            assert {one["id"] for one in watched.all("Sighting")} == {PUMP}


async def test_a_controller_that_joins_the_network_is_found_by_a_hint_and_not_by_the_next_sweep() -> None:
    async with lan(2) as (here, there):
        there.unplug()
        async with pymodbus_server.serving(there), modbus(here) as watched:
            await watched.until("Swept")
            await asyncio.sleep(1)
            there.plug()
            # As everybody does who has just got an address.
            hello = await there.start("ping", "-c", "1", "-W", "1", "10.77.0.1", stdout=asyncio.subprocess.DEVNULL)
            seen = await watched.until("Sighting", id=PUMP, kind="seen")
            assert seen["cause"] == "hint"
            await hello.wait()


async def test_a_server_that_ends_is_missed_and_seen_again_when_it_is_back() -> None:
    async with lan(2) as (here, there), modbus(here, probe=0.5) as watched:
        async with pymodbus_server.serving(there):
            await watched.until("Sighting", id=PUMP, kind="seen")
            await watched.until("probe", id=PUMP, answer=True)
        await watched.until("Sighting", id=PUMP, kind="missed")
        await watched.until("probe", id=PUMP, answer=False)
        after = len(watched.said)
        async with pymodbus_server.serving(there):
            await watched.until("Sighting", id=PUMP, kind="seen", after=after)


async def test_a_pulled_plug_is_missed() -> None:
    async with lan(2) as (here, there), pymodbus_server.serving(there), modbus(here, probe=0.5) as watched:
        await watched.until("Sighting", id=PUMP, kind="seen")
        there.unplug()
        missed = await watched.until("Sighting", id=PUMP, kind="missed")
        assert missed["cause"] == "silent"
        await watched.until("probe", id=PUMP, answer=False)


async def test_of_all_unit_ids_only_those_that_are_there_are_seen() -> None:
    async with lan(2) as (here, there), pymodbus_server.serving(there, unit=7):
        await asyncio.sleep(1.5)
        async with modbus(here, {"targets": [{"addresses": "10.77.0.2", "units": [1, 7, 9]}]}) as watched:
            await watched.until("Swept")
            (seen,) = watched.all("Sighting")
            assert (seen["id"], seen["facts"]["unit"]) == ("10.77.0.2:502/7", 7)
            assert "mac" not in seen["identity"]


async def test_what_is_not_named_is_not_asked() -> None:
    async with lan(2) as (here, there), pymodbus_server.serving(there):
        await asyncio.sleep(1.5)
        async with modbus(here, {"targets": [{"addresses": "10.77.0.3"}]}) as watched:
            await watched.until("Swept")
            await watched.scan()
            await watched.until("Swept", after=len(watched.said))
            assert not watched.all("Sighting")

"""What an agent outlives: handlers that raise, hang, leak or babble, a bus that goes away, and its own end."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import join, until
from tests.conftest import ServerFactory
from tests.contract.discovery.agents import ECHO, agent, ask, catalogue, hearing, write_file

BAD = "tests.contract.discovery.bad_handlers"


def bad(name: str) -> Any:
    return catalogue(**{name: f"{BAD}:{name.capitalize()}"})


def wants(name: str) -> dict[str, Any]:
    return {"name": f"{name}-things", "handler": name}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", "the antenna fell off"),
        ("worse", "not even an Exception"),
        ("cancelled", "CancelledError"),
        ("hanging", "it hangs"),
        ("leaking", "the helper is dead"),
        ("forsaken", "beside-forsaken was given up"),
        ("ending", "ended by itself"),
    ],
)
async def test_a_handler_that_fails_is_restarted_and_its_devices_are_unknown(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, name: str, reason: str
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants(name), ECHO, catalogue=bad(name)) as found:
        await ear.until("unknown", f"{name}:thing")
        health = await ask(nats_bus, "health")
        [source] = [one for one in health["sources"] if one["source"] == name]
        assert reason in source["reason"]
        assert source["mode"] == "failed"
        # It is started again, sees its device again, and the agent goes on with all others.
        await ear.until("changed", f"{name}:thing")
        assert ear.changes("foo") == ["appeared"]
        assert "disappeared" not in ear.changes()
        assert found.agent.listeners.of(name) is not None


async def test_what_a_handler_drops_is_counted_with_its_reason(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants("dropping"), catalogue=bad("dropping")):
        await ear.until("appeared", "dropping:thing")
        health = await ask(nats_bus, "health")
        assert health["sources"][0]["dropped"] == 1
        assert health["sources"][0]["last_dropped"] == "datagram of 10.0.0.9: too large"


async def test_what_is_no_sighting_is_dropped_and_counted(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants("babbling"), catalogue=bad("babbling")):
        await ear.until("appeared", "babbling:thing")
        health = await ask(nats_bus, "health")
        assert health["sources"][0]["dropped"] == 3
        assert health["devices"] == 1


async def test_a_flood_of_sightings_is_heard_in_part_and_its_end_always(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    things = [wants("flooding"), ECHO]
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, *things, catalogue=bad("flooding")):
        await ear.until("appeared", "foo")
        await ear.until("disappeared", "flooding:thing")
        [source] = [one for one in (await ask(nats_bus, "health"))["sources"] if one["source"] == "flooding"]
        assert source["dropped"] > 10_000
        assert "more sightings" in source["last_dropped"]
        assert len(ear.changes("flooding:thing")) < 5_000


async def test_a_probe_that_does_not_answer_is_no_answer(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants("probing"), catalogue=bad("probing")):
        await ear.until("disappeared", "probing:thing")
    assert ear.changes("probing:thing") == ["appeared", "changed", "disappeared"]
    assert ear.devices()[1].state == "suspect"


async def test_a_probe_that_its_library_gives_up_says_nothing_about_the_device(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants("unsure"), catalogue=bad("unsure")):
        await ear.until("unknown", "unsure:thing")


async def test_a_handler_that_cannot_be_imported_is_told(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    broken = catalogue(broken="no.such.module:Handler")
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wants("broken"), ECHO, catalogue=broken):
        await ear.until("appeared", "foo")
        health = await ask(nats_bus, "health")
    assert "cannot be imported" in health["problems"]["broken-things"][0]


async def test_an_absence_of_the_bus_loses_nothing_and_ends_with_a_snapshot(  # noqa: PLR0915 - one story
    make_nats_server: ServerFactory, tmp_path: Path
) -> None:
    server = make_nats_server()
    server.start()
    admin = await join(server, "admin")
    await admin.declare()
    file = tmp_path / "availability"
    handlers = {"debug-echo": {"availability_file": str(file), "scan_seconds": 0.05}}
    async with hearing(admin) as ear, agent(server, tmp_path, ECHO, handlers=handlers) as found:
        await ear.until("appeared", "foo")
        await until(lambda: bool(found.publisher.complete))
        first = found.publisher.complete
        port = server.url.rpartition(":")[2]
        server.stop()
        write_file(tmp_path / "look-for.yaml", {**ECHO, "details": {"descriptions": ["foo", "new"]}}, **handlers)
        await until(lambda: found.publisher.away)
        await until(lambda: {one.facts()["description"] for one in _devices(found)} == {"foo", "new"})
        restarted = EmbeddedServer(tmp_path / "nats", port=int(port), monitor_port=0)
        restarted.start()
        try:
            await until(lambda: found.publisher.complete > first, seconds=30)
            await until(lambda: any(one.epoch > first for one in ear.alive()), seconds=30)
            await until(lambda: ear.states() == {"foo": "present", "bar": "gone", "new": "present"}, seconds=30)
            assert ear.changes("foo").count("appeared") == 1
            # What is there has the epoch of the last snapshot; what has an older one is gone.
            await until(
                lambda: {one.epoch for one in ear.last() if one.state != "gone"} == {found.publisher.complete},
                seconds=30,
            )
        finally:
            restarted.stop()
    await admin.close()


def _devices(found: Any) -> list[Any]:
    return list(found.agent.tracker.registry.devices.values())


def environment(server: EmbeddedServer, folder: Path, file: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "ASHORE_DATA_DIR": str(folder),
        "ASHORE_HOST": "127.0.0.1",
        "ASHORE_PORT": "0",
        "ASHORE_SITE": "s1",
        "ASHORE_NODE": "n1",
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("discovery")),
        "ASHORE_HEARTBEAT_SECONDS": "0.2",
        "ASHORE_CONFIGURATIONS": str(file),
    }


async def test_an_agent_that_is_killed_twenty_times_loses_nothing(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "look-for.yaml", ECHO)
    env = environment(nats_server, tmp_path, file)
    async with hearing(nats_bus) as ear:
        for number in range(20):
            epoch = max((one.epoch for one in ear.alive()), default=0)
            process = await start(env)
            try:
                await until(lambda epoch=epoch: any(one.epoch > epoch for one in ear.alive()), seconds=30)
                # At one time it has just written down what it has told, at another it has not.
                await asyncio.sleep(0.02 * number)
            finally:
                process.kill()
                await process.wait()
        assert ear.states() == {"foo": "present", "bar": "present"}
        assert len(ear.last()) == 2
        assert set(ear.changes()) == {"appeared", "changed"}


async def start(env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ashore_discovery", env=env, stdout=asyncio.subprocess.PIPE
    )


async def test_the_process_ends_in_order_and_answers_over_http(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "look-for.yaml", ECHO)
    env = environment(nats_server, tmp_path, file) | {"ASHORE_LOG_FORMAT": "json"}
    process = await start(env)
    assert process.stdout is not None
    port = 0
    while not port:
        line = (await process.stdout.readline()).decode()
        port = int(line.partition("127.0.0.1:")[2].partition('"')[0] or 0) if '"listening"' in line else 0
    async with hearing(nats_bus) as ear:
        await ear.until("appeared", "foo")
    assert await get(port, "/healthz") == (200, '{"alive":true}')
    assert await get(port, "/readyz") == (200, '{"ready":true,"reasons":[]}')
    status, numbers = await get(port, "/metrics")
    assert status == 200
    assert 'ashore_discovery_devices{state="present"} 2.0' in numbers
    assert (await get(port, "/else"))[0] == 404
    assert (await get(port, "/metrics", "POST"))[0] == 405
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split(" ")[1]), body


def test_the_agent_brings_no_web_server_no_database_and_no_cryptography() -> None:
    code = (
        "import sys, ashore.lean, ashore_discovery.app, ashore_discovery.handlers.udev.handler, ashore.bus.nats;"
        "bad = {'starlette', 'aiohttp', 'sqlalchemy', 'cryptography', 'uvloop', 'cbor2', 'httptools', 'httpx', 'rich'};"
        "print(sorted(bad & {name for name, module in sys.modules.items() if module}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The handler `opcua` with node-opcua's local discovery server and asyncua's own server, as processes of their own.

A process that is stopped (SIGSTOP) is a host whose plug was pulled: connections to it are silence.
"""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore.events import DeviceSeen
from tests.bus_kit import until
from tests.contract.discovery.agents import Ear, agent, hearing
from tests.discovery.namespaces import NEEDS_NAMESPACES, lan, running
from tests.discovery.peers import modules_with

SETTINGS = {"opcua": {"poll_seconds": 0.5, "check_seconds": 0.3, "timeout_seconds": 2}}
HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(find_spec("asyncua") is None, reason="asyncua is not installed"),
]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def url_of(port: int) -> str:
    return f"opc.tcp://127.0.0.1:{port}"


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that says `ready`."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    async with running(process):
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()).strip() != b"ready":
                assert line, f"{command[-1]} has ended"
        reader = asyncio.create_task(_drain(process.stdout))
        try:
            yield process
        finally:
            reader.cancel()
            if process.returncode is None:
                # Who is stopped hears nothing.
                process.send_signal(signal.SIGCONT)


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


def lds(port: int, keys: Path) -> Any:
    return started(
        "node",
        str(HERE / "opcua_lds.mjs"),
        str(modules_with("node-opcua-server-discovery").parent),
        str(keys),
        str(port),
    )


def server(port: int, name: str, lds: str = "") -> Any:
    return started(sys.executable, "-m", "tests.discovery.opcua_server", str(port), name, lds)


def wanted(*urls: str, network: bool = False, **more: Any) -> dict[str, Any]:
    standard = {"discoveryUrls": list(urls), "findServersOnNetwork": network}
    return {"name": "plant", "handler": "opcua", "details": {"opcuaDiscoveryMethod": {"standard": standard}, **more}}


def states(ear: Ear, port: int) -> list[str]:
    """What was told of a server, one state after the other."""
    told = [one.state for one in ear.devices() if any(f":{port}/" in facet for facet in one.facets)]
    return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]


def about(ear: Ear, port: int) -> list[DeviceSeen]:
    return [one for one in ear.devices() if any(f":{port}/" in facet for facet in one.facets)]


def modes(ear: Ear) -> list[str]:
    return [one.mode for alive in ear.alive() for one in alive.handlers if one.name == "opcua"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys take a while to make."""
    return tmp_path_factory.mktemp("lds-keys")


async def test_a_server_appears_by_its_discovery_server_and_is_gone_after_a_crash(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path
) -> None:
    at, port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lds(at, keys))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(agent(nats_server, tmp_path, wanted(url_of(at)), handlers=SETTINGS))
        process = await stack.enter_async_context(server(port, "press-1", url_of(at)))
        appeared = await ear.until("appeared", f":{port}/")
        assert appeared.facts["application_name"] == "press-1"
        (match,) = appeared.matches
        assert match.properties["OPCUA_DISCOVERY_URL"] == f"{url_of(port)}/plant"
        await until(lambda: "security_policies" in about(ear, port)[-1].facts)
        process.kill()
        # The discovery server goes on naming it.
        await ear.until("disappeared", f":{port}/")
    assert states(ear, port) == ["present", "suspect", "gone"]


async def test_a_server_that_says_goodbye_is_gone(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path
) -> None:
    at, port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lds(at, keys))
        process = await stack.enter_async_context(server(port, "press-1", url_of(at)))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(agent(nats_server, tmp_path, wanted(url_of(at)), handlers=SETTINGS))
        await ear.until("appeared", f":{port}/")
        process.terminate()
        await ear.until("disappeared", f":{port}/")


async def test_a_discovery_server_that_dies_and_returns_changes_nothing(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path
) -> None:
    at, port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(lds(at, keys))
        await stack.enter_async_context(server(port, "press-1", url_of(at)))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(agent(nats_server, tmp_path, wanted(url_of(at)), handlers=SETTINGS))
        await ear.until("appeared", f":{port}/")
        first.kill()
        await until(lambda: modes(ear)[-1:] == ["degraded"])
        async with lds(at, keys):
            # It has forgotten all who were registered, and they are there all the same.
            await until(lambda: modes(ear)[-1:] == ["polling"], seconds=30)
            await asyncio.sleep(2)
    assert states(ear, port) == ["present"]


async def test_silence_of_everybody_is_unknown_and_not_gone(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path
) -> None:
    at, port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        discovery = await stack.enter_async_context(lds(at, keys))
        press = await stack.enter_async_context(server(port, "press-1", url_of(at)))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(agent(nats_server, tmp_path, wanted(url_of(at)), handlers=SETTINGS))
        await ear.until("appeared", f":{port}/")
        discovery.send_signal(signal.SIGSTOP)
        await until(lambda: modes(ear)[-1:] == ["degraded"])
        press.send_signal(signal.SIGSTOP)
        await until(lambda: states(ear, port)[-1] == "unknown", seconds=30)
        await asyncio.sleep(3)
        assert states(ear, port) == ["present", "suspect", "unknown"]
        for process in (discovery, press):
            process.send_signal(signal.SIGCONT)
        await until(lambda: states(ear, port)[-1] == "present", seconds=30)
        # Now the discovery server is there to say that the link is not what is broken.
        await until(lambda: modes(ear)[-1:] == ["polling"])
        press.send_signal(signal.SIGSTOP)
        await ear.until("disappeared", f":{port}/", seconds=30)


async def test_a_server_may_be_its_own_discovery_server(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    port = free_port()
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, wanted(url_of(port)), handlers=SETTINGS):
        async with server(port, "press-1"):
            await ear.until("appeared", f":{port}/")
        await ear.until("disappeared", f":{port}/")
        async with server(port, "press-1"):
            await until(lambda: states(ear, port)[-1] == "present")
            assert states(ear, port) == ["present", "suspect", "gone", "present"]


async def test_names_choose_among_the_servers_of_one_discovery_server(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path
) -> None:
    at = free_port()
    names = ["press-1", "press-2", "oven-1"]
    choices: Sequence[tuple[str, dict[str, Any]]] = [
        ("exactly", {"items": ["press-1", "oven"]}),
        ("alike", {"globs": ["press-*"]}),
        ("others", {"action": "Exclude", "items": ["press-1"]}),
    ]
    configurations = [{**wanted(url_of(at), applicationNames=names), "name": name} for name, names in choices]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lds(at, keys))
        for name in names:
            await stack.enter_async_context(server(free_port(), name, url_of(at)))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(agent(nats_server, tmp_path, *configurations, handlers=SETTINGS))
        await until(lambda: len(ear.last()) == len(names))
    found = {str(one.facts["application_name"]): {match.configuration for match in one.matches} for one in ear.last()}
    assert found == {"press-1": {"exactly", "alike"}, "press-2": {"alike", "others"}, "oven-1": {"others"}}


async def test_a_server_is_found_by_what_its_discovery_server_hears_on_the_network(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    registered, hearer, port = free_port(), free_port(), free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(lds(registered, keys))
        await stack.enter_async_context(lds(hearer, tmp_path_factory.mktemp("other-keys")))
        await stack.enter_async_context(server(port, "press-1", url_of(registered)))
        ear = await stack.enter_async_context(hearing(nats_bus))
        await stack.enter_async_context(
            agent(nats_server, tmp_path, wanted(url_of(hearer), network=True), handlers=SETTINGS)
        )
        appeared = await ear.until("appeared", f":{port}/")
    assert appeared.facts["found_on_network_by"] == [url_of(hearer)]
    assert appeared.facts["application_uri"] == "urn:test:press-1"
    assert "found_by" not in appeared.facts


@NEEDS_NAMESPACES
async def test_a_pulled_plug_is_found_and_our_own_is_no_evidence() -> None:
    async with lan(2) as (here, there), AsyncExitStack() as stack:
        module = ("-m", "tests.discovery.opcua_server", "4840", "press-1", "", there.address)
        await stack.enter_async_context(started(*there.inside, sys.executable, *module))
        url = f"opc.tcp://{there.address}:4840"
        order = {"details": [wanted(url)["details"]], "settings": SETTINGS["opcua"], "probe": 0.3}
        watch = await here.python(
            "tests.discovery.watch", "opcua", json.dumps(order), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await stack.enter_async_context(running(watch))
        assert watch.stdout is not None
        assert await told(watch.stdout, what="probe", answer=True)
        here.unplug()
        assert await told(watch.stdout, what="probe", answer=None)
        here.plug()
        assert await told(watch.stdout, what="probe", answer=True)
        there.unplug()
        assert await told(watch.stdout, what="Sighting", kind="missed")
        assert await told(watch.stdout, what="probe", answer=False)
        there.plug()
        assert await told(watch.stdout, what="Sighting", kind="seen")


async def told(stream: asyncio.StreamReader, **wanted: object) -> dict[str, Any]:
    """The next line with these values."""
    async with asyncio.timeout(30):
        while True:
            line = json.loads(await stream.readline())
            if all(line.get(name) == value for name, value in wanted.items()):
                return line

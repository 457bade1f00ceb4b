"""Akri's discovery handlers, over gRPC: a foreign one, in C core, with a whole agent on a real bus."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import until
from tests.contract.discovery.agents import Ear, agent, ask, hearing, write_file
from tests.contract.discovery.akri_peers import (
    SOCKET,
    Foreign,
    foreign,
    reads,
    short_folder,
    until_reads,
)

pytestmark = pytest.mark.interop

LOOK_FOR = {"name": "tags", "handler": "rfid", "details": {"antenna": 3}}
TAG_1 = {"id": "tag-1", "properties": {"RFID_EPC": "e280"}}
TAG_2 = {"id": "tag-2", "properties": {"RFID_EPC": "e281"}}


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@asynccontextmanager
async def met(bus: NatsBus, server: EmbeddedServer, state: Path, folder: Path) -> AsyncIterator[tuple[Ear, Foreign]]:
    """An agent that looks for tags, a handler that has registered with it, and who hears both."""
    async with (
        hearing(bus) as ear,
        agent(server, state, LOOK_FOR, akri_dir=folder),
        foreign(folder, "rfid") as rfid,
    ):
        yield ear, rfid


async def test_an_akri_handler_registers_is_asked_and_its_lists_become_devices(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    scale = {
        "id": "scale-1",
        "properties": {"SCALE_PORT": "/dev/ttyS7"},
        "mounts": [{"container_path": "/etc/scale", "host_path": "/opt/scale", "read_only": True}],
        "device_specs": [{"container_path": "/dev/scale", "host_path": "/dev/ttyS7", "permissions": "rw"}],
    }
    async with met(nats_bus, nats_server, tmp_path, folder) as (ear, rfid):
        assert await rfid.until("asked") == ['{"antenna":3}']
        await rfid.send([TAG_1, scale])
        event = await ear.until("appeared", "rfid:scale-1")
        (match,) = event.matches
        assert match.properties == {"SCALE_PORT": "/dev/ttyS7"}
        assert [(one.host_path, one.container_path, one.read_only) for one in match.mounts] == [
            ("/opt/scale", "/etc/scale", True)
        ]
        assert [(one.host_path, one.container_path, one.permissions) for one in match.device_nodes] == [
            ("/dev/ttyS7", "/dev/scale", "rw")
        ]
        assert not event.shared
        await rfid.send([TAG_1, {**scale, "properties": {"SCALE_PORT": "/dev/ttyS8"}}])
        changed = await ear.until("changed", "rfid:scale-1")
        assert changed.matches[0].properties == {"SCALE_PORT": "/dev/ttyS8"}
        await rfid.send([TAG_1])
        gone = await ear.until("disappeared", "rfid:scale-1")
        assert gone.cause == "missing"
    assert ear.changes("tag-1") == ["appeared"]


async def test_each_configuration_has_its_own_stream_and_those_who_say_the_same_share_one(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    details = {
        "discoveryDetails": "antenna: 4\n",
        "discoveryProperties": [
            {"name": "user", "value": "anna"},
            {"name": "password", "secret": "file:rfid"},
            {"name": "absent", "secret": "file:nothing", "optional": True},
        ],
    }
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "rfid").write_text("geheim\n")
    other = {"name": "others", "handler": "rfid", "details": details}
    async with (
        agent(
            nats_server, tmp_path, LOOK_FOR, {**LOOK_FOR, "name": "again"}, other, akri_dir=folder, secrets_dir=secrets
        ),
        foreign(folder, "rfid") as rfid,
    ):
        await rfid.until("asked", 2)
        asked = [one for one in rfid.said if "asked" in one]
    assert {one["asked"]: one["properties"] for one in asked} == {
        '{"antenna":3}': {},
        "antenna: 4\n": {"user": "anna", "password": "geheim"},
    }
    assert len(asked) == 2


async def test_a_handler_that_is_killed_makes_its_devices_unknown_until_it_is_back(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
        async with foreign(folder, "rfid") as rfid:
            await rfid.send([TAG_1, TAG_2])
            await ear.until("appeared", "tag-2")
            await rfid.kill()
            await ear.until("unknown", "tag-1")
            await ear.until("unknown", "tag-2")
        async with foreign(folder, "rfid", "silent") as rfid:
            await rfid.until("asked")
            await rfid.send([TAG_1])
            # What it does not list any more went while nobody looked.
            await ear.until("disappeared", "tag-2")
            await until(lambda: ear.states().get("tag-1") == "present")
    assert "disappeared" not in ear.changes("tag-1")


async def test_a_stream_that_ends_is_opened_again(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with met(nats_bus, nats_server, tmp_path, folder) as (ear, rfid):
        await rfid.send([TAG_1])
        await ear.until("appeared", "tag-1")
        await rfid.send({"end": True})
        await rfid.until("asked", 2)
        await until(lambda: ear.states().get("tag-1") == "present" and len(ear.changes("tag-1")) > 1)
    assert "disappeared" not in ear.changes("tag-1")


async def test_an_agent_that_was_restarted_dials_a_handler_that_does_not_register_again(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
            running = foreign(folder, "rfid")
            rfid = await running.__aenter__()
            await rfid.send([TAG_1])
            await ear.until("appeared", "tag-1")
        assert not (folder / SOCKET).exists()
        await rfid.send([TAG_1, TAG_2])
        async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
            await ear.until("appeared", "tag-2")
            # Nothing of the first agent is left that asks as well.
            assert len(rfid.all("asked")) == 2
            await running.__aexit__(None, None, None)
        assert rfid.all("registered") == [True]
    # Akri deletes and forgets here; for us the device was never away.
    assert ear.changes("tag-1")[0] == "appeared"
    assert not {"disappeared", "appeared"} & set(ear.changes("tag-1")[1:])


async def test_a_repeated_registration_disturbs_no_stream(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with met(nats_bus, nats_server, tmp_path, folder) as (ear, rfid):
        await rfid.until("asked")
        await rfid.send({"register": True})
        await rfid.until("registered", 2)
        await rfid.send([TAG_1])
        await ear.until("appeared", "tag-1")
        assert len(rfid.all("asked")) == 1
        assert not rfid.all("ended")


async def test_two_endpoints_of_one_name_are_one_handler(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder),
        foreign(folder, "rfid", "shared") as one,
        foreign(folder, "rfid", "shared", endpoint=f"http://127.0.0.1:{port}") as two,
    ):
        await one.send([TAG_1])
        await two.send([TAG_1, TAG_2])
        event = await ear.until("appeared", "tag-2")
        assert event.shared
        await ear.until("appeared", "tag-1")
        await two.kill()
        # Only the other has listed it, and nobody else can say.
        await ear.until("unknown", "tag-2")
        text = await until_reads(lambda: ask(nats_bus, "health"), "rfid", "degraded", f"127.0.0.1:{port} lost")
        assert f"{folder}/rfid.sock listed" in text
        assert "shared" in text
        assert ear.states()["tag-1"] == "present"
        # The one has it no longer, and the other, who had it, cannot be asked.
        await one.send([])
        await ear.until("unknown", "tag-1")
    assert "disappeared" not in ear.changes()


async def test_details_that_the_handler_refuses_are_told(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder), foreign(folder, "rfid", "refuse"):
        text = await until_reads(lambda: ask(nats_bus, "health"), "rfid", "refused", "these details are wrong")
        assert text.startswith("degraded")


async def test_a_handler_that_says_nothing_has_found_nothing(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    settings = {"rfid": {"silence_seconds": 0.5}}
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder), foreign(folder, "rfid") as rfid:
            await rfid.send([TAG_1])
            await ear.until("appeared", "tag-1")
        async with (
            agent(nats_server, tmp_path, LOOK_FOR, handlers=settings, akri_dir=folder),
            foreign(folder, "rfid", "silent"),
        ):
            await ear.until("disappeared", "tag-1")


async def test_a_configuration_that_goes_ends_its_stream_and_no_other(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    other = {"name": "others", "handler": "rfid", "details": {"antenna": 4}}
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, LOOK_FOR, other, akri_dir=folder),
        foreign(folder, "rfid") as rfid,
    ):
        await rfid.until("asked", 2)
        await rfid.send([TAG_1])
        await ear.until("appeared", "tag-1")
        write_file(tmp_path / "look-for.yaml", LOOK_FOR)
        await rfid.until("ended")
        await rfid.send([TAG_1, TAG_2])
        event = await ear.until("appeared", "tag-2")
        assert [one.configuration for one in event.matches] == ["tags"]
        assert len(rfid.all("ended")) == 1


async def test_the_name_of_an_installed_handler_is_lent_with_a_prefix(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    look_for = {"name": "words", "handler": "akri-debugEcho", "details": {"descriptions": ["foo"]}}
    async with (
        hearing(nats_bus) as ear,
        agent(nats_server, tmp_path, look_for, akri_dir=folder),
        foreign(folder, "debugEcho") as echo,
    ):
        await echo.send([TAG_1])
        await ear.until("appeared", "akri-debug-echo:tag-1")


@pytest.mark.parametrize(
    ("endpoint", "why"),
    [
        ("http://203.0.113.1:10000", "ASHORE_NETWORKS"),
        ("/run/elsewhere.sock", "no socket below"),
    ],
)
async def test_an_endpoint_out_of_bounds_is_refused(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path, endpoint: str, why: str
) -> None:
    async with agent(nats_server, tmp_path, LOOK_FOR, akri_dir=folder):
        async with foreign(folder, "rfid", f"register={endpoint}", registered=False) as rfid:
            assert await rfid.until("registered") == [False]
            assert why in rfid.all("why")[0]
        assert reads(await ask(nats_bus, "health"), "rfid") == ("", "")


async def test_a_list_that_is_too_long_is_refused_and_a_device_that_is_too_large_left_out(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    async with met(nats_bus, nats_server, tmp_path, folder) as (ear, rfid):
        await rfid.send([TAG_1, {"id": "huge", "properties": {"X": "x" * 100_000}}])
        await ear.until("appeared", "tag-1")
        await until_reads(lambda: ask(nats_bus, "health"), "rfid", "degraded", "'huge'", "bytes")
        await rfid.send([{"id": f"tag-{number}"} for number in range(3000)])
        await ear.until("unknown", "tag-1")
        await until_reads(lambda: ask(nats_bus, "health"), "rfid", "3000 devices")
    assert "disappeared" not in ear.changes("tag-1")
    assert not ear.changes("huge")


async def test_lists_faster_than_they_can_be_told_end_at_the_last_and_lose_nothing(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path, folder: Path
) -> None:
    def tags(text: str, count: int) -> list[dict[str, Any]]:
        return [{"id": f"tag-{number}", "properties": {"TEXT": text}} for number in range(count)]

    async with met(nats_bus, nats_server, tmp_path, folder) as (ear, rfid):
        await rfid.until("asked")
        for number in range(20):
            await rfid.send(tags(f"{number}", 500))
        await rfid.send(tags("last", 400))
        last = {f"tag-{number}": "present" for number in range(400)}

        def told() -> bool:
            events = ear.last()
            texts = [one.matches[0].properties["TEXT"] for one in events if one.change != "disappeared"]
            return len(texts) == 400 and set(texts) == {"last"}

        await until(told, seconds=60)
        present = {name: state for name, state in ear.states().items() if state == "present"}
        assert present == last
        (source,) = (await ask(nats_bus, "health"))["sources"]
        assert source["dropped"] == 0
        assert source["devices"] == 400

"""The embedded NATS server: how it starts, stops, dies and comes back, and what an MQTT client sees of it."""

import asyncio
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from ashore.bus import ServerTooOld
from ashore.bus.permissions import USERS
from ashore.bus.server import EmbeddedServer, ServerFailed
from tests.bus_kit import BLOB, joined, publish, redirected, stream_part, take, until
from tests.conftest import ServerFactory


def fake_server(folder: Path, version: str) -> Path:
    binary = folder / "nats-server"
    binary.write_text(f"#!/bin/sh\necho 'nats-server: v{version}'\n")
    binary.chmod(0o755)
    return binary


def test_a_server_too_old_is_refused_before_it_is_started(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    with pytest.raises(ServerTooOld, match=r"v2\.9\.10.*needs 2\.12"):
        make_nats_server(binary=fake_server(tmp_path, "2.9.10")).start()
    assert not (tmp_path / "nats").exists()


def test_a_binary_that_stops_at_once_is_an_error_that_says_so(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    server = make_nats_server(binary=fake_server(tmp_path, "2.15.1"))
    with pytest.raises(ServerFailed, match="stopped with code 0"):
        server.start()


def test_a_port_that_is_taken_is_an_error_that_says_so(nats_server: EmbeddedServer, tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, port=int(nats_server.url.rpartition(":")[2]), monitor_port=0)
    with pytest.raises(ServerFailed, match="address already in use"):
        server.start()


def test_two_servers_never_share_a_data_folder(make_nats_server: ServerFactory) -> None:
    make_nats_server().start()
    with pytest.raises(ServerFailed, match="another process"):
        make_nats_server().start()


def test_the_data_folder_and_the_keys_are_the_owners_alone(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    server = make_nats_server()
    server.start()
    for path in (
        tmp_path / "nats",
        tmp_path / "nats" / "nkeys",
        server.seed_file("owner"),
        tmp_path / "nats" / "nats-server.conf",
    ):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not {user.name for user in USERS} - {path.stem for path in (tmp_path / "nats" / "nkeys").glob("*.nk")}


def test_what_the_server_writes_is_for_nobody_else_in_an_old_folder_too(
    make_nats_server: ServerFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "nats"
    folder.mkdir(mode=0o755)
    (folder / "nats-server.conf").write_text("{}")
    (folder / "nats-server.conf").chmod(0o644)
    make_nats_server().start()
    written = [
        folder,
        *folder.glob("nats-server.conf"),
        *folder.glob("nats-server.log"),
        *folder.glob("jetstream/**/*"),
    ]
    assert len(written) > 3
    assert not [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_the_server_does_not_inherit_settings(make_nats_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASHORE_ADMIN_TOKEN", "a-secret-of-ours")
    server = make_nats_server()
    server.start()
    environment = Path(f"/proc/{server.pid}/environ").read_bytes()
    assert b"GOMEMLIMIT=" in environment
    assert b"a-secret-of-ours" not in environment


def test_a_server_left_behind_by_a_killed_parent_is_stopped_first(make_nats_server: ServerFactory) -> None:
    abandoned = make_nats_server()
    abandoned.start()
    orphan = abandoned.pid
    # What remains when the parent is killed: the process, and no lock.
    assert abandoned._lock is not None
    assert abandoned._process is not None
    abandoned._lock.close()
    server = make_nats_server()
    server.start()
    assert server.pid != orphan
    assert abandoned._process.poll() is not None


def test_a_pid_file_of_some_other_process_harms_nobody(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    (tmp_path / "nats").mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "nats" / "nats-server.pid").write_text(str(bystander.pid))
        make_nats_server().start()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_restart_keeps_the_port_and_the_data(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    url = server.url
    async with joined(server, "admin") as [bus]:
        await bus.declare()
        await publish(bus, redirected(1))
        await bus.put(BLOB, b"blob", ttl=60)
    server.stop()
    server.start()
    assert server.url == url
    async with joined(server, "admin") as [bus]:
        assert [subject for _, subject in await take(bus.follow([">"], replay=True), 1)] == [redirected(1).subject]
        assert await bus.get(BLOB) == b"blob"


async def test_within_the_block_a_server_that_dies_is_started_again(make_nats_server: ServerFactory) -> None:
    async with make_nats_server() as server:
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: server.pid != first)
        async with joined(server, "admin") as [bus]:
            await bus.declare()


async def test_every_acknowledged_message_is_synced_to_disk(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    server = make_nats_server()
    server.start()
    config = server._ask("/jsz")["config"]
    assert isinstance(config, dict)
    assert config["sync_always"] is True


async def test_an_mqtt_client_needs_its_password(
    make_nats_server: ServerFactory, tmp_path: Path, unused_tcp_port: int
) -> None:
    make_nats_server(mqtt_port=unused_tcp_port).start()
    _, _, code = await _mqtt_connect(unused_tcp_port, "guess")
    assert code != 0


async def test_an_mqtt_client_hears_facts_and_publishes_none(
    make_nats_server: ServerFactory, tmp_path: Path, unused_tcp_port: int
) -> None:
    server = make_nats_server(mqtt_port=unused_tcp_port)
    server.start()
    password = (tmp_path / "nats" / "nkeys" / "mqtt.password").read_text()
    reader, writer, code = await _mqtt_connect(unused_tcp_port, password)
    assert code == 0
    # SUBSCRIBE device-redirected/# at QoS 0, packet id 1; the SUBACK grants it.
    await _mqtt_send(writer, 0x82, b"\0\1" + _mqtt_text("device-redirected/#") + b"\0")
    assert await reader.readexactly(5) == b"\x90\x03\0\1\0"
    async with joined(server, "admin") as [bus]:
        await bus.declare()
        await publish(bus, redirected())
        async with asyncio.timeout(5):
            heard = await reader.read(4096)
        assert f"device-redirected/{1:032x}".encode() in heard
        await _mqtt_send(writer, 0x30, _mqtt_text("device-redirected/forged") + b"{}")
        await asyncio.sleep(0.2)
        assert [subject for _, subject in await take(bus.follow([">"], replay=True), 1)] == [redirected().subject]
        assert (await stream_part(bus, "FACTS", "state"))["messages"] == 1
    writer.close()


async def test_an_mqtt_client_announces_a_device_and_others_hear_it_even_later(
    make_nats_server: ServerFactory, tmp_path: Path, unused_tcp_port: int
) -> None:
    server = make_nats_server(mqtt_port=unused_tcp_port)
    server.start()
    password = (tmp_path / "nats" / "nkeys" / "mqtt.password").read_text()
    _, device, _ = await _mqtt_connect(unused_tcp_port, password)
    # PUBLISH at QoS 0, retained.
    await _mqtt_send(device, 0x31, _mqtt_text("ashore/v1/site/pump-1/birth") + b"{}")
    await asyncio.sleep(0.2)
    listens, listener, _ = await _mqtt_connect(unused_tcp_port, password, name="later")
    await _mqtt_send(listener, 0x82, b"\0\1" + _mqtt_text("ashore/v1/#") + b"\0")
    heard = b""
    async with asyncio.timeout(5):
        while b"ashore/v1/site/pump-1/birth{}" not in heard:
            heard += await listens.read(4096)
    device.close()
    listener.close()


async def _mqtt_connect(
    port: int, password: str, name: str = "test"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
    """CONNECT of MQTT 3.1.1 by hand; the last of the answer is the return code."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    flags_and_keepalive = bytes([4, 0b11000010, 0, 60])
    texts = _mqtt_text(name) + _mqtt_text("mqtt") + _mqtt_text(password)
    await _mqtt_send(writer, 0x10, _mqtt_text("MQTT") + flags_and_keepalive + texts)
    answer = await reader.read(4)
    return reader, writer, answer[3] if len(answer) == 4 else 255


async def _mqtt_send(writer: asyncio.StreamWriter, kind: int, rest: bytes) -> None:
    writer.write(bytes([kind, len(rest)]) + rest)
    await writer.drain()


def _mqtt_text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()

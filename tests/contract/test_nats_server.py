"""The embedded NATS server, and the bus when that server refuses, stops, dies and comes back."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ashore import events
from ashore.bus import Bus, BusUnavailable, NotPermitted, ServerTooOld, StoreFull
from ashore.bus.nats import NatsBus, connect
from ashore.bus.permissions import USERS
from ashore.bus.server import EmbeddedServer, ServerFailed
from tests.conftest import QUICK, ServerFactory, join

GUID = "a" * 32
Joiner = Callable[[str], Awaitable[NatsBus]]


def redirected(number: int = 1) -> events.DeviceRedirected:
    return events.DeviceRedirected(guid=f"{number:032x}", addresses=["http://owner"])


async def publish(bus: Bus, event: events.Event) -> int:
    wrapped = events.envelope(event, source="/test", id=event.subject, time=datetime.now(UTC))
    return await bus.publish(event.subject, events.encode(wrapped), id=event.subject)


@asynccontextmanager
async def joined(server: EmbeddedServer, *users: str) -> AsyncIterator[list[NatsBus]]:
    buses = [await join(server, user) for user in users]
    try:
        yield buses
    finally:
        for bus in buses:
            await bus.close()


async def stored(bus: Bus, count: int) -> list[str]:
    found = bus.follow([">"], replay=True)
    subjects: list[str] = []
    async with asyncio.timeout(20):
        async for _, envelope in found:
            subjects.append(envelope.subject)
            if len(subjects) == count:
                break
    await found.aclose()
    return subjects


def fake_server(folder: Path, version: str) -> Path:
    binary = folder / "nats-server"
    binary.write_text(f"#!/bin/sh\necho 'nats-server: v{version}'\n")
    binary.chmod(0o755)
    return binary


# Starting and stopping


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


def test_a_server_left_behind_by_a_killed_parent_is_stopped_first(make_nats_server: ServerFactory) -> None:
    abandoned = make_nats_server()
    abandoned.start()
    orphan = abandoned.pid
    # What remains when the parent is killed: the process, and no lock.
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
        await bus.put(f"rendezvous-blob.{GUID}", b"blob", ttl=60)
    server.stop()
    server.start()
    assert server.url == url
    async with joined(server, "admin") as [bus]:
        assert await stored(bus, 1) == [redirected(1).subject]
        assert await bus.get(f"rendezvous-blob.{GUID}") == b"blob"


async def test_within_the_block_a_server_that_dies_is_started_again(make_nats_server: ServerFactory) -> None:
    async with make_nats_server() as server:
        first = server.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(15):
            while server.pid == first:
                await asyncio.sleep(0.05)
        async with joined(server, "admin") as [bus]:
            await bus.declare()


async def test_every_acknowledged_message_is_synced_to_disk(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    server = make_nats_server()
    server.start()
    assert server._ask("/jsz")["config"]["sync_always"] is True


# Permissions


@pytest.fixture
async def declared(nats_bus: NatsBus, nats_server: EmbeddedServer) -> EmbeddedServer:
    await nats_bus.declare()
    return nats_server


async def test_each_service_publishes_its_own_facts(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        assert await publish(rendezvous, redirected()) == 1


async def test_a_service_cannot_publish_the_facts_of_another(declared: EmbeddedServer) -> None:
    async with joined(declared, "manufacturer", "owner", "cli") as buses:
        for bus in buses:
            with pytest.raises(NotPermitted, match="administrator"):
                await publish(bus, redirected())


async def test_only_the_rendezvous_touches_its_values(declared: EmbeddedServer) -> None:
    blob = f"rendezvous-blob.{GUID}"
    async with joined(declared, "rendezvous", "owner") as [rendezvous, owner]:
        await rendezvous.put(blob, b"blob", ttl=60)
        assert await rendezvous.get(blob) == b"blob"
        assert await rendezvous.keys("rendezvous-blob.>") == [blob]
        for attempt in (owner.get(blob), owner.put(blob, b"forged", ttl=60), owner.delete(blob)):
            with pytest.raises(NotPermitted):
                await attempt
        assert await rendezvous.get(blob) == b"blob"
        await rendezvous.delete(blob)


async def test_a_service_consumes_its_own_names_with_its_own_durable(declared: EmbeddedServer) -> None:
    seen: list[str] = []

    async def handler(envelope: events.Envelope) -> None:
        seen.append(envelope.subject)
        if len(seen) < 3:
            raise RuntimeError("twice")

    async with joined(declared, "owner", "rendezvous") as [owner, rendezvous]:
        await publish(rendezvous, redirected())
        task = asyncio.create_task(owner.consume("owner", ["device-redirected"], handler))
        async with asyncio.timeout(10):
            while len(seen) < 3:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_service_parks_what_it_cannot_handle(declared: EmbeddedServer) -> None:
    async def handler(_: events.Envelope) -> None:
        raise RuntimeError("never")

    async with joined(declared, "owner", "rendezvous", "cli") as [owner, rendezvous, cli]:
        await publish(rendezvous, redirected())
        task = asyncio.create_task(owner.consume("owner", ["device-redirected"], handler))
        async with asyncio.timeout(10):
            _, letter = await anext(cli.follow(["dead-letter.>"], replay=True))
        assert letter.subject == "dead-letter.owner.device-redirected"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_service_cannot_consume_what_is_not_for_it(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous", "owner") as [rendezvous, owner]:
        for bus, durable, name in (
            (rendezvous, "rendezvous", "voucher-extended"),
            (rendezvous, "owner", "voucher-extended"),
        ):
            connection = await bus._link.connection()
            with pytest.raises(NotPermitted):
                await _make_consumer(connection, f"{durable}-{name}", f"{name}.>")
        # The right to one's own consumer is for its own filter only.
        connection = await owner._link.connection()
        with pytest.raises(NotPermitted):
            await _make_consumer(connection, "owner-voucher-extended", "onboarding-failed.>")


async def _make_consumer(connection: object, name: str, subject_filter: str) -> None:
    from ashore.bus.nats import pull

    await pull.make(connection, "FACTS", name, {"durable_name": name, "filter_subject": subject_filter})


async def test_nobody_listens_to_the_answers_or_requests_of_another(declared: EmbeddedServer) -> None:
    async def echo(body: bytes) -> bytes:
        return body

    async with joined(declared, "owner", "owner", "rendezvous") as [owner, replica, rendezvous]:
        async with await owner.serve("replica.owner.a", echo):
            assert await replica.request("replica.owner.a", b"mine", timeout=5) == b"mine"
            with pytest.raises(NotPermitted):
                await rendezvous.request("replica.owner.a", b"yours", timeout=5)
        heard = []
        connection = await rendezvous._link.connection()
        for subject in (">", "_INBOX_owner.>", "replica.owner.*"):
            async with connection.listen(subject) as queue:
                await connection.ping()
                await publish(rendezvous, redirected())
                async with await owner.serve("replica.owner.a", echo):
                    await replica.request("replica.owner.a", b"mine", timeout=5)
                await connection.ping()
                heard += [queue.get_nowait() for _ in range(queue.qsize())]
        assert heard == []


async def test_only_the_admin_changes_streams(declared: EmbeddedServer) -> None:
    async with joined(declared, "rendezvous") as [rendezvous]:
        connection = await rendezvous._link.connection()
        for operation in ("CREATE", "UPDATE", "DELETE", "PURGE"):
            with pytest.raises(NotPermitted):
                await connection.request(f"$JS.API.STREAM.{operation}.FACTS", b"{}", seconds=5)


async def test_a_service_waits_until_the_admin_has_declared_the_streams(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    async with joined(server, "owner", "admin") as [owner, admin]:
        with pytest.raises(BusUnavailable, match="FACTS"):
            await owner.check()
        waiting = asyncio.create_task(owner.declare())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await admin.declare()
        async with asyncio.timeout(10):
            await waiting
        await owner.check()


async def test_a_stranger_is_kept_out(declared: EmbeddedServer) -> None:
    for seed in (None, declared.seed_file("owner").read_text()[:-8] + "AAAAAAAA"):
        bus = await connect(declared.url, name="stranger", seed=seed)
        with pytest.raises(BusUnavailable):
            await bus.check()
        await bus.close()


# Streams


async def test_what_operators_have_tuned_is_left_as_it_is(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin") as [admin]:
        await _update(admin, "FACTS", {"max_age": 3600 * 10**9})
        await admin.declare()
        assert (await _config(admin, "FACTS"))["max_age"] == 3600 * 10**9


async def test_what_the_contract_needs_is_put_right(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin") as [admin]:
        await _update(admin, "FACTS", {"subjects": ["voucher-issued.>", "of-a-later-release.>"]})
        await _update(admin, "PRESENCE", {"max_msgs_per_subject": 1})
        await admin.declare()
        assert set((await _config(admin, "FACTS"))["subjects"]) == {*events.FACTS.subjects, "of-a-later-release.>"}
        assert (await _config(admin, "PRESENCE"))["max_msgs_per_subject"] == 5


async def test_a_full_store_refuses_new_values_and_keeps_the_old(declared: EmbeddedServer) -> None:
    async with joined(declared, "admin", "rendezvous") as [admin, rendezvous]:
        await _update(admin, "RENDEZVOUS", {"max_bytes": 64 * 1024})
        with pytest.raises(StoreFull):
            for number in range(100):
                await rendezvous.put(f"rendezvous-blob.{number}", b"x" * 4096, ttl=60)
        assert await rendezvous.get("rendezvous-blob.0") == b"x" * 4096


async def _config(bus: NatsBus, stream: str) -> dict[str, object]:
    connection = await bus._link.connection()
    message = await connection.request(f"$JS.API.STREAM.INFO.{stream}", b"", seconds=5)
    return json.loads(message.data)["config"]


async def _update(bus: NatsBus, stream: str, changes: dict[str, object]) -> None:
    connection = await bus._link.connection()
    body = json.dumps({**await _config(bus, stream), **changes}).encode()
    answer = json.loads((await connection.request(f"$JS.API.STREAM.UPDATE.{stream}", body, seconds=5)).data)
    assert "error" not in answer, answer


# Trouble


async def test_without_a_server_a_bus_is_made_and_its_calls_fail_soon(tmp_path: Path) -> None:
    started = time.monotonic()
    bus = await connect("nats://127.0.0.1:1", name="owner")
    for attempt in (
        publish(bus, redirected()),
        bus.get("rendezvous-blob.a"),
        bus.check(),
        bus.declare(),
        bus.request("a.b", b"", timeout=30),
    ):
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1"):
            await attempt
    assert time.monotonic() - started < 30
    await bus.close()


async def test_a_bus_finds_the_server_that_starts_after_it(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    server.stop()
    bus = await join(server, "admin")
    served = await bus.serve("replica.owner.a", _echo)
    seen: list[str] = []

    async def handler(envelope: events.Envelope) -> None:
        seen.append(envelope.subject)

    consuming = asyncio.create_task(bus.consume("owner", ["device-redirected"], handler))
    server.start()
    await _declared(bus)
    await publish(bus, redirected())
    async with asyncio.timeout(15):
        while not seen:
            await asyncio.sleep(0.05)
    assert await bus.request("replica.owner.a", b"x", timeout=5) == b"x"
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await served.close()
    await bus.close()


async def _echo(body: bytes) -> bytes:
    return body


async def _declared(bus: Bus) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                return await bus.declare()
            except BusUnavailable:
                await asyncio.sleep(0.1)


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    acknowledged: list[str] = []
    consumed: set[str] = set()
    stop = asyncio.Event()

    async def handler(envelope: events.Envelope) -> None:
        consumed.add(envelope.subject)

    async def publishing(bus: Bus, first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                await publish(bus, redirected(number))
            except BusUnavailable:
                continue
            acknowledged.append(redirected(number).subject)
            number += 1

    async def following(bus: Bus, found: list[int]) -> None:
        async for sequence, _ in bus.follow([">"], replay=True):
            found.append(sequence)

    async with joined(server, "admin", "admin") as [bus, other]:
        await bus.declare()
        followed: list[int] = []
        readers = [
            asyncio.create_task(other.consume("owner", ["device-redirected"], handler)),
            asyncio.create_task(following(other, followed)),
        ]
        writers = [asyncio.create_task(publishing(bus, n * 1_000_000)) for n in range(8)]
        for _ in range(2):
            await asyncio.sleep(0.5)
            before = len(acknowledged)
            os.kill(server.pid, signal.SIGKILL)
            server._process.wait()
            await asyncio.sleep(0.3)
            server._relaunch()
            async with asyncio.timeout(20):
                while len(acknowledged) < before + 100:
                    await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*writers)
        subjects = await stored(bus, len(acknowledged))
        assert sorted(subjects) == sorted(acknowledged), "each exactly once, whatever was repeated"
        async with asyncio.timeout(30):
            while len(consumed) < len(acknowledged) or len(followed) < len(acknowledged):
                await asyncio.sleep(0.05)
        assert followed == sorted(set(followed)), "in order and without repetition"
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_a_request_that_the_server_takes_to_its_grave_fails_at_once(make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()

    async def never(_: bytes) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with joined(server, "admin", "admin") as [bus, other], await other.serve("replica.owner.a", never):
        asking = asyncio.create_task(bus.request("replica.owner.a", b"", timeout=60))
        await asyncio.sleep(0.2)
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            with pytest.raises(BusUnavailable, match="ended"):
                await asking


# MQTT


async def test_an_mqtt_client_needs_its_password(
    make_nats_server: ServerFactory, tmp_path: Path, unused_tcp_port: int
) -> None:
    server = make_nats_server(mqtt_port=unused_tcp_port)
    server.start()
    password = (tmp_path / "nats" / "nkeys" / "mqtt.password").read_text()
    assert await _mqtt_connect(unused_tcp_port, password) == 0
    assert await _mqtt_connect(unused_tcp_port, "guess") != 0


async def _mqtt_connect(port: int, password: str) -> int:
    """CONNECT of MQTT 3.1.1 by hand; the answer is the return code."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    rest = (
        text("MQTT") + bytes([4, 0b11000010]) + (60).to_bytes(2, "big") + text("test") + text("mqtt") + text(password)
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(bytes([0x10, len(rest)]) + rest)
    answer = await reader.read(4)
    writer.close()
    return answer[3] if len(answer) == 4 else 255

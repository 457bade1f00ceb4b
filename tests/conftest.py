"""What several test modules share: a real NATS server, started once, and the bus on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from ashore.bus import Redelivery
from ashore.bus.nats import NatsBus, connect
from ashore.bus.server import EmbeddedServer
from ashore.events import STREAMS

QUICK = Redelivery(delays=(0.05, 0.1), max_deliver=3, later_seconds=0.05, concurrency=4)
"""Redelivery as in production, only sooner."""

ServerFactory = Callable[..., EmbeddedServer]


@pytest.fixture
def make_nats_server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Make servers for one test alone, on free ports of loopback; they are stopped after it."""
    made: list[EmbeddedServer] = []

    def make(
        data_dir: Path = tmp_path / "nats", *, binary: Path | None = None, mqtt_port: int | None = None
    ) -> EmbeddedServer:
        server = EmbeddedServer(data_dir, port=0, monitor_port=0, mqtt_port=mqtt_port, binary=binary)
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Run one server for the whole session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("nats"), port=0, monitor_port=0)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def nats_bus(nats_server: EmbeddedServer) -> AsyncIterator[NatsBus]:
    """Join that server as its admin, with streams as good as new."""
    bus = await join(nats_server, "admin")
    await forget_streams(bus)
    await bus.declare()
    yield bus
    await bus.close()


async def join(server: EmbeddedServer, user: str) -> NatsBus:
    """Join the server's bus as this user."""
    return await connect(server.url, name=user, seed_file=str(server.seed_file(user)), redelivery=QUICK)


async def forget_streams(bus: NatsBus) -> None:
    """Delete every stream."""
    connection = await bus._link.connection()
    for stream in STREAMS:
        await connection.request(f"$JS.API.STREAM.DELETE.{stream.name}", b"", seconds=5)

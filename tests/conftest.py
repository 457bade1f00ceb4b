"""What several test modules share: a real NATS server, started once, and the bus on it.

Tests make hundreds of databases. With Alembic imported here they migrate them in this process, instead of in a child
for each; `test_sql_opening` opens its databases as services do.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import alembic.command  # noqa: F401 - see above
import pytest

from ashore.bus import Bus
from ashore.bus.memory import MemoryBus
from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import QUICK, Setup, fresh_streams, join, joined
from tests.kube.fixtures import (  # noqa: F401 - fixtures, and a hook
    control_plane,
    controllers,
    kube,
    kube_cluster,
    kube_namespace,
    pytest_terminal_summary,
    scheduler,
)


class ServerFactory(Protocol):
    """Makes servers for one test alone; they are not started yet."""

    def __call__(
        self,
        data_dir: Path = ...,
        *,
        binary: Path | None = None,
        mqtt_port: int | None = None,
        certificate: Path | None = None,
    ) -> EmbeddedServer: ...


@pytest.fixture
def make_nats_server(tmp_path: Path) -> Iterator[ServerFactory]:
    """Make servers on free ports of loopback; they are stopped after the test."""
    made: list[EmbeddedServer] = []

    def make(
        data_dir: Path = tmp_path / "nats",
        *,
        binary: Path | None = None,
        mqtt_port: int | None = None,
        certificate: Path | None = None,
    ) -> EmbeddedServer:
        server = EmbeddedServer(
            data_dir, port=0, monitor_port=0, mqtt_port=mqtt_port, binary=binary, certificate=certificate
        )
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
    await fresh_streams(bus)
    yield bus
    await bus.close()


@pytest.fixture(params=["memory", "nats"])
async def bus_setup(request: pytest.FixtureRequest, nats_server: EmbeddedServer) -> AsyncIterator[Setup]:
    """Make an empty bus of either kind."""
    if request.param == "memory":
        now = [1_000_000_000.0]

        async def elapse(seconds: float) -> None:
            now[0] += seconds

        memory = MemoryBus(clock=lambda: now[0], redelivery=QUICK)
        yield Setup(memory, memory, elapse)
        return
    async with joined(nats_server, "admin", "admin") as [bus, other]:
        await fresh_streams(bus)
        yield Setup(bus, other, lambda seconds: asyncio.sleep(seconds + 0.25))


@pytest.fixture
def bus(bus_setup: Setup) -> Bus:
    """Make an empty bus of either kind, for tests that need one participant and no time."""
    return bus_setup.bus

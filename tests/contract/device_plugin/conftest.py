"""A kubelet of a node, and a launcher that decides about slots."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.contract.device_plugin.fake_kubelet import FakeKubelet, kubelet
from tests.contract.device_plugin.node import Launcher, launcher, short_folder


@pytest.fixture
def root() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
async def node(root: Path) -> AsyncIterator[FakeKubelet]:
    async with kubelet(root) as found:
        yield found


@pytest.fixture
async def slots(nats_bus: NatsBus, nats_server: EmbeddedServer) -> AsyncIterator[Launcher]:
    async with launcher(nats_server) as found:
        yield found

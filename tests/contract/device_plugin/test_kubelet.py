"""Kubelets that are absent, start anew or refuse; sockets of earlier runs; bursts; and what people see of it."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore_device_plugin.app import _open_many_files
from ashore_device_plugin.kubelet.sockets import AnotherPluginError
from tests.bus_kit import until
from tests.contract.device_plugin.fake_kubelet import FakeKubelet
from tests.contract.device_plugin.node import CAM, CAMS, Launcher, plugin, ready

SLOT = "cams-4294ea-0"


async def test_a_kubelet_that_starts_anew_gets_everything_again(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root, unused_seconds=60) as found:
        await ready(found, 2)
        await node.admit("pod", CAM, SLOT)
        for _ in range(2):
            node.registrations.clear()
            await node.stop()
            await node.start()
            await until(lambda: sorted(node.registrations) == [CAMS, CAM])
            await until(lambda: node.healthy(CAM) == {SLOT})
        await ready(found, 2)
        await node.allocate(CAM, [SLOT])
    assert slots.usage() == {SLOT: "n1"}


async def test_a_kubelet_that_is_not_there_is_waited_for(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await node.stop()
    await slots.add()
    async with plugin(nats_server, root) as found:
        await until(lambda: len(found.sockets.owners()) == 2)
        assert found.waits_for()[0] == f"the kubelet is not there: {node.folder / 'kubelet.sock'}"
        await node.start()
        await until(lambda: node.healthy(CAM) == {SLOT})


async def test_a_registration_that_is_refused_is_tried_again_and_keeps_no_other_from_it(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    node.refuses = CAM
    await slots.add()
    async with plugin(nats_server, root) as found:
        await until(lambda: bool(node.healthy(CAMS)))
        await until(lambda: "no room for it" in "".join(found.waits_for()))
        node.refuses = ""
        await until(lambda: node.healthy(CAM) == {SLOT})
        await ready(found, 2)


async def test_sockets_of_an_earlier_run_are_removed_and_those_of_others_are_not(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    for name in ("ashore-0123456789abcdef.sock", "vendor.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
            left.bind(str(node.folder / name))
    async with plugin(nats_server, root):
        assert not (node.folder / "ashore-0123456789abcdef.sock").exists()
        assert (node.folder / "vendor.sock").exists()


async def test_a_second_plugin_on_the_node_is_refused(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        with pytest.raises(AnotherPluginError, match="one is enough for a node"):
            async with plugin(nats_server, root):
                pass
        assert await node.allocate(CAM, [SLOT])


async def test_a_plugin_that_ends_takes_its_sockets_with_it(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
    assert [path.name for path in node.folder.iterdir()] == ["kubelet.sock"]


async def test_an_instance_that_comes_and_goes_at_once_ends_as_its_last_event_says(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    async with plugin(nats_server, root) as found:
        for _ in range(5):
            await slots.add()
            await slots.remove()
        await slots.add(capacity=3)
        await until(lambda: len(node.healthy(CAM)) == 3)
        for _ in range(5):
            await slots.remove()
            await slots.add(capacity=2)
        await slots.remove()
        await until(lambda: not found.sockets.owners())
        await until(lambda: not list(node.folder.glob("ashore-*.sock")))


async def test_two_thousand_instances_at_once_are_all_registered_and_listed(
    nats_server: EmbeddedServer, nats_bus: NatsBus, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    """Akri's: one resource a second."""
    _open_many_files()
    count = 2000
    async with plugin(nats_server, root, check_seconds=60) as found:
        await asyncio.gather(*(slots.add(f"many-{number:06x}") for number in range(count)))
        await until(lambda: len(set(node.registrations)) == count + 1, seconds=100)
        await until(lambda: not found.waits_for())
        await until(lambda: all(len(node.healthy(f"akri.sh/many-{number:06x}")) == 1 for number in range(count)))
        await until(lambda: len(node.healthy("akri.sh/many")) == count)
        assert len(node.registrations) == count + 1
        assert len(node.plugins["akri.sh/many"].lists) < count / 4


async def test_while_resources_are_registered_the_list_of_their_configuration_waits_and_is_told_once(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    async with plugin(nats_server, root) as found:
        await slots.add()
        await ready(found, 2)
        node.at_rest.clear()
        await slots.add("cams-000001")
        await until(lambda: "akri.sh/cams-000001" in node.registrations and len(node.healthy(CAMS)) == 2)
        told = len(node.plugins[CAMS].lists)
        for number in range(2, 5):
            await slots.add(f"cams-{number:06}")
            await until(lambda name=f"akri.sh/cams-{number:06}": name in node.registrations)  # type: ignore[misc]
        assert len(node.plugins[CAMS].lists) == told
        node.at_rest.set()
        await until(lambda: len(node.healthy(CAMS)) == 5)
        assert len(node.plugins[CAMS].lists) == told + 1
        await ready(found, 6)


async def test_people_and_prometheus_are_told_how_it_is(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with plugin(nats_server, root, port=port) as found:
        await ready(found, 2)
        await node.admit("pod", CAM, SLOT)
        status, body = await _get(port, "/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "reasons": [], "problems": []})
        _, body = await _get(port, "/metrics")
        assert "ashore_device_plugin_resources 2.0" in body
        assert "ashore_device_plugin_slots 1.0" in body
        assert 'ashore_device_plugin_allocations_total{result="granted"} 1.0' in body
        await node.stop()
        await until(lambda: bool(found.waits_for()))
        status, body = await _get(port, "/readyz")
        assert status == 503
        assert "the kubelet is not there" in body
        assert (await _get(port, "/healthz"))[0] == 200


async def _get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body

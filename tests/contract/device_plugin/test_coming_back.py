"""Devices that go and come back while a container has them: nobody else gets them, and nothing is forgotten."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from ashore.bus.server import EmbeddedServer
from ashore_device_plugin.plugin import DevicePlugin
from ashore_device_plugin.remembering import FILE
from tests.bus_kit import until
from tests.contract.device_plugin.fake_kubelet import FakeKubelet
from tests.contract.device_plugin.node import CAM, CAMS, Launcher, plugin, ready

SLOT = "cams-4294ea-0"
OURS = {SLOT: "C:cams-0:n1"}
LONG = {"unused_seconds": 60}


async def looks(slots: Launcher, times: int = 3) -> None:
    """Wait until containers were looked at so often."""
    before = slots.asked.count("usage")
    await until(lambda: slots.asked.count("usage") >= before + times)


async def refused(node: FakeKubelet, resource: str, id_: str) -> bool:
    """Whether nobody else is given the device."""
    with suppress(GRPCError):
        await node.allocate(resource, [id_])
        return False
    return True


async def gone(slots: Launcher, found: DevicePlugin) -> None:
    """The only device goes, and the node has known it for longer than a slot that nobody uses is kept."""
    await slots.remove()
    await until(lambda: not found.sockets.owners())
    await looks(slots, 6)


@pytest.mark.parametrize("resource", [CAM, CAMS], ids=["instance", "configuration"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "local"])
async def test_a_device_that_is_back_is_still_whose_it_was(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, resource: str, *, shared: bool
) -> None:
    id_, usage, other = {
        CAM: (SLOT, {SLOT: "n1"}, (CAMS, "cams-1")),
        CAMS: ("cams-0", OURS, (CAM, SLOT)),
    }[resource]
    await slots.add(shared=shared)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", resource, id_)
        for _ in range(2):
            await gone(slots, found)
            await slots.add(shared=shared)
            await ready(found, 2)
            await until(lambda: slots.usage() == usage)
            assert await refused(node, *other)
        assert not found.health.problems()
        node.containers.clear()
        await until(lambda: slots.usage() == {})


async def test_nobody_else_is_given_a_device_in_the_moment_when_it_is_back(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    # So seldom that no look is due.
    async with plugin(nats_server, root, check_seconds=3600) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await slots.remove()
        await until(lambda: not found.sockets.owners())
        await slots.add(shared=True)
        await ready(found, 2)
        await until(lambda: bool(node.offers(CAM) and node.offers(CAMS)))
        assert [node.plugins[CAM].lists[0], node.plugins[CAMS].lists[0]] == [{SLOT: "Unhealthy"}, {"cams-0": "Healthy"}]
        assert await refused(node, CAM, SLOT)
        assert await refused(node, CAMS, "cams-1")
        await until(lambda: slots.usage() == OURS)


async def test_a_device_that_left_the_node_for_a_while_is_still_whose_it_was(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await slots.change(nodes=["n2"])
        await until(lambda: not found.sockets.owners())
        await looks(slots, 6)
        assert slots.usage() == OURS
        await slots.change(nodes=["n1", "n2"])
        await ready(found, 2)
        await looks(slots)
        assert not found.health.problems()
    assert slots.usage() == OURS


async def test_while_a_device_is_away_its_virtual_id_is_not_offered_for_another(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root, unused_seconds=0.5) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await slots.add("cams-aaaaaa", shared=True)
        await slots.remove()
        await until(lambda: node.offers(CAMS) == {"cams-0": "Unhealthy", "cams-1": "Healthy"})
        await node.admit("next", CAMS, "cams-1")
        assert slots.usage("cams-aaaaaa") == {"cams-aaaaaa-0": "C:cams-1:n1"}
        assert not found.health.problems()
        # When its container has ended, the id is for the devices that are there.
        del node.containers["pod"]
        await until(lambda: node.offers(CAMS) == {"cams-1": "Healthy"})


@pytest.mark.parametrize("goes", ["before", "while"], ids=["before-the-restart", "while-it-is-away"])
async def test_a_device_that_is_back_after_a_restart_is_still_whose_it_was(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, goes: str
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        if goes == "before":
            await gone(slots, found)
    assert (root / "data" / FILE).stat().st_mode & 0o777 == 0o600
    if goes == "while":
        await slots.remove()
    async with plugin(nats_server, root) as found:
        await until(lambda: found.read)
        await looks(slots, 6)
        await slots.add(shared=True)
        await until(lambda: slots.usage() == OURS)
        assert await refused(node, CAM, SLOT)
        assert not found.health.problems()
        node.containers.clear()
        await until(lambda: slots.usage() == {} and (root / "data" / FILE).read_bytes() == b"[]")


async def test_a_device_that_is_back_before_the_plugin_is_still_whose_it_was(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
    await slots.remove()
    await slots.add(shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await until(lambda: slots.usage() == OURS)
        assert not found.health.problems()


async def test_a_slot_that_another_node_took_when_the_device_was_back_is_told_and_had_again_when_it_is_free(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(nodes=["n1", "n2"], shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await gone(slots, found)
        await slots.add(nodes=["n1", "n2"], shared=True, usage={SLOT: "n2"})
        told = f"a container here has slot 0 of cams-4294ea in default, which is not granted: {SLOT} is used by n2"
        await until(lambda: found.health.problems() == [told])
        await looks(slots, 6)
        assert slots.usage() == {SLOT: "n2"}
        # The container is left alone, and has its device for itself as soon as it can be.
        assert node.containers == {"pod": {CAMS: ["cams-0"]}}
        assert await refused(node, CAM, SLOT)
        slots.desk.forget(("default", "cams-4294ea"))
        await slots.change(usage={})
        await until(lambda: slots.usage() == OURS and not found.health.problems())


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_nothing_is_claimed_for_a_container_that_ended_while_the_device_was_away(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, *, restarted: bool
) -> None:
    async def comes_back() -> None:
        claims = slots.asked.count("claim")
        await slots.add(shared=True)
        await until(lambda: node.healthy(CAMS) != set())
        await looks(slots, 6)
        assert slots.asked.count("claim") == claims
        assert slots.usage() == {}

    await slots.add(shared=True)
    await slots.add("tty-aaaaaa")
    async with plugin(nats_server, root, **LONG) as found:
        await ready(found, 4)
        await node.admit("pod", CAMS, "cams-0")
        await slots.remove()
        await until(lambda: len(found.sockets.owners()) == 2)
        node.containers.clear()
        if not restarted:
            await comes_back()
    if restarted:
        async with plugin(nats_server, root, **LONG) as found:
            await ready(found, 2)
            await comes_back()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"null",
        b"[" * 100_000,
        b'[{"namespace":"default","id":"cams-0","instance":"cams-4294ea","slot":-1}]',
        b'[{"namespace":"default","id":"cams-0:n1","instance":"cams-4294ea","slot":0}]',
        b'[{"namespace":"default","id":"cams-0","instance":"cams-bbbbbb","slot":0}]',
    ],
    ids=["empty", "no-text", "null", "deep", "no-slot", "no-id", "of-another-device"],
)
async def test_a_file_that_cannot_be_read_is_lost_without_harm(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, body: bytes
) -> None:
    (root / "data").mkdir()
    (root / "data" / FILE).write_bytes(body)
    await slots.add(shared=True)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        await until(lambda: slots.usage() == OURS)
        assert b'"cams-4294ea"' in (root / "data" / FILE).read_bytes()


async def test_a_folder_that_cannot_be_written_is_a_problem_and_containers_get_their_devices(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    (root / "file").touch()
    await slots.add(shared=True)
    fields: dict[str, Any] = {"data_dir": root / "file" / "data"}
    async with plugin(nats_server, root, **fields) as found:
        await ready(found, 2)
        await node.admit("pod", CAMS, "cams-0")
        assert slots.usage() == OURS
        (problem,) = found.health.problems()
        assert "is not kept for a restart" in problem

"""What a kubelet is offered, and what its containers get: a fake kubelet, a real bus, the launcher's real slot desk."""

import json
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError

from ashore.bus.server import EmbeddedServer
from ashore.events import DeviceNode, InstanceNode, Mount
from tests.bus_kit import until
from tests.contract.device_plugin.fake_kubelet import FakeKubelet
from tests.contract.device_plugin.node import CAM, CAMS, Launcher, plugin, ready


async def test_an_instance_and_its_configuration_are_offered_as_akri_does(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=2, shared=True)
    async with plugin(nats_server, root):
        await until(lambda: node.healthy(CAM) == {"cams-4294ea-0", "cams-4294ea-1"})
        await until(lambda: node.healthy(CAMS) == {"cams-0"})
        assert node.plugins[CAM].options.get_preferred_allocation_available
        await slots.add("cams-aaaaaa", shared=True)
        await until(lambda: node.healthy(CAMS) == {"cams-0", "cams-1"})
        await slots.add("cams-bbbbbb", nodes=["n2"])
        await slots.change(capacity=1)
        await until(lambda: node.healthy(CAM) == {"cams-4294ea-0"})
    assert set(node.registrations) == {CAM, CAMS, "akri.sh/cams-aaaaaa"}


async def test_a_slot_is_healthy_while_it_is_free_or_this_nodes_own(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    usage = {"cams-4294ea-0": "n1", "cams-4294ea-1": "n2", "cams-4294ea-2": "C:cams-0:n1", "cams-4294ea-3": ""}
    await slots.add(capacity=5, shared=True, usage=usage)
    async with plugin(nats_server, root, unused_seconds=60):
        await until(lambda: bool(node.offers(CAM)))
        assert node.healthy(CAM) == {"cams-4294ea-0", "cams-4294ea-3", "cams-4294ea-4"}
        assert set(node.offers(CAM)) == {f"cams-4294ea-{number}" for number in range(5)}


async def test_a_full_instance_has_no_virtual_slot_and_one_with_room_has_one(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(shared=True, usage={"cams-4294ea-0": "n2"})
    await slots.add("cams-aaaaaa", capacity=3, shared=True, usage={"cams-aaaaaa-0": "n2"})
    async with plugin(nats_server, root):
        await until(lambda: node.healthy(CAMS) == {"cams-0"})
        await slots.change(usage={})
        await until(lambda: node.healthy(CAMS) == {"cams-0", "cams-1"})


async def test_a_container_gets_environment_mounts_device_nodes_and_its_name_in_cdi(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    here = InstanceNode(
        node="n1",
        device_nodes=[DeviceNode(host_path="/dev/video3", permissions="rw"), DeviceNode(host_path="dev/../mem")],
        mounts=[
            Mount(host_path="/opt/cal", container_path="/etc/cal"),
            Mount(host_path="/a/../b", container_path="/c"),
        ],
    )
    there = InstanceNode(node="n2", device_nodes=[DeviceNode(host_path="/dev/video9")])
    await slots.add(nodes=[there, here], shared=True, properties={"URL": "http://cam", "BAD=NAME": "x"})
    file = root / "cdi" / "ashore-cams-4294ea.json"
    async with plugin(nats_server, root, cdi_dir=root / "cdi") as found:
        await ready(found, 2)
        (got,) = await node.allocate(CAM, ["cams-4294ea-0"])
        assert got.env == {"URL": "http://cam", "URL_4294EA": "http://cam"}
        assert got.mounts == [("/opt/cal", "/etc/cal", True)]
        assert got.nodes == [("/dev/video3", "/dev/video3", "rw")]
        assert got.cdi == ["akri.sh/cams=4294ea"]
        assert json.loads(file.read_text()) == {
            "cdiVersion": "0.6.0",
            "kind": "akri.sh/cams",
            "devices": [
                {
                    "name": "4294ea",
                    "containerEdits": {
                        "env": ["URL=http://cam", "URL_4294EA=http://cam"],
                        "deviceNodes": [{"path": "/dev/video3", "hostPath": "/dev/video3", "permissions": "rw"}],
                        "mounts": [{"hostPath": "/opt/cal", "containerPath": "/etc/cal", "options": ["rbind", "ro"]}],
                    },
                }
            ],
        }
        await slots.remove()
        await until(lambda: not file.exists())


async def test_cdi_files_of_devices_that_went_meanwhile_are_removed_and_without_a_folder_there_are_none(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    async with plugin(nats_server, root, cdi_dir=root / "cdi"):
        await until((root / "cdi" / "ashore-cams-4294ea.json").exists)
    await slots.remove()
    await slots.add("cams-aaaaaa")
    (root / "cdi" / "vendor.json").write_text("{}")
    async with plugin(nats_server, root, cdi_dir=root / "cdi"):
        await until((root / "cdi" / "ashore-cams-aaaaaa.json").exists)
        assert sorted(path.name for path in (root / "cdi").iterdir()) == ["ashore-cams-aaaaaa.json", "vendor.json"]
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        (got,) = await node.allocate("akri.sh/cams-aaaaaa", ["cams-aaaaaa-0"])
        assert got.cdi == []


async def test_a_device_whose_own_resource_would_have_too_long_a_name_is_told_without_cdi(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    name = "c" * 60
    await slots.add(f"{name}-4294ea", properties={"URL": "http://cam"})
    async with plugin(nats_server, root, cdi_dir=root / "cdi") as found:
        await ready(found, 1)
        (got,) = await node.allocate(f"akri.sh/{name}", [f"{name}-0"])
        assert (got.env["URL"], got.cdi) == ("http://cam", [])


async def test_a_container_with_two_devices_of_a_configuration_can_tell_them_apart(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=2, shared=True, properties={"URL": "http://a"})
    await slots.add("cams-aaaaaa", capacity=2, shared=True, properties={"URL": "http://b"})
    async with plugin(nats_server, root) as found:
        await ready(found, 3)
        (got,) = await node.allocate(CAMS, ["cams-0", "cams-1"])
        assert {name: value for name, value in got.env.items() if name != "URL"} == {
            "URL_4294EA": "http://a",
            "URL_AAAAAA": "http://b",
        }
        assert slots.usage() == {"cams-4294ea-0": "C:cams-0:n1"}
        assert slots.usage("cams-aaaaaa") == {"cams-aaaaaa-0": "C:cams-1:n1"}


async def test_an_instance_that_goes_tells_an_empty_list_and_its_socket_goes(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    await slots.add("cams-aaaaaa")
    async with plugin(nats_server, root) as found:
        await ready(found, 3)
        heard = node.plugins[CAM]
        await until(lambda: bool(heard.lists))
        await slots.remove()
        await until(lambda: heard.ended)
        assert heard.lists[-1] == {}
        await until(lambda: len(list(node.folder.glob("ashore-*.sock"))) == 2)
        # The device has left this node and is on another: that is the same here.
        other = node.plugins["akri.sh/cams-aaaaaa"]
        await slots.change("cams-aaaaaa", nodes=["n2"])
        await until(lambda: other.ended and node.plugins[CAMS].ended)
        await until(lambda: not list(node.folder.glob("ashore-*.sock")))


async def test_of_configurations_of_one_name_the_older_has_the_resource_and_the_other_is_a_problem(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(namespace="b", properties={"WHOSE": "b"})
    await slots.add(namespace="a", properties={"WHOSE": "a"})
    await slots.change(namespace="b", capacity=2)
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        (got,) = await node.allocate(CAM, ["cams-4294ea-0"])
        assert got.env["WHOSE"] == "b"
        (problem,) = found.health.problems()
        assert "the configuration cams in a is not offered" in problem
        assert "the instance cams-4294ea in a is not offered" in problem
        await slots.remove(namespace="b")
        await until(lambda: not found.health.problems())
        await until(lambda: node.healthy(CAM) == {"cams-4294ea-0"})
        (got,) = await node.allocate(CAM, ["cams-4294ea-0"])
        assert got.env["WHOSE"] == "a"


async def test_slots_that_this_node_has_are_preferred(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add(capacity=4, shared=True)
    async with plugin(nats_server, root, unused_seconds=60) as found:
        await ready(found, 2)
        await node.allocate(CAM, ["cams-4294ea-2"])
        ids = [f"cams-4294ea-{number}" for number in range(4)]
        assert await node.prefer(CAM, ids, [], 2) == ["cams-4294ea-2", "cams-4294ea-0"]
        assert await node.prefer(CAM, ids, ["cams-4294ea-3"], 2) == ["cams-4294ea-3", "cams-4294ea-2"]


@pytest.mark.parametrize("id_", ["cams-4294ea-9", "cams-4294ea--1", "cams-4294ea-00", "other-0", ""])
async def test_an_id_that_is_no_slot_is_refused(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher, id_: str
) -> None:
    await slots.add()
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        with pytest.raises(GRPCError, match="no slot"):
            await node.allocate(CAM, [id_])


async def test_a_question_that_is_none_is_refused_and_changes_nothing(
    nats_server: EmbeddedServer, root: Path, node: FakeKubelet, slots: Launcher
) -> None:
    await slots.add()
    async with plugin(nats_server, root) as found:
        await ready(found, 2)
        for body in (b"\xff\xff\xff", b"\x0a" + b"\xff" * 40):
            with pytest.raises(GRPCError, match="this is no AllocateRequest"):
                await node.plugins[CAM].call("Allocate", body)
        with pytest.raises(GRPCError, match="bytes"):
            await node.plugins[CAM].call("Allocate", b"\0" * (1024 * 1024 + 1))
        assert await node.allocate(CAM, ["cams-4294ea-0"])

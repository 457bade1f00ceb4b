"""A configuration that makes one device of several sees parts come and go."""

from ashore.events import DeviceNode
from ashore_discovery.handlers.udev.handler import Udev
from ashore_discovery.handlers.udev.record import Level, Record, sighting
from ashore_discovery.tracking.presence import Manners
from tests.discovery_kit import Stage, configuration

GROUP = configuration("camera", "udev", details={"udevRules": ['SUBSYSTEM=="usb|video4linux"'], "groupRecursive": True})


def record(devpath: str, subsystem: str) -> Record:
    kernel = devpath.rpartition("/")[2]
    return Record(
        devpath=devpath,
        properties={},
        chain=[Level(kernel=kernel, subsystem=subsystem, devnode=f"/dev/{kernel}")],
    )


class Node:
    """A stage with kernel devices."""

    def __init__(self) -> None:
        self.stage = Stage(GROUP, handler=Udev)
        self.manners = Manners(handler="udev", exhaustive=True)

    def add(self, devpath: str, subsystem: str = "video4linux") -> list[str]:
        stage = self.stage
        found = sighting(record(devpath, subsystem), "add", stage.clock.now)
        return stage.take(stage.tracker.see("udev", self.manners, found, stage.clock.now))

    def remove(self, devpath: str) -> list[str]:
        return self.stage.see(devpath, "gone", source="udev")

    def nodes(self) -> list[DeviceNode]:
        [match] = self.stage.changes[-1].view.matches
        return match.device_nodes


def test_a_part_that_comes_changes_the_whole() -> None:
    node = Node()
    assert node.add("/devices/usb1/1-1", "usb") == ["appeared"]
    assert node.add("/devices/usb1/1-1/video0") == ["changed"]
    assert [one.host_path for one in node.nodes()] == ["/dev/1-1", "/dev/video0"]
    assert node.stage.told[-1][2] == "grouped"


def test_a_part_that_leaves_changes_the_whole() -> None:
    node = Node()
    node.add("/devices/usb1/1-1", "usb")
    node.add("/devices/usb1/1-1/video0")
    assert node.remove("/devices/usb1/1-1/video0") == ["changed"]
    assert [one.host_path for one in node.nodes()] == ["/dev/1-1"]


def test_parts_that_came_first_become_one_with_the_whole() -> None:
    node = Node()
    assert node.add("/devices/usb1/1-1/video0") == ["appeared"]
    assert sorted(node.add("/devices/usb1/1-1", "usb")) == ["appeared", "disappeared"]


def test_when_the_whole_leaves_its_parts_stand_alone() -> None:
    node = Node()
    node.add("/devices/usb1/1-1", "usb")
    node.add("/devices/usb1/1-1/video0")
    assert sorted(node.remove("/devices/usb1/1-1")) == ["appeared", "disappeared"]


def test_what_no_rule_holds_for_concerns_nobody() -> None:
    node = Node()
    node.add("/devices/usb1/1-1", "usb")
    assert node.add("/devices/usb1/1-1/input0", "input") == []

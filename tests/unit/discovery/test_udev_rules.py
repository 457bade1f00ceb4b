"""Akri's `udevRules`, the whole grammar, and the devices that a group makes one of."""

from collections.abc import Sequence

import pytest

from ashore.events import DeviceNode
from ashore_discovery.handlers.udev.details import UdevDetails
from ashore_discovery.handlers.udev.handler import Udev
from ashore_discovery.handlers.udev.record import Level, Record, Wanted, sighting
from ashore_discovery.handlers.udev.rules import RuleError, parse
from ashore_discovery.model import Facet, Offer, Refusal
from ashore_discovery.tracking.identity import names

USB = "/devices/pci0000:00/0000:00:14.0/usb1/1-1"
CAMERA = Record(
    devpath=f"{USB}/1-1:1.0/video4linux/video0",
    properties={
        "ID_VENDOR": "Logitech",
        "ID_SERIAL_SHORT": "A1B2C3D4",
        "ID_V4L_CAPABILITIES": ":capture:",
        "DEVLINKS": "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0 "
        "/dev/v4l/by-id/usb-046d_C920_A1B2C3D4-video-index0",
    },
    chain=[
        Level(
            kernel="video0",
            subsystem="video4linux",
            devnode="/dev/video0",
            tags=["seat", "uaccess"],
            attributes={"name": "HD Pro Webcam C920", "index": "0"},
        ),
        Level(kernel="1-1:1.0", subsystem="usb", driver="uvcvideo", attributes={"bInterfaceNumber": "00"}),
        Level(
            kernel="1-1",
            subsystem="usb",
            driver="usb",
            devnode="/dev/bus/usb/001/002",
            tags=["systemd"],
            attributes={"idVendor": "046d", "idProduct": "082d", "serial": "A1B2C3D4"},
        ),
    ],
)
INTERFACE = Record(devpath=f"{USB}/1-1:1.0", properties={}, chain=CAMERA.chain[1:])
DEVICE = Record(devpath=USB, properties={}, chain=CAMERA.chain[2:])


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("", True),
        ('KERNEL=="video[0-9]*"', True),
        ('KERNEL=="video"', False),
        ('KERNEL!="video0"', False),
        ('KERNEL!="video1[0-9]"', True),
        ('KERNELS=="1-1"', True),
        ('KERNELS=="1-.*"', True),
        ('KERNELS=="9-9"', False),
        ('SUBSYSTEM=="video4linux"', True),
        ('SUBSYSTEM=="usb"', False),
        ('SUBSYSTEMS=="usb"', True),
        ('SUBSYSTEM!="video.*"', False),
        ('DRIVER=="uvcvideo"', False),
        ('DRIVERS=="uvc.*"', True),
        ('DRIVERS!="uvcvideo"', False),
        ('ATTR{name}=="HD Pro*"', True),
        ('ATTR{name}=="HD"', False),
        ('ATTR{missing}=="x"', False),
        ('ATTR{missing}!="x"', True),
        ('ATTRS{idVendor}=="046d"', True),
        ('ATTRS{idVendor}=="046d", ATTRS{idProduct}=="9999"', False),
        ('ENV{ID_V4L_CAPABILITIES}=="*:capture:*"', True),
        ('ENV{MISSING}!="x"', True),
        ('TAG=="uaccess"', True),
        ('TAG=="systemd"', False),
        ('TAGS=="systemd"', True),
        ('DEVPATH=="*/video4linux/*"', True),
        ('DEVPATH=="/sys/devices/pci*"', True),
        ('KERNEL=="video0", SUBSYSTEM=="video4linux" , ENV{ID_VENDOR}=="Logi*"', True),
        ('KERNEL=="tty*|video*"', True),
    ],
)
def test_a_rule_holds_or_not(rule: str, holds: bool) -> None:
    assert parse(rule).holds(CAMERA) is holds


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (' KERNEL=="a"', "at character 1"),
        ('KERNEL="a"', "only == and !="),
        ('KERNEL+="a"', "only == and !="),
        ('KERNEL-="a"', "only == and !="),
        ('KERNEL:="a"', "only == and !="),
        ('RUN=="/bin/sh"', "RUN does something"),
        ('MODE=="0600"', "MODE does something"),
        ('COLOUR=="red"', "there is no COLOUR"),
        ('ATTR=="x"', "needs a name"),
        ('KERNEL{x}=="x"', "no name in braces"),
        ('KERNEL=="a" SUBSYSTEM=="b"', "separated by commas"),
        ("KERNEL==video", "at character 1"),
        ('KERNEL=="a",', "expected something like"),
    ],
)
def test_a_rule_that_cannot_be_used_says_where_and_why(rule: str, problem: str) -> None:
    with pytest.raises(RuleError, match=problem.replace("+", r"\+")):
        parse(rule)
    assert list(Udev.problems(UdevDetails(udev_rules=[rule])))


def test_an_expression_that_is_none_matches_nothing_and_harms_nothing() -> None:
    assert not parse('DRIVERS=="("').holds(CAMERA)


def offered(details: UdevDetails, own: Record, *others: Record) -> Offer | Refusal:
    def facet(record: Record) -> Facet:
        return Facet(source="udev", handler="udev", id=record.devpath, record=record)

    return Udev.offer(details, facet(own), lambda: [facet(one) for one in (own, *others)])


def rules(*texts: str, **fields: object) -> UdevDetails:
    return UdevDetails(udev_rules=list(texts), **fields)  # type: ignore[arg-type]


def test_of_several_rules_one_must_hold() -> None:
    assert isinstance(offered(rules('KERNEL=="tty*"', 'KERNEL=="video*"'), CAMERA), Offer)
    assert offered(rules('KERNEL=="tty*"'), CAMERA) == Refusal("no udev rule holds for it")


def test_a_broker_gets_what_akri_gives_it() -> None:
    assert offered(rules('KERNEL=="video0"', permissions="rw"), CAMERA) == Offer(
        properties={"UDEV_DEVPATH": CAMERA.devpath, "UDEV_DEVNODE": "/dev/video0"},
        device_nodes=[DeviceNode(host_path="/dev/video0", container_path="/dev/video0", permissions="rw")],
    )


def test_a_device_without_a_node_has_that_of_its_nearest_ancestor() -> None:
    found = offered(rules('DRIVER=="uvcvideo"'), INTERFACE)
    assert isinstance(found, Offer)
    assert found.properties["UDEV_DEVNODE"] == "/dev/bus/usb/001/002"


def test_a_group_is_one_device_with_all_of_its_nodes() -> None:
    details = rules('SUBSYSTEM=="usb"', 'SUBSYSTEM=="video4linux"', group_recursive=True)
    head = offered(details, DEVICE, INTERFACE, CAMERA)
    assert isinstance(head, Offer)
    assert head.properties["UDEV_DEVPATH_0"] == USB
    assert head.properties["UDEV_DEVNODE_2"] == "/dev/video0"
    assert [node.host_path for node in head.device_nodes] == ["/dev/bus/usb/001/002", "/dev/video0"]
    assert offered(details, CAMERA, DEVICE, INTERFACE) == Refusal(f"it is a part of {USB}")


def test_video10_is_no_part_of_video1() -> None:
    def video(number: int) -> Record:
        return Record(devpath=f"/devices/v/video{number}", properties={}, chain=[Level(kernel=f"video{number}")])

    details = UdevDetails(udev_rules=['KERNEL=="video*"'], group_recursive=True)
    assert isinstance(offered(details, video(10), video(1)), Offer)


def test_only_what_rules_look_at_is_read() -> None:
    plan = Udev.plan([rules('ATTR{size}=="0"'), rules('ATTRS{idVendor}=="046d", ENV{X}=="1"')])
    assert plan == Wanted(own=frozenset({"size"}), inherited=frozenset({"idVendor"}))


def test_a_camera_has_an_identity_by_id_and_by_path() -> None:
    found = sighting(CAMERA, "add", 0).identity
    assert found["path"] == "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"
    assert found["serial"] == "046d:082d/usb-046d_C920_A1B2C3D4-video-index0/A1B2C3D4"


def test_without_udevd_a_usb_device_is_known_by_its_serial_number_and_part() -> None:
    plain = Record(devpath=CAMERA.devpath, properties={}, chain=CAMERA.chain)
    found = sighting(plain, "add", 0)
    assert found.identity["serial"] == "046d:082d/video4linux-00-0/A1B2C3D4"
    assert found.facts["vendor_id"] == "046d"


def test_a_serial_number_that_is_none_leaves_the_path() -> None:
    properties = {**CAMERA.properties, "ID_SERIAL_SHORT": "00000000"}
    found = sighting(Record(devpath=CAMERA.devpath, properties=properties, chain=CAMERA.chain), "add", 0)
    ranked: Sequence[str] = names(found.identity, "udev", found.id)
    assert ranked[0].startswith("path:")

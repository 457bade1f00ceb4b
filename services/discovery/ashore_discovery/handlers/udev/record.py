"""What is kept of a kernel device: the record that rules look at, its facts, and what it is recognised by.

libudev's objects read sysfs whenever they are asked; here everything is read once, when the event comes, so that rules
are a pure function and a device that is gone a moment later was still seen as it was.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import pyudev

from ashore_discovery.model import Facts, Identity, Sighting

LONGEST: Final = 1024
MOST_PROPERTIES: Final = 128
MOST_ANCESTORS: Final = 16
_ALWAYS: Final = {
    "usb": ("serial", "idVendor", "idProduct", "manufacturer", "product", "bInterfaceNumber"),
    "video4linux": ("index",),
}
"""By subsystem: attributes that say who made it and which part it is, where no udevd says so."""
_FACTS: Final = {
    "vendor": ("ID_VENDOR_FROM_DATABASE", "ID_VENDOR"),
    "model": ("ID_MODEL_FROM_DATABASE", "ID_MODEL"),
    "serial": ("ID_SERIAL_SHORT",),
    "vendor_id": ("ID_VENDOR_ID", "ID_USB_VENDOR_ID"),
    "product_id": ("ID_MODEL_ID", "ID_USB_MODEL_ID"),
    "bus": ("ID_BUS",),
    "capabilities": ("ID_V4L_CAPABILITIES",),
    "usb_interface": ("ID_USB_INTERFACE_NUM",),
    "filesystem": ("ID_FS_TYPE",),
    "label": ("ID_FS_LABEL",),
}
_FROM_USB: Final = {
    "vendor": "manufacturer",
    "model": "product",
    "serial": "serial",
    "vendor_id": "idVendor",
    "product_id": "idProduct",
}


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """The device or one of its ancestors."""

    kernel: str
    subsystem: str | None = None
    driver: str | None = None
    devnode: str | None = None
    tags: list[str] = []
    attributes: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel device, as it was when its event came."""

    devpath: str
    properties: dict[str, str]
    chain: list[Level]
    """The device itself, then its ancestors from near to far."""

    @property
    def node(self) -> str | None:
        """Its device node, or that of the nearest ancestor that has one."""
        return next((level.devnode for level in self.chain if level.devnode), None)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which attributes the rules of all configurations look at: `ATTR` of the device, `ATTRS` of ancestors, too."""

    own: frozenset[str] = frozenset()
    inherited: frozenset[str] = frozenset()


def read(device: pyudev.Device, wanted: Wanted, known: dict[str, Level] | None = None) -> Record:
    """Everything that rules may look at. `known` are ancestors that were read a moment ago, of other devices."""
    inherited = wanted.inherited
    known = {} if known is None else known
    chain = [_level(device, wanted.own | inherited)]
    for ancestor in device.ancestors:
        if len(chain) > MOST_ANCESTORS:
            break
        path = ancestor.sys_path
        if path not in known:
            known[path] = _level(ancestor, inherited)
        chain.append(known[path])
    properties: dict[str, str] = {}
    for name in list(device.properties)[:MOST_PROPERTIES]:
        properties[name] = str(device.properties.get(name, ""))[:LONGEST]
    return Record(devpath=device.device_path, properties=properties, chain=chain)


def sighting(record: Record, cause: str, wire_at: float) -> Sighting:
    """The device as the layers above see it."""
    facts = _facts(record)
    return Sighting(
        id=record.devpath,
        cause=cause,
        facts=facts,
        identity=_identity(record, facts),
        endpoints=[record.node] if record.node else [],
        wire_at=wire_at,
        record=record,
    )


def _level(device: pyudev.Device, attributes: Iterable[str]) -> Level:
    found: dict[str, str] = {}
    for name in (*attributes, *_ALWAYS.get(device.subsystem or "", ())):
        # A file that cannot be read at this moment, or never, is not there; neither is one outside the device.
        if ".." in name:
            continue
        try:
            value = device.attributes.get(name)
        except (OSError, ValueError):
            continue
        if value is not None:
            found[name] = bytes(value).decode("utf-8", "replace")[:LONGEST]
    return Level(
        kernel=device.sys_name,
        subsystem=device.subsystem,
        driver=device.driver,
        devnode=device.device_node,
        tags=list(device.tags),
        attributes=found,
    )


def _facts(record: Record) -> Facts:
    own = record.chain[0]
    found: Facts = {"kernel": own.kernel, "devpath": record.devpath}
    for name, value in (("subsystem", own.subsystem), ("driver", own.driver), ("devnode", record.node)):
        if value:
            found[name] = value
    usb = _usb(record)
    attributes = usb.attributes if usb else {}
    for name, properties in _FACTS.items():
        told = [record.properties.get(one) for one in properties]
        value = next(filter(None, [*told, attributes.get(_FROM_USB.get(name, ""))]), None)
        if value:
            found[name] = value
    links = record.properties.get("DEVLINKS", "").split()
    if links:
        found["links"] = sorted(links)[:32]
    return found


def _identity(record: Record, facts: Facts) -> Identity:
    """By path: where it is plugged in. By serial: which one it is, and which of its parts."""
    links = record.properties.get("DEVLINKS", "").split()
    by_path = sorted(link for link in links if "/by-path/" in link)
    found: Identity = {"path": by_path[0] if by_path else record.devpath}
    serial = facts.get("serial")
    if not isinstance(serial, str):
        return found
    by_id = sorted(link for link in links if "/by-id/" in link)
    usb = _usb(record)
    if by_id:
        part = by_id[0].rpartition("/")[2]
    elif usb is not None:
        part = _part(record)
    else:
        return found
    found["serial"] = f"{facts.get('vendor_id', '')}:{facts.get('product_id', '')}/{part}/{serial}"
    return found


def _usb(record: Record) -> Level | None:
    return next((one for one in record.chain if one.subsystem == "usb" and "idVendor" in one.attributes), None)


def _part(record: Record) -> str:
    """Which part of a USB device it is, without numbers that the kernel gives anew each time."""
    own = record.chain[0]
    interface = next(
        (one.attributes["bInterfaceNumber"] for one in record.chain if "bInterfaceNumber" in one.attributes), ""
    )
    return f"{own.subsystem}-{interface}-{own.attributes.get('index', '')}"

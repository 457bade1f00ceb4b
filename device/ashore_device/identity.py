"""Who this machine is: serial number and model from the firmware, with fallbacks for machines that do not know.

Firmware tells it in DMI (PCs and servers) or in the device tree (boards). Containers and cheap boards have neither, or
leave in what the factory's template said; then the machine id stands in, hashed, because it is meant to be kept secret.
"""

import hashlib
import platform
import re
import secrets
from pathlib import Path
from typing import Final

import msgspec

_SERIALS: Final = (
    "sys/class/dmi/id/product_serial",
    "sys/class/dmi/id/board_serial",
    "sys/class/dmi/id/chassis_serial",
    "proc/device-tree/serial-number",
)
_UUID: Final = "sys/class/dmi/id/product_uuid"
_VENDOR: Final = "sys/class/dmi/id/sys_vendor"
_MODELS: Final = ("sys/class/dmi/id/product_name", "sys/class/dmi/id/board_name", "proc/device-tree/model")
_MACHINE_IDS: Final = ("etc/machine-id", "var/lib/dbus/machine-id")
_PLACEHOLDER: Final = re.compile(
    r"|to be filled.*|default( string)?|none|null|not (specified|applicable|available|settable)|n/?a|unknown|undefined"
    r"|(system|product|chassis|board|base board)( product)? (serial( number)?|name|manufacturer|version)|oem|o\.e\.m\."
    r"|[0.x\- ]+|[f\-]+|0?123456789.*|invalid|empty",
    re.IGNORECASE,
)
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST: Final = 64
_LONGEST_FILE: Final = 4096
_HASH_LENGTH: Final = 24


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """How a device names itself at its manufacturer's."""

    serial: str
    device_info: str


def identify(root: Path = Path("/")) -> Identity:
    """What the machine below `root` calls itself; letters, digits, `_` and `-`, which every manufacturer takes."""
    return Identity(serial=_serial(root), device_info=_model(root))


def _serial(root: Path) -> str:
    for name in (*_SERIALS, _UUID):
        if found := _fact(root / name):
            return found
    for name in _MACHINE_IDS:
        if machine_id := _read(root / name):
            # systemd asks that this id be hashed with something of one's own before it leaves the machine.
            digest = hashlib.sha256(b"ashore device serial\0" + machine_id.encode()).hexdigest()
            return f"m-{digest[:_HASH_LENGTH]}"
    return f"r-{secrets.token_hex(_HASH_LENGTH // 2)}"


def _model(root: Path) -> str:
    model = next(filter(None, (_fact(root / name) for name in _MODELS)), "")
    if not model:
        return f"linux-{_plain(platform.machine()) or 'device'}"
    vendor = _fact(root / _VENDOR)
    return (f"{vendor}-{model}" if vendor and not model.startswith(vendor) else model)[:_LONGEST].strip("-")


def _fact(path: Path) -> str:
    text = _read(path)
    return "" if _PLACEHOLDER.fullmatch(text) else _plain(text)


def _plain(text: str) -> str:
    return _UNUSUAL.sub("-", text).strip("-")[:_LONGEST].strip("-")


def _read(path: Path) -> str:
    """The file's text; empty where it is missing, or where only root may read it."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_FILE).decode(errors="replace").strip(" \0\r\n\t")
    except OSError:
        return ""

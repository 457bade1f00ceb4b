"""What a new discovery agent looks for: a file that shows something on any machine, without privileges and plugs.

It is made once and then belongs to whoever runs the machine.
"""

import socket
from pathlib import Path
from typing import Final

from ashore import files

_WORDS: Final = """\
# What the discovery agent of this machine looks for. It is read again whenever it changes. What it finds is shown by
# `ashore discovery list` and `watch`; docs/how-to/discover-devices.md says what else can stand here.

configurations:
  # Devices that are only words, for trials: they are there for as long as they stand here.
  - name: words
    handler: debug-echo
    details: {descriptions: [lighthouse, buoy]}
"""
_KERNEL: Final = """
  # What is plugged into this machine, or made by it.
  - name: disks
    handler: udev
    details: {udevRules: ['SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", KERNEL!="loop*|ram*|zram*"']}
  - name: serial-ports
    handler: udev
    details: {udevRules: ['SUBSYSTEM=="tty", ENV{ID_BUS}=="usb"']}
  - name: cameras
    handler: udev
    details: {udevRules: ['SUBSYSTEM=="video4linux"']}
  - name: network
    handler: udev
    details: {udevRules: ['SUBSYSTEM=="net", KERNEL!="lo"']}
"""
_KOBJECT_UEVENT: Final = 15


def look_for(path: Path) -> None:
    """Make the file, unless there is one."""
    if not path.exists():
        files.create_private(path, (_WORDS + (_KERNEL if _hears_the_kernel() else "")).encode())


def _hears_the_kernel() -> bool:
    """Whether this process may listen to the kernel's events of devices."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _KOBJECT_UEVENT).close()
    except (AttributeError, OSError):
        # There is none but on Linux, and some sandboxes forbid it.
        return False
    return True

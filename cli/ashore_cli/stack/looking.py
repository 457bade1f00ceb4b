"""What a new discovery agent looks for, and what a new launcher starts for it.

Files that show something on any machine, without privileges, plugs and clusters. They are made once and then belong to
whoever runs the machine.
"""

import socket
from pathlib import Path
from typing import Final

from ashore import files

SAMPLE: Final = "lights.yaml"
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
_START_FOR: Final = """\
# What the broker launcher starts for devices. Without a cluster it only shows what it would apply; every .yaml file of
# this folder is read again when it changes. `ashore instance list` and `ashore workload list` show what came of it;
# docs/how-to/start-brokers-for-devices.md says what else can stand here, and how a cluster takes part.

apiVersion: akri.sh/v0
kind: Configuration
metadata:
  name: lights
  namespace: default
spec:
  # A pod on every node that sees one of these devices.
  discoveryHandler:
    name: debugEcho
    discoveryDetails: |
      descriptions: [lighthouse]
  brokerSpec:
    brokerPodSpec:
      containers:
        - name: broker
          image: busybox:1.37
          # What is known of the device stands in its environment.
          command: [sh, -c, 'echo "I watch the $DEBUG_ECHO_DESCRIPTION"; sleep infinity']
          resources:
            limits: {"{{PLACEHOLDER}}": "1"}
"""
_KOBJECT_UEVENT: Final = 15


def look_for(path: Path) -> None:
    """Make the file, unless there is one."""
    if not path.exists():
        files.create_private(path, (_WORDS + (_KERNEL if _hears_the_kernel() else "")).encode())


def start_for(folder: Path) -> None:
    """Make the folder with one Configuration, unless there is a folder."""
    if not folder.exists():
        files.private_directory(folder)
        files.create_private(folder / SAMPLE, _START_FOR.encode())


def _hears_the_kernel() -> bool:
    """Whether this process may listen to the kernel's events of devices."""
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _KOBJECT_UEVENT).close()
    except (AttributeError, OSError):
        # There is none but on Linux, and some sandboxes forbid it.
        return False
    return True

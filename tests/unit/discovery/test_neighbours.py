"""The kernel's table of neighbours, as it comes over netlink."""

import socket
import struct

from ashore_discovery.handlers.neighbours import NEW, Neighbour, read

REACHABLE, INCOMPLETE = 0x02, 0x01


def message(address: str, mac: bytes | None, state: int) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    said = {1: socket.inet_pton(family, address)} | ({2: mac} if mac is not None else {})
    body = struct.pack("=BxxxiHBB", family, 2, state, 0, 0)
    for kind, value in said.items():
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), NEW, 0, 1, 0) + body


def test_the_kernel_knows_hardware_addresses_of_neighbours() -> None:
    mac = bytes.fromhex("ACCC8E010203")
    table = message("10.1.2.9", mac, REACHABLE) + message("fe80::9", mac, REACHABLE)
    assert list(read(table)) == [Neighbour("10.1.2.9", "ac:cc:8e:01:02:03"), Neighbour("fe80::9", "ac:cc:8e:01:02:03")]


def test_who_is_still_asked_for_is_no_neighbour() -> None:
    assert list(read(message("10.1.2.7", None, INCOMPLETE))) == []


def test_whoever_has_no_hardware_address_has_an_empty_one() -> None:
    assert list(read(message("10.1.2.8", None, REACHABLE))) == [Neighbour("10.1.2.8", "")]

"""Packets of devices: `python -m benchmarks.packets HANDLER PEER COUNT ROUNDS` within a network namespace.

An agent and its bus run here, and PEER, another namespace of the same network, announces one device after the other.
Each round is printed as a line of JSON: milliseconds from the packet to the subscriber. `... send HANDLER` is the peer.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from benchmarks.agent_target import Configuration, end_in_order, running, token

PAUSE_SECONDS: Final = 0.05
"""The kernel wakes an agent that sleeps, as it mostly does."""
_ANSWER_SECONDS: Final = 10.0


class Wire(NamedTuple):
    """How devices of a protocol announce themselves."""

    configuration: Configuration
    group: tuple[str, int]
    source_port: int
    packet: Callable[[int, str], bytes]
    """From the number of a device and the address that it has."""


def _mdns(number: int, address: str) -> bytes:
    """An announcement (RFC 6762, 8.3): PTR, SRV, TXT and A."""
    kind, host = _name("_http", "_tcp", "local"), _name(token(number), "local")
    name = _name(token(number), "_http", "_tcp", "local")
    records = (
        (kind, 12, 1, 4500, name),
        (name, 33, 0x8001, 120, struct.pack("!HHH", 0, 0, 80) + host),
        (name, 16, 0x8001, 4500, b"\0"),
        (host, 1, 0x8001, 120, socket.inet_aton(address)),
    )
    body = b"".join(
        owner + struct.pack("!HHIH", kind, family, ttl, len(data)) + data for owner, kind, family, ttl, data in records
    )
    return struct.pack("!6H", 0, 0x8400, 0, len(records), 0, 0) + body


def _ssdp(number: int, address: str) -> bytes:
    head = ("HOST: 239.255.255.250:1900", "CACHE-CONTROL: max-age=1800", f"LOCATION: http://{address}:9/d.xml")
    what = ("NT: upnp:rootdevice", "NTS: ssdp:alive", "SERVER: x/1 UPnP/1.1 y/1")
    name = f"USN: uuid:{_uuid(number)}::upnp:rootdevice"
    return "\r\n".join(("NOTIFY * HTTP/1.1", *head, *what, name, "", "")).encode()


def _onvif(number: int, address: str) -> bytes:
    """WS-Discovery's Hello, as cameras say it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Header>
<a:MessageID>urn:uuid:{_uuid(number + 50_000_000)}</a:MessageID>
<a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Hello
</a:Action></s:Header><s:Body><d:Hello><a:EndpointReference><a:Address>urn:uuid:{_uuid(number)}</a:Address>
</a:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:XAddrs>http://{address}:9/onvif/device_service
</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:Hello></s:Body></s:Envelope>""".encode()


def _uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{token(number)}"


def _name(*labels: str) -> bytes:
    return b"".join(bytes([len(one)]) + one.encode() for one in labels) + b"\0"


WIRES: Final = {
    "mdns": Wire(
        {"name": "m", "handler": "mdns", "details": {"services": ["_http._tcp"]}}, ("224.0.0.251", 5353), 5353, _mdns
    ),
    "onvif": Wire({"name": "o", "handler": "onvif", "details": {}}, ("239.255.255.250", 3702), 0, _onvif),
    "ssdp": Wire({"name": "s", "handler": "ssdp", "details": {}}, ("239.255.255.250", 1900), 0, _ssdp),
}


def send(handler: str) -> None:
    """Announce the device whose number comes on standard input, and say when."""
    wire = WIRES[handler]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("10.77.0.1", 9))
        address = sender.getsockname()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
        sender.bind((address, wire.source_port))
        for line in sys.stdin:
            packet = wire.packet(int(line), address)
            at = time.time()
            sender.sendto(packet, wire.group)
            print(at, flush=True)


async def measure(handler: str, peer: str, count: int, rounds: int) -> None:
    """Print the milliseconds of each round."""
    end_in_order()
    command = ("ip", "netns", "exec", peer, sys.executable, "-m", "benchmarks.packets", "send", handler)
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    async with running([WIRES[handler].configuration]) as target:
        sender = await asyncio.create_subprocess_exec(*command, **pipes)  # type: ignore[arg-type]
        assert sender.stdin is not None
        assert sender.stdout is not None
        try:
            for first in range(0, count * rounds, count):
                times = []
                for number in range(first, first + count):
                    heard = target.expect("appeared", number)
                    sender.stdin.write(f"{number}\n".encode())
                    at = float(await sender.stdout.readline())
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        times.append((await heard - at) * 1000)
                    await asyncio.sleep(PAUSE_SECONDS)
                print(json.dumps(times), flush=True)
        finally:
            sender.terminate()
            await sender.wait()


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2])
    else:
        asyncio.run(measure(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5])))

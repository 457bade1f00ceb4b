"""`python shouting.py Hello COUNT [FIELD=VALUE...]`: whoever forges messages of WS-Discovery; nothing but Python.

Fields: `epr` of the first, `xaddr`, `source` (a network such as 10.77.0.0/24 to invent senders in, or one address as
the only sender; needs root), `ipv6=eth0` to say it there over IPv6.
"""

import ipaddress
import itertools
import socket
import struct
import sys
import time
import uuid

GROUP, PORT = "239.255.255.250", 3702


def message(kind: str, epr: str, xaddr: str) -> bytes:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery">'
        f"<s:Header><a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID></s:Header><s:Body><d:{kind}>"
        f"<a:EndpointReference><a:Address>{epr}</a:Address></a:EndpointReference>"
        f"<d:Types>dn:NetworkVideoTransmitter</d:Types><d:XAddrs>{xaddr}</d:XAddrs></d:{kind}></s:Body></s:Envelope>"
    ).encode()


def forged(source: str, data: bytes) -> bytes:
    """An IPv4 packet; the kernel fills in its checksum."""
    udp = struct.pack("!HHHH", PORT, PORT, 8 + len(data), 0) + data
    ends = socket.inet_aton(source) + socket.inet_aton(GROUP)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 1, socket.IPPROTO_UDP, 0) + ends + udp


def main(kind: str, count: int, fields: dict[str, str]) -> None:
    sources = itertools.cycle(map(str, ipaddress.ip_network(fields["source"]).hosts())) if "source" in fields else None
    if "ipv6" in fields:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        where: tuple = ("ff02::c", PORT, 0, socket.if_nametoindex(fields["ipv6"]))
    elif sources:
        sock, where = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW), (GROUP, PORT)
    else:
        sock, where = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), (GROUP, PORT)
    for number in range(count):
        epr = fields["epr"] if "epr" in fields and number == 0 else f"urn:uuid:{uuid.uuid4()}"
        data = message(kind, epr, fields.get("xaddr", "http://10.77.0.200/onvif/device_service"))
        sock.sendto(forged(next(sources), data) if sources else data, where)
        if number % 100 == 99:
            # A flood that the receiver's buffer cannot hold would prove nothing about the receiver.
            time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), dict(one.split("=", 1) for one in sys.argv[3:]))

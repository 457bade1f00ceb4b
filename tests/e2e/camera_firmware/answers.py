"""What the simulated camera answers, and tricks of hostile ones."""

import email.parser
import email.policy
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, fromstring

if TYPE_CHECKING:
    from tests.e2e.camera_firmware.simulated import Camera

_NAMES = (
    'xmlns:env="http://www.w3.org/2003/05/soap-envelope" xmlns:ter="http://www.onvif.org/ver10/error" '
    'xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"'
)
_XOP = "{http://www.w3.org/2004/08/xop/include}Include"


def envelope(body: str) -> bytes:
    return f'<?xml version="1.0"?><env:Envelope {_NAMES}><env:Body>{body}</env:Body></env:Envelope>'.encode()


def fault(code: str, subcode: str, text: str = "no") -> bytes:
    return envelope(
        f"<env:Fault><env:Code><env:Value>{code}</env:Value><env:Subcode><env:Value>{subcode}</env:Value>"
        f'</env:Subcode></env:Code><env:Reason><env:Text xml:lang="en">{text}</env:Text></env:Reason></env:Fault>'
    )


def upgraded() -> bytes:
    return envelope(
        "<tds:UpgradeSystemFirmwareResponse><tds:Message>ok</tds:Message></tds:UpgradeSystemFirmwareResponse>"
    )


def answer(camera: "Camera", operation: str) -> tuple[int, bytes]:
    """The status and the body."""
    known: dict[str, Callable[[Camera], str | None]] = {
        "GetSystemDateAndTime": _time,
        "GetDeviceInformation": _information,
        "GetServiceCapabilities": _service_capabilities,
        "GetCapabilities": _capabilities,
        "StartFirmwareUpgrade": _start,
    }
    body = known[operation](camera) if operation in known else None
    if body is None:
        return 400, fault("env:Receiver", "ter:ActionNotSupported", f"{operation} is not possible now")
    return 200, envelope(f"<tds:{operation}Response>{body}</tds:{operation}Response>")


def found(root: Element, name: str) -> Element:
    """The first element with that local name."""
    return next(one for one in root.iter() if one.tag.rpartition("}")[2] == name)


def unpacked(content_type: str, body: bytes) -> tuple[bytes, bytes]:
    """Envelope and image of a message in MTOM; raise what assertions raise where it is none."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert message.get_param("type") == "application/xop+xml"
    assert message.get_param("start-info") == "application/soap+xml"
    parts = {part["Content-ID"]: part for part in message.iter_parts()}
    root = parts[message.get_param("start")]
    assert root.get_content_type() == "application/xop+xml"
    assert root.get_param("type") == "application/soap+xml"
    text: bytes = root.get_payload(decode=True)
    included = found(fromstring(text), "Firmware").find(_XOP)
    assert included is not None
    image = parts[f"<{(included.get('href') or '').removeprefix('cid:')}>"]
    # The parser of the standard library is for mail, and takes line breaks of binary parts for those of text.
    start = body.index(b"\r\n\r\n", body.index(image["Content-ID"].encode())) + 4
    return text, body[start : body.rindex(b"\r\n--" + message.get_boundary().encode() + b"--")]


def _time(camera: "Camera") -> str:
    now = datetime.fromtimestamp(camera.now(), UTC)
    return (
        "<tds:SystemDateAndTime><tt:UTCDateTime>"
        f"<tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
        f"</tt:Time><tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day>"
        "</tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>"
    )


def _information(camera: "Camera") -> str:
    return (
        f"<tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>{camera.model}</tds:Model>"
        f"<tds:FirmwareVersion>{camera.version}</tds:FirmwareVersion><tds:SerialNumber>1</tds:SerialNumber>"
        "<tds:HardwareId>h</tds:HardwareId>"
    )


def _service_capabilities(camera: "Camera") -> str | None:
    way = camera.switches.way
    if way == "old":
        return None
    http, mtom = ("true" if way == one else "false" for one in ("http", "mtom"))
    return f'<tds:Capabilities><tds:System HttpFirmwareUpgrade="{http}" FirmwareUpgrade="{mtom}"/></tds:Capabilities>'


def _capabilities(camera: "Camera") -> str:
    return (
        "<tds:Capabilities><tt:Device><tt:System><tt:FirmwareUpgrade>true</tt:FirmwareUpgrade>"
        "<tt:Extension><tt:HttpFirmwareUpgrade>false</tt:HttpFirmwareUpgrade></tt:Extension></tt:System></tt:Device>"
        "</tds:Capabilities>"
    )


def _start(camera: "Camera") -> str | None:
    if camera.switches.busy or not camera.settled.is_set():
        return None
    uri = camera.switches.upload_uri
    server = camera.url.removesuffix("/onvif/device_service")
    whole = {"path only": "/upload", "/upload": f"{server}/upload"}.get(uri, uri)
    return (
        f"<tds:UploadUri>{whole}</tds:UploadUri><tds:UploadDelay>{camera.switches.upload_delay}</tds:UploadDelay>"
        f"<tds:ExpectedDownTime>{camera.switches.down_time}</tds:ExpectedDownTime>"
    )


def _bomb(handler: Any) -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    handler.reply(200, f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><x>&a9;</x>'.encode())


def _stranger(handler: Any) -> None:
    handler.reply(200, b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>')


def _deep(handler: Any) -> None:
    handler.reply(200, b"<x>" * 5000 + b"</x>" * 5000)


def _huge(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**12))
    handler.end_headers()
    _for_ever(handler, b" " * 100_000, 0)


def _chunk(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"-1\r\n")
    _for_ever(handler, b" " * 100_000, 0)


def _headers(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _for_ever(handler, b"X-A: " + b"a" * 100 + b"\r\n", 0)


def _slow(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    _for_ever(handler, b" ", 0.05)


def _redirect(handler: Any) -> None:
    handler.reply(302, b"", {"Location": handler.server.camera.url})


def _coloured(handler: Any) -> None:
    handler.reply(
        200,
        envelope(
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>A</tds:Manufacturer>"
            '<tds:Model>M1&#10;{"outcome": "upgraded"}&#155;31m</tds:Model>'
            "<tds:FirmwareVersion>1&#10;2</tds:FirmwareVersion></tds:GetDeviceInformationResponse>"
        ),
    )


def _no_http(handler: Any) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    handler.close_connection = True


def _for_ever(handler: Any, data: bytes, seconds: float) -> None:
    handler.close_connection = True
    with suppress(OSError):
        while True:
            handler.wfile.write(data)
            time.sleep(seconds)


TRICKS: dict[str, Callable[[Any], None]] = {
    "a bomb of entities": _bomb,
    "an entity of a file": _stranger,
    "elements without end": _deep,
    "an answer without end": _huge,
    "a chunk of -1 bytes": _chunk,
    "headers without end": _headers,
    "a drop at a time": _slow,
    "a redirect": _redirect,
    "another protocol": _no_http,
    "lines and colours": _coloured,
}

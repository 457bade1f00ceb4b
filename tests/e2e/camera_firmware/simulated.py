"""An ONVIF camera in software: real HTTP on an address of loopback that is its own, SOAP, passwords, flash, reboots.

It checks what a strict camera checks: WS-Security's digest by its own clock, that no nonce comes twice, HTTP's digest
by nonces that it has given, and images. Switches make it one of those that one meets: with a clock of another year, of
the time before HTTP uploads, broken, or hostile. It keeps a journal of everything that was asked.
"""

import http.server
import json
import re
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.e2e.camera_firmware import answers
from tests.e2e.camera_firmware.passwords import Passwords

_NUMBER = count(2)
_MAGIC = b"ACME-FIRMWARE "
_PATIENCE = 20.0


def image_for(model: str, version: str, size: int = 300_000) -> bytes:
    """An image as this maker has them: a line that says for what it is, then the rest."""
    head = _MAGIC + json.dumps({"model": model, "version": version}).encode() + b"\n"
    return head + secrets.token_bytes(size)


@dataclass(kw_only=True)
class Switches:
    """What is special about a camera."""

    accepts: str = "token"
    """`token` for WS-Security, `digest` for HTTP Digest, `nobody`, or `anybody`."""
    clock: float = 0.0
    clock_after: float | None = None
    """By how much its clock is ahead; after a reboot it may be another."""
    way: str = "http"
    """`http`, `mtom`, `none`, or `old` for one that only knows GetCapabilities."""
    upload_wants_digest: bool = False
    upload_knows_nonces: bool = True
    """Whether a nonce that it has given elsewhere is good for an upload."""
    says_continue: bool = False
    upload_status: int = 0
    upload_uri: str = "/upload"
    upload_delay: str = "PT0.1S"
    down_time: str = "PT1S"
    busy: bool = False
    hangs_up: bool = False
    """It takes the image and restarts without an answer."""
    flash_seconds: float = 0.2
    down_seconds: float = 0.4
    returns: bool = True
    returns_with: str | None = None
    forgets_users: bool = False
    certificate: Path | None = None
    """It speaks TLS, with this one."""
    answers_with: str = ""
    """A trick from `answers.py`, instead of what was asked."""


@dataclass
class Camera:
    """One camera; `with running(...)` gives it power."""

    model: str = "M1"
    version: str = "1.0.0"
    switches: Switches = field(default_factory=Switches)
    username: str = "admin"
    password: str = "correct-horse"
    journal: list[str] = field(default_factory=list)
    at: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What to do at an entry of the journal, once, before it is answered."""
    bricked: bool = False

    host: str = ""

    def __post_init__(self) -> None:
        self.host = self.host or f"127.0.77.{next(_NUMBER)}"
        self.clock = self.switches.clock
        self.passwords = Passwords(self)
        self.settled = threading.Event()
        self.settled.set()
        self._server: _Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        scheme = "https" if self.switches.certificate else "http"
        return f"{scheme}://{self.host}:{self._port}/onvif/device_service"

    @property
    def uploads(self) -> int:
        """How many whole images it has taken."""
        return self.journal.count("taken")

    def now(self) -> float:
        """By its own clock."""
        return time.time() + self.clock

    def enter(self, what: str) -> None:
        self.journal.append(what)
        self.at.pop(what, lambda: None)()

    def power_on(self) -> None:
        self._server = _Server((self.host, self._port), _Handler, self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def power_off(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.hang_up()

    def hang_up(self) -> None:
        """Break all connections."""
        if self._server is not None:
            self._server.hang_up()

    def take(self, image: bytes) -> int:
        """Take a whole image; the answer is a status."""
        if not self.settled.is_set():
            # What really happens to some.
            self.bricked = True
            return 500
        if self.switches.upload_status:
            return self.switches.upload_status
        try:
            head = json.loads(image[len(_MAGIC) : image.index(b"\n")]) if image.startswith(_MAGIC) else {}
        except ValueError:
            head = {}
        if head.get("model") != self.model:
            return 415
        self.settled.clear()
        self.enter("taken")
        threading.Thread(target=self._restart, args=[head["version"]], daemon=True).start()
        return 200

    def _restart(self, version: str) -> None:
        time.sleep(self.switches.flash_seconds)
        self.power_off()
        self.enter("gone")
        time.sleep(self.switches.down_seconds)
        if self.switches.returns:
            self.version = self.switches.returns_with or version
            self.clock = self.switches.clock if self.switches.clock_after is None else self.switches.clock_after
            self.password = "reset" if self.switches.forgets_users else self.password
            self.power_on()
            self.enter("back")
        self.settled.set()


@contextmanager
def running(camera: Camera) -> Iterator[Camera]:
    """A camera with power; a reboot that is under way is waited for."""
    camera.power_on()
    try:
        yield camera
    finally:
        assert camera.settled.wait(_PATIENCE)
        camera.power_off()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type["_Handler"], camera: Camera) -> None:
        self.camera = camera
        self.open: set[socket.socket] = set()
        super().__init__(address, handler)
        if camera.switches.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(camera.switches.certificate)
            # The handshake is for the thread of the connection.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""

    def hang_up(self) -> None:
        for one in list(self.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """The journal is kept by the camera."""

    def do_POST(self) -> None:
        camera = self.server.camera
        if self.path == "/upload":
            camera.enter("upload")
            self._upload(camera)
        elif self.headers.get_content_type() == "multipart/related":
            camera.enter("upload")
            body = self._body(camera)
            if body is not None:
                self._mtom(camera, body)
        else:
            body = self._body(camera)
            if body is not None:
                self._ask(camera, body)

    def _ask(self, camera: Camera, body: bytes) -> None:
        root = ET.fromstring(body)
        operation = next(iter(answers.found(root, "Body"))).tag.rpartition("}")[2]
        camera.enter(operation)
        if camera.switches.answers_with and operation == "GetDeviceInformation":
            answers.TRICKS[camera.switches.answers_with](self)
            return
        why = "" if operation == "GetSystemDateAndTime" else camera.passwords.wrong(root, self.headers, self.path)
        if why:
            self._refuse(camera, why)
        else:
            self.reply(*answers.answer(camera, operation))

    def _upload(self, camera: Camera) -> None:
        if camera.switches.says_continue:
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not camera.switches.upload_knows_nonces:
            camera.passwords.forget()
            camera.switches.upload_knows_nonces = True
        if camera.switches.upload_wants_digest and camera.passwords.wrong_digest(self.headers, self.path):
            self.reply(401, b"", {"WWW-Authenticate": camera.passwords.challenge()})
            return
        body = self._body(camera)
        if body is None:
            return
        right = self.headers.get_content_type() == "application/octet-stream"
        self._taken(camera, camera.take(body) if right else 415, b"")

    def _mtom(self, camera: Camera, body: bytes) -> None:
        envelope, image = answers.unpacked(self.headers["Content-Type"], body)
        why = camera.passwords.wrong(ET.fromstring(envelope), self.headers, self.path)
        if why:
            self._refuse(camera, why)
            return
        status = camera.take(image)
        said = answers.upgraded() if status == 200 else answers.fault("ter:InvalidArgs", "ter:InvalidFirmware")
        self._taken(camera, 200 if status == 200 else 400, said)

    def _taken(self, camera: Camera, status: int, said: bytes) -> None:
        if status == 200 and camera.switches.hangs_up:
            self.close_connection = True
            return
        self.reply(status, said)

    def _refuse(self, camera: Camera, why: str) -> None:
        if camera.switches.accepts == "digest":
            self.reply(401, b"", {"WWW-Authenticate": camera.passwords.challenge()})
        else:
            self.reply(400, answers.fault("env:Sender", "ter:NotAuthorized", why))

    def _body(self, camera: Camera) -> bytes | None:
        """The whole body; none where it broke off."""
        left = int(self.headers["Content-Length"])
        whole, body = left, bytearray()
        while left:
            data = self.rfile.read1(min(left, 64 * 1024))
            if not data:
                camera.enter("broken")
                self.close_connection = True
                return None
            body += data
            left -= len(data)
            if whole > 100_000 and left < whole // 2 < left + len(data):
                camera.enter("half")
        return bytes(body)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, re.sub(r"[\r\n]", "", value))
        self.end_headers()
        self.wfile.write(body)

"""The operations that a camera is asked for.

A question is first asked without credentials. Only who refuses it gets a digest of the password: by HTTP Digest where
it has asked for that, otherwise by WS-Security. What has worked once is used from then on.
"""

import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final
from urllib.parse import urljoin
from xml.etree.ElementTree import Element

from camera_firmware import security, soap, web
from camera_firmware.credentials import Credential
from camera_firmware.image import Image
from camera_firmware.outcomes import EndedError, Exit
from camera_firmware.soap import child, descendant, text
from camera_firmware.web import Answer, BadAnswerError, Place, Request

_UNAUTHORISED: Final = 401
_HEAD: Final = (
    '--{boundary}\r\nContent-Type: application/xop+xml; charset=UTF-8; type="application/soap+xml"\r\n'
    "Content-Transfer-Encoding: 8bit\r\nContent-ID: <envelope>\r\n\r\n{envelope}\r\n"
    "--{boundary}\r\nContent-Type: application/octet-stream\r\n"
    "Content-Transfer-Encoding: binary\r\nContent-ID: <image>\r\n\r\n"
)
_INCLUDED: Final = (
    '<tds:Firmware xmlns:xmime="http://www.w3.org/2005/05/xmlmime" xmime:contentType="application/octet-stream">'
    '<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:image"/></tds:Firmware>'
)


class RefusedError(Exception):
    """The camera wants a name and password: there are none, or it does not take them."""


class FaultError(Exception):
    """The camera has answered that it will not, or cannot."""


class Way(Enum):
    """How a camera takes an image."""

    HTTP = auto()
    MTOM = auto()
    NONE = auto()


class _Proof(Enum):
    NONE = auto()
    HTTP = auto()
    TOKEN = auto()


@dataclass(frozen=True, kw_only=True)
class Information:
    """What a camera is."""

    vendor: str
    model: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where an image goes, when, and how long the camera then is away, as it thinks itself."""

    upload: Place
    delay: float
    down: float


class Camera:
    """One camera, while it is asked; raise RefusedError, FaultError, and the errors of `web`."""

    def __init__(
        self, where: Place, credential: Credential | None, seconds: float, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._where = where
        self._credential = credential
        self._seconds = seconds
        self._tls = tls
        self._proof = _Proof.NONE

    def information(self) -> Information:
        """What it is, and which firmware it has."""
        answer = self._ask("GetDeviceInformation")
        found = {name: text(descendant(answer, name)) for name in ("Manufacturer", "Model", "FirmwareVersion")}
        if not found["FirmwareVersion"]:
            raise BadAnswerError("the camera does not say which firmware it has")
        return Information(vendor=found["Manufacturer"], model=found["Model"], version=found["FirmwareVersion"])

    def way(self) -> Way:
        """How it takes an image."""
        system = None
        with suppress(FaultError):
            system = descendant(self._ask("GetServiceCapabilities"), "System")
        if system is None:
            # Before ONVIF 2.1 there was only this one, and small cameras answer the other for another service.
            answer = self._ask("GetCapabilities", "<tds:Category>Device</tds:Category>")
            system = descendant(answer, "System")
        if soap.says_yes(system, "HttpFirmwareUpgrade"):
            return Way.HTTP
        return Way.MTOM if soap.says_yes(system, "FirmwareUpgrade") else Way.NONE

    def start(self) -> Start:
        """Announce the image; raise EndedError where the answer leads elsewhere."""
        answer = self._ask("StartFirmwareUpgrade")
        url = urljoin(self._url(), text(descendant(answer, "UploadUri")))
        place = web.place(url)
        if place is None or not text(descendant(answer, "UploadUri")):
            raise BadAnswerError(f"the camera names no URL for the image, but {url[:200]!r}")
        if place.host != self._where.host or (self._where.tls and not place.tls):
            raise EndedError(Exit.ELSEWHERE, f"the camera at {self._where.authority} wants its image at {url[:200]!r}")
        delay, down = (soap.seconds(text(descendant(answer, name))) for name in ("UploadDelay", "ExpectedDownTime"))
        return Start(upload=place, delay=delay, down=down)

    def upload(self, where: Place, image: Image, seconds: float, between: Callable[[], object]) -> Answer:
        """Send the image. Where only HTTP Digest is missing it is sent again, after `between`."""
        # Who asks for HTTP Digest mostly does so everywhere, and some end the connection instead of hearing us out.
        headers = self._proven(_Proof.HTTP, where)[0] if self._proof is _Proof.HTTP else {}
        headers["Content-Type"] = "application/octet-stream"
        answer = self._send(where, headers, image.blocks(), image.size, seconds)
        asked = security.challenge(answer.challenges)
        if answer.status != _UNAUTHORISED or asked is None or self._credential is None:
            return answer
        between()
        headers["Authorization"] = self._authorization(asked, self._credential, where)
        return self._send(where, headers, image.blocks(), image.size, seconds)

    def upgrade_by_mtom(self, image: Image, seconds: float) -> Answer:
        """Send the image within SOAP, as UpgradeSystemFirmware had it before there was an upload."""
        boundary = secrets.token_hex(16)
        proof = _Proof.TOKEN if self._proof is _Proof.NONE and self._credential else self._proof
        headers, security_header = self._proven(proof)
        envelope = soap.envelope("UpgradeSystemFirmware", _INCLUDED, security_header).decode()
        head = _HEAD.format(boundary=boundary, envelope=envelope).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers["Content-Type"] = (
            f'multipart/related; type="application/xop+xml"; boundary="{boundary}"; start="<envelope>"; '
            f'start-info="application/soap+xml"; action="{soap.DEVICE}/UpgradeSystemFirmware"'
        )
        length = len(head) + image.size + len(tail)
        return self._send(self._where, headers, _joined(head, image.blocks(), tail), length, seconds)

    def _ask(self, operation: str, content: str = "") -> Element:
        answer = self._put(operation, content, self._proof)
        if not refuses(answer):
            return _body(answer)
        if self._credential is None:
            raise RefusedError(f"the camera wants a name and password for {operation}, and there are none")
        if self._proof is _Proof.NONE:
            by_http = [_Proof.HTTP] if security.challenge(answer.challenges) else []
            for proof in (*by_http, _Proof.TOKEN):
                answer = self._put(operation, content, proof)
                if not refuses(answer):
                    self._proof = proof
                    return _body(answer)
        raise RefusedError(f"the camera refuses {operation} to {self._credential.username!r} with this password")

    def _put(self, operation: str, content: str, proof: _Proof) -> Answer:
        headers, security_header = self._proven(proof)
        action = f'action="{soap.DEVICE}/{operation}"'
        headers["Content-Type"] = f"application/soap+xml; charset=utf-8; {action}"
        body = soap.envelope(operation, content, security_header)
        return self._send(self._where, headers, [body], len(body), self._seconds)

    def _proven(self, proof: _Proof, where: Place | None = None) -> tuple[dict[str, str], str]:
        """Headers of HTTP and of SOAP; a nonce, and the camera's clock, are good for one question."""
        if proof is _Proof.NONE or self._credential is None:
            return {}, ""
        if proof is _Proof.TOKEN:
            at = time.time() + self._clock_skew()
            return {}, security.username_token(self._credential, secrets.token_bytes(16), at)
        asked = security.challenge(self._put("GetDeviceInformation", "", _Proof.NONE).challenges)
        if asked is None:
            return {}, ""
        return {"Authorization": self._authorization(asked, self._credential, where or self._where)}, ""

    def _clock_skew(self) -> float:
        """By how much its clock is ahead of ours; cameras without NTP are years behind, and refuse our time."""
        try:
            at = soap.moment(_body(self._put("GetSystemDateAndTime", "", _Proof.NONE)))
        except FaultError:
            return 0.0
        return 0.0 if at is None else at - time.time()

    def _send(
        self, where: Place, headers: dict[str, str], body: Iterable[bytes], length: int, seconds: float
    ) -> Answer:
        return web.exchange(where, Request(headers=headers, body=body, length=length), seconds, self._tls)

    @staticmethod
    def _authorization(asked: security.Challenge, who: Credential, where: Place) -> str:
        return security.authorization(asked, who, where.target, cnonce=secrets.token_hex(8))

    def _url(self) -> str:
        return f"{'https' if self._where.tls else 'http'}://{self._where.authority}{self._where.target}"


def refuses(answer: Answer) -> bool:
    """Whether it says: not without the right password."""
    try:
        return answer.status == _UNAUTHORISED or soap.refuses(soap.read(answer.body))
    except soap.MarkupError:
        return False


def fault(answer: Answer) -> str | None:
    """What an answer says that is no good one; none where it is good."""
    try:
        said = soap.fault(soap.read(answer.body))
    except soap.MarkupError:
        said = None
    if said is None and 200 <= answer.status < 300:  # noqa: PLR2004
        return None
    return f"status {answer.status}" + (f", {said}" if said else "")


def _body(answer: Answer) -> Element:
    """The body of a good answer; a redirect is none."""
    said = fault(answer)
    if said is not None:
        raise FaultError(said)
    try:
        body = child(soap.read(answer.body), "Body")
    except soap.MarkupError as error:
        raise BadAnswerError(str(error)) from error
    if body is None:
        raise BadAnswerError("an envelope without a body")
    return body


def _joined(head: bytes, blocks: Iterable[bytes], tail: bytes) -> Iterator[bytes]:
    yield head
    yield from blocks
    yield tail

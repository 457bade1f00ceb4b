"""The environment of a run, checked before anything is asked.

ONVIF_DEVICE_... is what discovery knows of the camera; everything else stands in `brokerProperties` of the
Configuration. A broker sees each property twice, as NAME and as NAME_DIGEST, where the digest names the instance; an
Akri that has only the latter is served, too.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from camera_firmware import credentials, window
from camera_firmware.credentials import Credential
from camera_firmware.outcomes import EndedError, Exit
from camera_firmware.web import Networks, Place, allows, networks, place
from camera_firmware.window import Window

NEARBY: Final = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10 ::1/128"
"""Networks of plants and homes."""
_MEGABYTE: Final = 1024 * 1024
_LONGEST_WAIT: Final = 24 * 3600.0

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Image:
    """Which image, and where it may come from."""

    where: str
    sha256: str
    limit: int
    networks: Networks
    ca_file: str


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what may take, in seconds."""

    answer: float
    upload: float
    reboot: float
    settle: float
    poll: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All of it."""

    camera: Place
    uuid: str
    ca_file: str
    credential: Credential | None
    wanted: str
    models: list[str]
    start_versions: list[str]
    image: Image
    window: Window | None
    patience: Patience
    state: Path | None


class _Reader:
    """Reads values and gathers what is wrong with them, so that all of it is told at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.wrong: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        values = {self.environ[name]} if name in self.environ else self._suffixed(name)
        if len(values) > 1:
            self.wrong.append(f"{name} is there for several devices; this program upgrades one")
        return " ".join(next(iter(values), default).split())

    def needed(self, name: str, what: str) -> str:
        text = self.text(name)
        if not text:
            self.wrong.append(f"{name} is missing: {what}")
        return text

    def number(self, name: str, default: float, most: float = _LONGEST_WAIT) -> float:
        text = self.text(name, str(default))
        value = float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text) else 0.0
        if not 0 < value <= most:
            self.wrong.append(f"{name} is {text[:32]!r}, and not a number from 0 to {most:g}")
        return value

    def made(self, make: Callable[[], Value]) -> Value | None:
        try:
            return make()
        except ValueError as error:
            self.wrong.append(str(error))
            return None

    def _suffixed(self, name: str) -> set[str]:
        digest = re.compile(re.escape(name) + r"_[0-9A-F]{6,64}")
        return {value for key, value in self.environ.items() if digest.fullmatch(key)}


def read(environ: Mapping[str, str]) -> Settings:
    """The settings of this environment; raise EndedError with everything that is wrong."""
    reader = _Reader(environ)
    camera, uuid = _camera(reader), reader.text("ONVIF_DEVICE_UUID")
    hours = {name: reader.text(name) for name in window.NAMES}
    secrets = Path(reader.text("CAMERA_SECRETS_DIR", "/secrets/camera"))
    state = reader.text("CAMERA_STATE_DIR")
    settings = Settings(
        camera=camera,
        uuid=uuid,
        ca_file=reader.text("CAMERA_CA_FILE"),
        credential=reader.made(lambda: credentials.read(secrets, uuid)),
        wanted=reader.needed("FIRMWARE_VERSION", "the version that the camera shall have, as the camera writes it"),
        models=_globs(reader.needed("FIRMWARE_MODELS", "the models that the image is for, such as M1,M2*")),
        start_versions=_globs(reader.text("FIRMWARE_FROM", "*")),
        image=_image(reader),
        window=reader.made(lambda: window.read(hours)),
        patience=_patience(reader),
        state=Path(state) if state else None,
    )
    if reader.wrong:
        raise EndedError(Exit.SETTINGS, "; ".join(reader.wrong))
    return settings


def _camera(reader: _Reader) -> Place:
    url = reader.needed("ONVIF_DEVICE_SERVICE_URL", "where the camera is, as discovery has it")
    allowed = reader.made(lambda: networks(reader.text("CAMERA_NETWORKS", NEARBY))) or []
    found = place(url)
    try:
        inside = found is not None and allows(allowed, found.host)
    except ValueError:
        # A name; who announces one might mean any machine.
        found = inside = None
    if url and found is None:
        reader.wrong.append(f"ONVIF_DEVICE_SERVICE_URL {url[:200]!r} is no http(s) URL with an address in it")
    elif url and not inside:
        reader.wrong.append(f"ONVIF_DEVICE_SERVICE_URL {url[:200]!r} leads out of CAMERA_NETWORKS")
    return found or Place("", 0, "/", tls=False)


def _image(reader: _Reader) -> Image:
    where = reader.needed("FIRMWARE_IMAGE", "the path or URL of the image")
    sha256 = reader.needed("FIRMWARE_SHA256", "the hash of the image, as its maker publishes it").lower()
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        reader.wrong.append("FIRMWARE_SHA256 is not 64 hex digits")
    return Image(
        where=where,
        sha256=sha256,
        limit=int(reader.number("FIRMWARE_IMAGE_LIMIT_MB", 512, most=8192) * _MEGABYTE),
        networks=reader.made(lambda: networks(reader.text("FIRMWARE_IMAGE_NETWORKS", NEARBY))) or [],
        ca_file=reader.text("FIRMWARE_IMAGE_CA_FILE"),
    )


def _patience(reader: _Reader) -> Patience:
    return Patience(
        answer=reader.number("CAMERA_ANSWER_SECONDS", 10),
        upload=reader.number("CAMERA_UPLOAD_SECONDS", 900),
        reboot=reader.number("CAMERA_REBOOT_SECONDS", 900),
        settle=reader.number("CAMERA_SETTLE_SECONDS", 30),
        poll=reader.number("CAMERA_POLL_SECONDS", 2),
    )


def _globs(text: str) -> list[str]:
    # Models and versions may have spaces in them.
    return [one.strip() for one in text.split(",") if one.strip()]

"""Runs the program as its container does: a process of its own, and nothing but its environment."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camera_firmware.outcomes import Exit

from tests.e2e.camera_firmware.simulated import Camera, image_for

PROGRAM = Path(__file__).parents[3] / "examples/camera-firmware"
_SECONDS = 60


@dataclass(frozen=True)
class Run:
    """How it ended."""

    code: int
    log: str

    @property
    def report(self) -> dict[str, Any]:
        """The last line."""
        report: dict[str, Any] = json.loads(self.log.rstrip("\n").rpartition("\n")[2])
        return report

    def ended(self, code: Exit, outcome: str, *words: str) -> None:
        """It has ended like this, and its report says so, with these words."""
        assert (self.code, self.report["outcome"]) == (code, outcome), self.log
        assert self.report["why"], self.log
        assert self.report["next"], self.log
        assert not [word for word in words if word not in self.report["why"]], self.log


def command() -> list[str]:
    """The program."""
    return [sys.executable, "-m", "camera_firmware"]


class Desk:
    """Everything that is mounted for one camera, and the runs."""

    def __init__(self, folder: Path, camera: Camera) -> None:
        self.camera = camera
        self.folder = folder
        self.password = camera.password
        self.secrets = folder / "secrets"
        self.state = folder / "state"
        self.image = folder / "image.bin"
        for one in (self.secrets, self.state):
            one.mkdir()
        (self.secrets / "username").write_text(camera.username + "\n")
        (self.secrets / "password").write_text(camera.password + "\n")
        self.put(image_for(camera.model, "2.0.0"))

    def put(self, image: bytes) -> None:
        self.image.write_bytes(image)
        self.sha256 = hashlib.sha256(image).hexdigest()

    def environment(self, **changed: str) -> dict[str, str]:
        return {
            "PYTHONPATH": str(PROGRAM),
            "TMPDIR": str(self.folder),
            "ONVIF_DEVICE_SERVICE_URL": self.camera.url,
            "ONVIF_DEVICE_UUID": f"00000000-0000-0000-0000-{self.camera.host.rpartition('.')[2]:0>12}",
            "FIRMWARE_VERSION": "2.0.0",
            "FIRMWARE_MODELS": "M1, M2*",
            "FIRMWARE_IMAGE": str(self.image),
            "FIRMWARE_SHA256": self.sha256,
            "CAMERA_SECRETS_DIR": str(self.secrets),
            "CAMERA_STATE_DIR": str(self.state),
            "CAMERA_ANSWER_SECONDS": "2",
            "CAMERA_UPLOAD_SECONDS": "20",
            "CAMERA_REBOOT_SECONDS": "5",
            "CAMERA_SETTLE_SECONDS": "0.3",
            "CAMERA_POLL_SECONDS": "0.05",
            **changed,
        }

    def start(self, without: Iterable[str] = (), **changed: str) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in self.environment(**changed).items() if name not in without}
        pipe = subprocess.PIPE
        return subprocess.Popen(command(), env=environment, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def finish(self, process: "subprocess.Popen[str]") -> Run:
        """Wait for its end. Whatever happens, no password is ever said, and no image sent without asking between."""
        try:
            log, errors = process.communicate(timeout=_SECONDS)
        finally:
            process.kill()
        assert not errors
        assert self.password not in log
        self.check()
        return Run(process.returncode, log)

    def run(self, without: Iterable[str] = (), **changed: str) -> Run:
        return self.finish(self.start(without, **changed))

    def check(self) -> None:
        """What must hold at the camera after any number of runs."""
        assert not self.camera.bricked
        asked = False
        for entry in self.camera.journal:
            assert entry != "upload" or asked, self.camera.journal
            asked = entry == "GetDeviceInformation" or (asked and entry != "upload")

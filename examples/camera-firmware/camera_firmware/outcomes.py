"""How a run can end. The exit code says it to Kubernetes, the report to people and to the launcher.

Codes below 30 say that somebody must do something before it can work: to try again is useless, and with a wrong
password it locks accounts. From 30 to 39 nothing was touched, and a retry may help. From 40 on an image was, or may
have been, sent.
"""

import json
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    SETTINGS = 10
    WINDOW = 11
    MODEL = 20
    START_VERSION = 21
    NO_WAY = 22
    IMAGE = 23
    CHECKSUM = 24
    UNAUTHORISED = 25
    ELSEWHERE = 26
    UNREACHABLE = 30
    UNUSABLE = 31
    DECLINED = 32
    STOPPED = 33
    IMAGE_REFUSED = 40
    UPLOAD_FAILED = 41
    UPLOAD_BROKEN = 42
    NOT_BACK = 50
    VERSION = 51
    LOCKED_OUT = 52
    BUG = 70


NEXT: Final = {
    Exit.DONE: "nothing",
    Exit.SETTINGS: "correct what is named, in brokerProperties or in the Job's volumes",
    Exit.WINDOW: "nothing: start it again when the window is open",
    Exit.MODEL: "leave this camera out by the Configuration's filters, or name its model in FIRMWARE_MODELS",
    Exit.START_VERSION: "upgrade it to one of the versions in FIRMWARE_FROM first",
    Exit.NO_WAY: "upgrade this camera by its maker's own tool",
    Exit.IMAGE: "put the image where FIRMWARE_IMAGE says, or correct that",
    Exit.CHECKSUM: "compare the image with what its maker publishes, then correct the image or FIRMWARE_SHA256",
    Exit.UNAUTHORISED: "mount the name and password of an administrator of the camera at CAMERA_SECRETS_DIR",
    Exit.ELSEWHERE: "look at the camera: it may be forged, or stand behind something that rewrites addresses",
    Exit.UNREACHABLE: "look whether the camera has power and network; then run it again",
    Exit.UNUSABLE: "look at the camera, and restart it; then run it again",
    Exit.DECLINED: "look at the camera: it may be busy with an upgrade; then run it again",
    Exit.STOPPED: "run it again: nothing was sent",
    Exit.IMAGE_REFUSED: "get the image that its maker has for exactly this model",
    Exit.UPLOAD_FAILED: "run it again: it begins with reading the version",
    Exit.UPLOAD_BROKEN: "run it again: it begins with reading the version",
    Exit.NOT_BACK: "go to the camera: cut its power once, and if it stays away, recover it as its maker says",
    Exit.VERSION: "look into the camera's own log, and whether the image is for it",
    Exit.LOCKED_OUT: "the upgrade may have reset the camera's users: set them again, then run it again",
    Exit.BUG: "report it with the lines above; the camera was not touched, unless they say that an upload began",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """The last line of the log."""

    outcome: str
    """`upgraded`, `current`, `refused`, `waiting` or `failed`."""
    before: str
    after: str
    seconds: float
    why: str
    next: str
    opens: str | None = None

    def line(self) -> str:
        """As one line of JSON, in plain ASCII: nothing from a camera can end it or colour a terminal."""
        said = asdict(self)
        names = {"before": "from", "after": "to"}
        return json.dumps({names.get(name, name): value for name, value in said.items() if value is not None})


class EndedError(Exception):
    """The run ends here, and not well; `opens` is when a closed window opens."""

    def __init__(self, code: Exit, why: str, opens: str | None = None) -> None:
        super().__init__(why)
        self.code = code
        self.why = why
        self.opens = opens

    @property
    def outcome(self) -> str:
        """The word for it."""
        if self.code is Exit.WINDOW:
            return "waiting"
        return "refused" if self.code < Exit.UNREACHABLE else "failed"

"""The wait for a camera's reboot, and the proof that it has helped: the version, read again."""

import logging
import time
from typing import Final

from camera_firmware.camera import Camera, FaultError, RefusedError
from camera_firmware.outcomes import EndedError, Exit
from camera_firmware.settings import Patience
from camera_firmware.web import BadAnswerError, LostError, NotThereError

_log = logging.getLogger(__name__)
_MOST_REFUSALS: Final = 3
"""Cameras lock out who tries more."""


class Verifying:
    """Asks until the wanted version is there, the camera has settled with another one, or patience ends.

    `gone` is whether it was ever away, `found` the version that it has said last.
    """

    def __init__(self, camera: Camera, patience: Patience) -> None:
        self._camera = camera
        self._patience = patience
        self.gone = False
        self._back_at: float | None = None
        self._refusals = 0
        self.found = ""

    def wait(self, wanted: str, seconds: float) -> None:
        """Return when the camera says that it has the version; raise EndedError."""
        end = time.monotonic() + seconds
        while True:
            time.sleep(self._patience.poll)
            if self._version() == wanted:
                return
            if self._settled() or time.monotonic() >= end:
                break
        if self.gone and self._back_at is None:
            raise EndedError(Exit.NOT_BACK, f"the camera has gone, and was not back within {seconds:.0f} s")
        went = "has come back" if self.gone else f"has not gone within {seconds:.0f} s"
        raise EndedError(Exit.VERSION, f"the camera {went}, with {self.found or 'no version'} and not with {wanted}")

    def _settled(self) -> bool:
        # Some restart twice, or begin with a system for rescue.
        return self._back_at is not None and time.monotonic() - self._back_at > self._patience.settle

    def _version(self) -> str:
        try:
            self.found = self._camera.information().version
        except (NotThereError, LostError, BadAnswerError, FaultError) as error:
            self._tell_gone(str(error))
            return ""
        except RefusedError as error:
            self._refusals += 1
            if self._refusals >= _MOST_REFUSALS:
                raise EndedError(Exit.LOCKED_OUT, f"after the upload {error}") from error
            return ""
        if self.gone and self._back_at is None:
            _log.info("the camera is back, with %s", self.found)
            self._back_at = time.monotonic()
        return self.found

    def _tell_gone(self, why: str) -> None:
        if not self.gone or self._back_at is not None:
            _log.info("the camera has gone: %s", why)
        self.gone, self._back_at = True, None

"""The steps of an upgrade, in their order.

Everything that can be known without touching the camera is looked at first; the version is read before each upload.
"""

import fnmatch
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from camera_firmware import image, web
from camera_firmware.camera import Camera, FaultError, Information, RefusedError, Start, Way, fault, refuses
from camera_firmware.image import Image
from camera_firmware.notes import Note, Notes
from camera_firmware.outcomes import EndedError, Exit
from camera_firmware.settings import Settings
from camera_firmware.verifying import Verifying
from camera_firmware.web import Answer, BadAnswerError, LostError, NotThereError

_log = logging.getLogger(__name__)
_TRIES: Final = 3
_SHORTEST_PATIENCE: Final = 60.0
_DOWN_TIMES: Final = 3
"""What cameras expect of themselves is what their makers once measured, with an empty disk."""
_NOTED_EVERY: Final = 5.0
_UNSUPPORTED: Final = 415


class Upgrade:
    """One run for one camera; `before` and `after` are what it has learnt, however it ends."""

    def __init__(self, settings: Settings, protect: Callable[[], None]) -> None:
        self._settings = settings
        self._protect = protect
        self._camera = Camera(settings.camera, settings.credential, settings.patience.answer, tls=_tls(settings))
        self._notes = Notes(settings.state, settings.uuid or settings.camera.authority)
        self._down = 0.0
        self._noted_at: float | None = None
        self.before = ""
        self.after = ""

    def run(self) -> str:
        """Do it; the answer is the outcome, `upgraded` or `current`. Raise EndedError."""
        with _told_errors():
            if self._finish_earlier():
                return "upgraded"
            found = self._read()
            self.before = self.after = found.version
            if found.version == self._settings.wanted:
                return "current"
            self._check(found)
            way = self._camera.way()
            if way is Way.NONE:
                raise EndedError(Exit.NO_WAY, "the camera takes no firmware over ONVIF")
            with image.opened(self._settings.image, self._settings.patience.upload) as opened:
                self._check_window()
                send = self._by_http if way is Way.HTTP else self._by_mtom
                send(replace(opened, each=self._renew))
        return "upgraded"

    def _finish_earlier(self) -> bool:
        """Wait for what an earlier run has begun; whether that was this upgrade, and has worked."""
        note = self._notes.read(self._settings.patience.reboot)
        if note is None:
            return False
        left = max(note.until - time.time(), 0.0)
        _log.info("an earlier run may have uploaded %s; looking for it for up to %.0f s", note.wanted, left)
        self.before = self.after = note.before
        try:
            Verifying(self._camera, self._settings.patience).wait(note.wanted, left)
        except EndedError as error:
            if error.code is not Exit.VERSION and left:
                raise
            _log.info("%s", error.why)
            self._notes.drop()
            return False
        self._notes.drop()
        _log.info("it has worked")
        self.after = note.wanted
        return note.wanted == self._settings.wanted

    def _read(self) -> Information:
        for _ in range(_TRIES - 1):
            try:
                return self._told(self._camera.information())
            except (NotThereError, LostError) as error:
                _log.info("%s; it is asked again", error)
                time.sleep(self._settings.patience.poll)
        return self._told(self._camera.information())

    @staticmethod
    def _told(found: Information) -> Information:
        _log.info("the camera is a %s %s with %s", found.vendor, found.model, found.version)
        return found

    def _check(self, found: Information) -> None:
        wanted = self._settings
        if not _matches(found.model, wanted.models):
            raise EndedError(Exit.MODEL, f"the camera is a {found.model!r}, and none of {', '.join(wanted.models)}")
        if not _matches(found.version, wanted.start_versions):
            why = f"the camera has {found.version}, and {wanted.wanted} goes on {', '.join(wanted.start_versions)} only"
            raise EndedError(Exit.START_VERSION, why)
        self._check_window()

    def _check_window(self) -> None:
        opens = self._settings.window.opens(datetime.now(UTC)) if self._settings.window else None
        if opens is not None:
            at = opens.isoformat(timespec="minutes")
            raise EndedError(Exit.WINDOW, f"the maintenance window opens at {at}", opens=at)

    def _by_http(self, opened: Image) -> None:
        start = self._started()
        if start.delay > self._settings.patience.reboot:
            raise EndedError(Exit.UNUSABLE, f"the camera wants to wait {start.delay:.0f} s before the upload")
        _log.info("the camera takes the image in %.0f s, and expects to be away for %.0f s", start.delay, start.down)
        time.sleep(start.delay)
        seconds = self._settings.patience.upload
        self._send(lambda: self._camera.upload(start.upload, opened, seconds, self._read), start.down)

    def _by_mtom(self, opened: Image) -> None:
        seconds = self._settings.patience.upload
        self._send(lambda: self._camera.upgrade_by_mtom(opened, seconds), 0.0)

    def _started(self) -> Start:
        try:
            return self._camera.start()
        except FaultError as error:
            raise EndedError(Exit.DECLINED, f"the camera starts no upgrade: {error}") from error

    def _send(self, send: Callable[[], Answer], down: float) -> None:
        self._down = min(max(_DOWN_TIMES * down, _SHORTEST_PATIENCE), self._settings.patience.reboot)
        self._protect()
        self._note()
        _log.info("the upload begins; from here on this is not interrupted")
        broken = ""
        try:
            _judge(send())
        except LostError as error:
            # Some restart before they have answered.
            broken = str(error)
            _log.info("%s; its version will tell", broken)
        except (EndedError, BadAnswerError, NotThereError, RefusedError, FaultError) as error:
            self._notes.drop()
            raise error if isinstance(error, EndedError) else EndedError(Exit.UPLOAD_FAILED, str(error)) from error
        self._note_again()
        self._verify(broken)

    def _note(self) -> None:
        until = time.time() + self._down
        self._notes.write(Note(before=self.before, wanted=self._settings.wanted, until=until))
        self._noted_at = time.monotonic()

    def _renew(self) -> None:
        """An upload may take longer than a reboot."""
        if self._noted_at is not None and time.monotonic() - self._noted_at > _NOTED_EVERY:
            self._note_again()

    def _note_again(self) -> None:
        try:
            self._note()
        except EndedError as error:
            # What has begun is worse broken off than without a note.
            _log.info("%s", error.why)

    def _verify(self, broken: str) -> None:
        verifying = Verifying(self._camera, self._settings.patience)
        try:
            verifying.wait(self._settings.wanted, self._down)
        except EndedError as error:
            # Who is away, or says nothing, may have either version.
            self.after = verifying.found if error.code is Exit.VERSION else ""
            if error.code is not Exit.VERSION:
                raise
            self._notes.drop()
            if broken and not verifying.gone:
                raise EndedError(Exit.UPLOAD_BROKEN, f"the upload broke off: {broken}; {error.why}") from error
            raise
        self.after = self._settings.wanted
        self._notes.drop()


def _judge(answer: Answer) -> None:
    """Raise EndedError unless the camera has taken the image."""
    said = fault(answer)
    if refuses(answer):
        raise EndedError(Exit.UNAUTHORISED, f"the camera refuses the upload: {said}")
    if answer.status == _UNSUPPORTED or (said is not None and "InvalidFirmware" in said):
        raise EndedError(Exit.IMAGE_REFUSED, f"the camera refuses the image: {said}")
    if said is not None:
        raise EndedError(Exit.UPLOAD_FAILED, f"the camera has not taken the upload: {said}")
    _log.info("the camera has taken the image")


def _matches(text: str, globs: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, glob) for glob in globs)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    try:
        return web.trusting(settings.ca_file) if settings.camera.tls else None
    except OSError as error:
        raise EndedError(Exit.SETTINGS, f"CAMERA_CA_FILE cannot be used: {error}") from error


@contextmanager
def _told_errors() -> Iterator[None]:
    """What ends a run before the upload, and is nobody's decision."""
    try:
        yield
    except (NotThereError, LostError) as error:
        raise EndedError(Exit.UNREACHABLE, str(error)) from error
    except (BadAnswerError, FaultError) as error:
        raise EndedError(Exit.UNUSABLE, f"the camera's answer cannot be used: {error}") from error
    except RefusedError as error:
        raise EndedError(Exit.UNAUTHORISED, str(error)) from error

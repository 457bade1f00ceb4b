"""A note that an image may be on its way into a camera, from one run to the next.

Whoever starts after a run that was killed must not upload into a camera that is just writing its flash. Without a
folder for notes (CAMERA_STATE_DIR) only the camera itself can refuse that.
"""

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from camera_firmware.outcomes import EndedError, Exit


@dataclass(frozen=True, kw_only=True)
class Note:
    """What was begun, and until when it is waited for."""

    before: str
    wanted: str
    until: float


class Notes:
    """The note of one camera."""

    def __init__(self, folder: Path | None, camera: str) -> None:
        # Names from a camera are no names of files.
        name = hashlib.sha256(camera.encode()).hexdigest()[:32] + ".json"
        self._path = folder / name if folder else None

    def read(self, longest: float) -> Note | None:
        """The note, if there is one that can be read; a clock that was set back makes it no longer than this."""
        try:
            found = json.loads(self._path.read_text("utf-8")) if self._path else None
            if found is None:
                return None
            latest, until = time.time() + longest, float(found["until"])
            # NaN is less than nothing.
            until = min(latest, until)
            return Note(before=str(found["before"]), wanted=str(found["wanted"]), until=until)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, note: Note) -> None:
        """Keep it, for sure, before the first byte is sent; raise EndedError."""
        if self._path is None:
            return
        fresh = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(json.dumps(asdict(note)))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise EndedError(Exit.SETTINGS, f"CAMERA_STATE_DIR cannot be written: {error}") from error

    def drop(self) -> None:
        """What was begun has ended."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()

"""A run as a process: lines for people on the way, one line of JSON at the end, and an exit code.

Whoever started the Job reads that last line. SIGTERM, with which nodes are drained, ends a run only while nothing was
sent: a camera that is left alone with half an image is worse than a drain that takes some minutes longer.
"""

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from types import FrameType

from camera_firmware import settings
from camera_firmware.outcomes import NEXT, EndedError, Exit, Report
from camera_firmware.upgrade import Upgrade

_log = logging.getLogger(__name__)


class Stopping:
    """SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self._protected = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def protect(self) -> None:
        """From here on a run goes on to its end."""
        self._protected = True

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        if not self._protected:
            raise EndedError(Exit.STOPPED, f"it was stopped by {signal.Signals(number).name}")
        _log.info("%s: the upgrade is finished first", signal.Signals(number).name)


def run(environ: Mapping[str, str]) -> tuple[Exit, Report]:
    """One run; every end of it is a report."""
    began = time.monotonic()
    upgrade: Upgrade | None = None
    outcome, code, opens = "failed", Exit.DONE, None
    try:
        stopping = Stopping()
        upgrade = Upgrade(settings.read(environ), stopping.protect)
        outcome = upgrade.run()
        why = f"the camera has {upgrade.after}" + ("" if outcome == "upgraded" else " already")
    except EndedError as error:
        outcome, code, why, opens = error.outcome, error.code, error.why, error.opens
    except Exception as error:  # noqa: BLE001 - a report must come, whatever it is
        _log.error("%s", traceback.format_exc())
        code, why = Exit.BUG, f"this program has a fault: {error!r}"
    before, after = (upgrade.before, upgrade.after) if upgrade else ("", "")
    seconds = round(time.monotonic() - began, 1)
    return code, Report(
        outcome=outcome, before=before, after=after, seconds=seconds, why=why, next=NEXT[code], opens=opens
    )


def main() -> int:
    """Run, and report as the last line."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    code, report = run(os.environ)
    sys.stdout.write(report.line() + "\n")
    sys.stdout.flush()
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

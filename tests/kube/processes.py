"""A program that runs beside a test, with its log, and that ends when the test does, however that ends."""

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

_READY_SECONDS = 90.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.1
_starter = ThreadPoolExecutor(1, "starter")
"""Linux ends what is guarded when the thread that has started it ends, so one thread starts everything and stays."""
_TOLD = 6000
"""So much of a log is shown when its program does not start."""


class DidNotStartError(Exception):
    """The program ended, or never became ready; with the end of its log."""


class Program:
    """One process at a time; it can be killed and started again, and it is killed with the process that started it."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name, self.log = name, log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def start(self) -> None:
        """Start it; `wait` tells when it is ready."""
        with self.log.open("ab") as log:
            self._process = _starter.submit(self._open, log).result()

    def _open(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        # Where whoever runs the tests is killed, nothing else would end it. A session of its own, since Ctrl-C is for
        # the tests: what they end must find its server alive.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        return subprocess.Popen(
            [*guard, *self._command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )

    def wait(self, ready: Callable[[], bool]) -> None:
        """Until it is ready; raise DidNotStartError where it ends first or takes too long."""
        end = time.monotonic() + _READY_SECONDS
        while not ready():
            if not self.pid:
                raise DidNotStartError(f"{self.name} ended at once:\n{self.said()}")
            if time.monotonic() > end:
                raise DidNotStartError(f"{self.name} is not ready after {_READY_SECONDS:.0f} s:\n{self.said()}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order, or at once where it does not obey."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-_TOLD:] if self.log.exists() else "(no log)"

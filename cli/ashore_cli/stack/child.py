"""One service as a child process: started, waited for, started again when it dies, stopped.

A child that is killed or crashes comes back after a pause that grows; one that has never become ready is not tried
again, since its settings are what is wrong. Its output goes to a log file. It has a session of its own, so Ctrl-C on
the terminal reaches only us, and we stop everything in order.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, Final

from ashore.files import append_private
from ashore_cli.errors import printable
from ashore_cli.stack.happenings import Happening, StackError, Tell

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_HEALTHY_SECONDS: Final = 60.0
_EACH_LINE: Final = re.compile(r"^\S+Z \[\w+ *\] |\s+service=\S+$")
_LARGEST_LOG: Final = 10 << 20

IsReady = Callable[[], Awaitable[bool]]


class Child:
    """One service's process, whichever it is at the moment."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        url: str,
        environment: Mapping[str, str],
        log: Path,
        pid_file: Path,
        is_ready: IsReady,
        tell: Tell,
    ) -> None:
        self.name = name
        self._url = url
        self._command = (sys.executable, "-m", module)
        self._environment = environment
        self._log = log
        self._pid_file = pid_file
        self._is_ready = is_ready
        self._tell = tell
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """The process now; 0 while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start it and return once it is ready; raise StackError with its last words."""
        self._tell(Happening(self.name, "starting"))
        process = await self._launch()
        try:
            async with asyncio.timeout(READY_SECONDS):
                while not await self._is_ready():
                    if process.returncode is not None:
                        raise self._failed(f"stopped with {_code(process.returncode)}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            raise self._failed(f"was not ready after {READY_SECONDS:.0f} seconds") from error
        self._tell(Happening(self.name, "ready", self._url))
        self._keeper = asyncio.create_task(self._keep(process), name=f"keep-{self.name}")

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            self._tell(Happening(self.name, "stopping"))
            self._signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                self.kill()
                await process.wait()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """Stop it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            code = await process.wait()
            if time.monotonic() - began > _HEALTHY_SECONDS:
                pause = _FIRST_PAUSE
            self._tell(Happening(self.name, "stopped", f"{_code(code)}; it is started again in {pause:g} s"))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            process = await self._launch()
            await self._welcome(process)

    async def _welcome(self, process: asyncio.subprocess.Process) -> None:
        while process.returncode is None:
            if await self._is_ready():
                self._tell(Happening(self.name, "back"))
                return
            await asyncio.sleep(4 * _POLL_SECONDS)

    async def _launch(self) -> asyncio.subprocess.Process:
        with _opened(self._log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
                umask=0o077,
            )
        self._pid_file.write_text(str(self._process.pid))
        return self._process

    def _failed(self, what: str) -> StackError:
        return StackError(f"the {self.name} service {what}: {last_words(self._log)}", remedy=f"read {self._log}")


def last_words(log: Path) -> str:
    """The last line of a log, without what every line has."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return printable(_EACH_LINE.sub("", lines[-1])) if lines else "it said nothing"


def stop_orphan(pid_file: Path, argument: str, variable: str = "") -> None:
    """Stop what a parent left behind when it was killed, known by one of its arguments and one of its variables.

    A process id that others have by now is let be.
    """
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    deadline = time.monotonic() + STOP_SECONDS
    number = signal.SIGTERM
    while _is_ours(pid, argument, variable):
        if time.monotonic() > deadline:
            number = signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        time.sleep(2 * _POLL_SECONDS)
    pid_file.unlink(missing_ok=True)


def _is_ours(pid: int, argument: str, variable: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return argument.encode() in command and (not variable or variable.encode() in environment)


def _opened(log: Path) -> IO[bytes]:
    """The log, to be appended to; a large one makes room first and is kept as `.1`."""
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    return append_private(log)


def _code(code: int) -> str:
    return f"code {code}" if code >= 0 else f"signal {-code}"

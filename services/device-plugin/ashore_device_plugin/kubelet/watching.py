"""Whether the kubelet is there, and when it was started anew.

A kubelet that starts removes every socket in its folder and knows no plugin. It makes a new `kubelet.sock`, and that is
the only sign: so its file is looked at once a second.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

SOCKET: Final = "kubelet.sock"
LOOK_SECONDS: Final = 1.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class _Life(NamedTuple):
    """Tells one socket from the next of the same path."""

    inode: int
    changed: int


class Kubelet:
    """The kubelet of this node."""

    def __init__(self, folder: Path, look_seconds: float = LOOK_SECONDS) -> None:
        self.socket = folder / SOCKET
        self.life = 0
        """Grows each time that it starts; 0 while it is not there."""
        self.listeners: list[Callable[[], None]] = []
        """Called when it has come, gone, or was started anew."""
        self._look_seconds = look_seconds
        self._seen: _Life | None = None
        self._lives = 0

    async def watch(self) -> None:
        """Look for it, for ever."""
        log_absence = True
        while True:
            self._look()
            if log_absence and not self.life:
                log.warning("the kubelet is not there; waiting for it", socket=str(self.socket))
            log_absence = bool(self.life)
            await asyncio.sleep(self._look_seconds)

    def _look(self) -> None:
        try:
            found = self.socket.stat()
            seen = _Life(found.st_ino, found.st_ctime_ns)
        except OSError:
            seen = None
        if seen == self._seen:
            return
        if seen is not None:
            self._lives += 1
            log.info("the kubelet is there" if self._lives == 1 else "the kubelet was started anew")
        self._seen, self.life = seen, self._lives if seen else 0
        for listener in self.listeners:
            listener()

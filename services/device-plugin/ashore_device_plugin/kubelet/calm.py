"""Puts off what the kubelet can hear later, while resources are being registered.

With each list that it hears a kubelet writes all ids of all resources to its disk, one list after another, and hears no
other of a resource meanwhile. So in a burst of instances the list of their configuration, which is another one with
each of them, is told when they are registered: once, and not behind the lists of thousands.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 5.0
"""So long a list is put off at most, whatever is under way."""


class Calm:
    """Whether registrations are under way, and who waits for their end."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._under_way = 0
        self._waiting: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """A registration is under way within."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._tell()

    def soon(self, tell: Callable[[], None]) -> None:
        """Have it told: at once, or once only when nothing is under way any more."""
        if not self._under_way:
            tell()
            return
        self._waiting[tell] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._tell)

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        for tell in waiting:
            tell()

"""What a stack tells, on a terminal: a line for each part, and what it is waiting for now."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from ashore_cli.errors import printable
from ashore_cli.output import console
from ashore_cli.stack import Happening, Layout

_TAIL_SECONDS: Final = 0.2
_COLOURS: Final = {
    "manufacturer": "cyan",
    "rendezvous": "magenta",
    "owner": "blue",
    "discovery": "green",
    "broker-launcher": "yellow",
}


class Screen:
    """The terminal of `up` and `demo`; its `tell` is what a Stack calls."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.out = console(stderr=stderr)
        self._status = self.out.status("")
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._status.stop()

    def tell(self, happening: Happening) -> None:
        """Show one thing that happened."""
        # The terminal may be gone, and that must not keep us from stopping in order.
        with suppress(OSError):
            self._show(happening)

    def waiting(self, text: str) -> None:
        """Show what is waited for; an empty text when nothing is."""
        self._status.update(text)
        if text:
            self._status.start()
        else:
            self._status.stop()

    def _show(self, happening: Happening) -> None:
        part, kind, text = happening
        match kind:
            case "starting":
                self._began.setdefault(part, time.monotonic())
                self.waiting(f"making {text}" if part == "keys" else f"starting {', '.join(self._began)}")
            case "ready":
                seconds = time.monotonic() - self._began.pop(part, time.monotonic())
                self._line(part, "ok", f"{text:<22}  {seconds:.1f} s", "green")
            case "stopped":
                self._line(part, "died", text, "red")
            case "back":
                self._line(part, "ok", "is back", "green")
            case "stopping":
                self.waiting("stopping")

    def _line(self, part: str, word: str, text: str, style: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - slow to import

        self.out.print(Text.assemble("  ", (f"{word:<4}", style), f"  {part:<15}  {text}"))


async def tail(layout: Layout, screen: Screen) -> None:
    """Show what the services log from now on, each with its name in front, until cancelled."""
    places = {name: layout.log(name) for name in _COLOURS}
    read = {name: _size(path) for name, path in places.items()}
    while True:
        for name, path in places.items():
            if _size(path) < read[name]:
                # The service was started again with a new log.
                read[name] = 0
            for line in _lines(path, read[name]):
                read[name] += len(line)
                screen.out.print(f"{name:<15} │ ", end="", style=_COLOURS[name])
                screen.out.print(printable(line.decode(errors="replace").rstrip()))
        await asyncio.sleep(_TAIL_SECONDS)


def _lines(path: Path, start: int) -> list[bytes]:
    """The whole lines after `start`."""
    try:
        with path.open("rb") as log:
            log.seek(start)
            return [line for line in log.readlines() if line.endswith(b"\n")]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

"""A stack on a terminal, from the first signal of life to the last."""

import asyncio
import io
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TextIO

import structlog

from ashore import files
from ashore_cli.errors import DONE
from ashore_cli.local.hints import command
from ashore_cli.local.screen import Screen, tail
from ashore_cli.stack import Layout, Ports, Stack

INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_up(data: Path, ports: Ports, address: str, *, tls: bool, kubernetes: bool, logs: bool) -> int:
    """Run everything until a signal."""
    with Screen() as screen:
        stack = Stack(data, ports=ports, address=address, tls=tls, kubernetes=kubernetes, tell=screen.tell)
        screen.out.print(f"ashore, with its data in {stack.layout.path}")

        async def stay() -> None:
            screen.waiting("")
            screen.out.print(f"\nEverything runs; logs are in {stack.layout.log('x').parent}.")
            screen.out.print(f"Ctrl-C stops it. In another terminal: {command('device onboard', data)}\n")
            await (tail(stack.layout, screen) if logs else asyncio.Event().wait())

        await hold(stack, stay)
        screen.out.print("Stopped. Everything is on disk.")
    return DONE


async def hold(stack: Stack, work: Callable[[], Awaitable[object]]) -> int:
    """Do something inside a stack. A signal ends it in order, a second one at once; the answer is the exit code."""
    keep_log(stack.layout)
    task = asyncio.create_task(_inside(stack, work), name="stack")
    asked = 0

    def interrupt() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            task.cancel()
        else:
            stack.kill()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise
        return INTERRUPTED
    return DONE


async def _inside(stack: Stack, work: Callable[[], Awaitable[object]]) -> None:
    async with stack:
        await work()


def keep_log(layout: Layout) -> None:
    """Send what our own libraries log to a file: the terminal is for people."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # By default tracebacks are drawn with rich, and that shows local variables: keys and tokens among them.
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ],
        logger_factory=_LogFile(layout.log("ashore")),
    )


class _LogFile:
    """Opens the log when the first line is written, since the data folder may not be there before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __call__(self, *_names: object) -> structlog.WriteLogger:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = io.TextIOWrapper(files.append_private(self._path), encoding="utf-8")
        return structlog.WriteLogger(self._file)

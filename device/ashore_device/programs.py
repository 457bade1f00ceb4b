"""Programs that an owner asks a device to run: each in a session of its own, with bounded output and a bounded life.

A program's output is taken as fast as it is asked for; when nobody asks, the program has to wait with its pipe full.
What it writes beyond its limit is thrown away, so it can neither fill the device's memory nor block for ever.

When the program has ended its children may live on: a script that starts a service is what onboarding is for. Only a
program that is killed takes its children with it.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from ashore.fdo.serviceinfo.host import HostError, Process, Progress

PIECE: Final = 64 << 10
"""Bytes of one stream that are given at a time."""
_DRAIN_SECONDS: Final = 0.5
"""How long output is awaited after the end: a child that lives on may keep the pipe open."""
_SIGNALLED: Final = 128


class Program(Process):
    """A program that was started."""

    def __init__(
        self, process: asyncio.subprocess.Process, stdout: "_Stream", stderr: "_Stream", news: asyncio.Event
    ) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self._news = news
        self._code: int | None = None
        self._watch: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        *,
        lifetime: float,
        output_limit: int,
    ) -> Self:
        """Start it in the folder, without a shell and without input; raise HostError where that cannot be."""
        news = asyncio.Event()
        stdout, stdout_end = await _Stream.open(output_limit, news)
        stderr, stderr_end = await _Stream.open(output_limit, news)
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout_end,
                stderr=stderr_end,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            stdout.close()
            stderr.close()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise HostError(f"{arguments[0]} cannot be started: {reason}") from error
        finally:
            os.close(stdout_end)
            os.close(stderr_end)
        program = cls(process, stdout, stderr, news)
        program._watch = asyncio.create_task(program._see_to_the_end(lifetime), name=f"watch {arguments[0]}")
        return program

    async def wait(self, seconds: float) -> Progress:
        """Give what is new after at most `seconds`, sooner when the program ends or has written much."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (self._over or self._stdout.full or self._stderr.full):
                    self._news.clear()
                    await self._news.wait()
        stdout, stderr = self._stdout.take(), self._stderr.take()
        drained = self._over and self._stdout.empty and self._stderr.empty
        return Progress(stdout=stdout, stderr=stderr, exit_code=self._code if drained else None)

    async def signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it at once, with its children; nothing happens when it has ended."""
        self._kill()
        if self._watch is not None:
            await self._watch

    @property
    def _over(self) -> bool:
        return self._code is not None

    def _kill(self) -> None:
        # Before its leader is waited for, the group's number cannot belong to anybody else.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _see_to_the_end(self, lifetime: float) -> None:
        try:
            async with asyncio.timeout(lifetime):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            self._stderr.add(f"killed, as it ran for more than {lifetime:g} seconds\n".encode())
        finally:
            self._kill()
        code = await self._process.wait()
        for stream in (self._stdout, self._stderr):
            await stream.drain(_DRAIN_SECONDS)
        self._code = code if code >= 0 else _SIGNALLED - code
        self._news.set()


class _Stream(asyncio.Protocol):
    """The reading end of a program's output."""

    def __init__(self, limit: int, news: asyncio.Event) -> None:
        self._left = limit
        self._news = news
        self._data = bytearray()
        self._closed = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def open(cls, limit: int, news: asyncio.Event) -> tuple["_Stream", int]:
        """The stream, and the descriptor to write to it."""
        reading, writing = os.pipe()
        stream = cls(limit, news)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: stream, os.fdopen(reading, "rb", buffering=0))
        return stream, writing

    @property
    def full(self) -> bool:
        """Whether there is as much as is given at a time."""
        return len(self._data) >= PIECE

    @property
    def empty(self) -> bool:
        """Whether all was taken."""
        return not self._data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read."""
        if isinstance(transport, asyncio.ReadTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what is within the limit."""
        self.add(data[: self._left])
        self._left -= min(len(data), self._left)
        if self.full and self._transport is not None:
            self._transport.pause_reading()
            self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a pipe that breaks has ended all the same
        """Nobody writes any more."""
        self._closed.set()

    def add(self, data: bytes) -> None:
        """Append, as if the program had written it."""
        self._data += data

    def take(self) -> bytes:
        """The oldest piece."""
        piece = bytes(self._data[:PIECE])
        del self._data[:PIECE]
        if self._transport is not None and not self._transport.is_closing() and not self.full:
            self._transport.resume_reading()
        return piece

    async def drain(self, seconds: float) -> None:
        """Read on until nobody writes any more, at most for a moment, and close."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closed.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Take nothing more."""
        if self._transport is not None:
            self._transport.close()

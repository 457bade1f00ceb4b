"""Where news of devices comes from, the best that works here: udevd, the kernel, or looking around.

In a container without /run/udev, libudev listens to nothing and says nothing; in a network namespace of its own only
the kernel is heard, and in some not even that. So a source proves itself before it is believed: a harmless device is
told to announce itself, where this process may do that.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

import pyudev

from ashore.events import Mode

Choice = Literal["auto", "udev", "kernel", "poll"]
PROBE: Final = Path("/sys/devices/virtual/mem/null/uevent")
"""/dev/null: a `change` of it means nothing to anybody."""
PROVE_SECONDS: Final = 1.0
MOST_WAITING: Final = 10_000
_AT_A_STRETCH: Final = 16
_BUFFER: Final = 4 * 1024 * 1024
_CONTROL: Final = Path("/run/udev/control")


class News(NamedTuple):
    """A device with what happened to it."""

    action: str
    device: pyudev.Device


Queue = asyncio.Queue[News | None]


class Source(NamedTuple):
    """An open source: its news, and how good it is."""

    news: Queue
    """None: stop waiting, and see what else there is to do."""
    mode: Mode
    reason: str
    overflowed: asyncio.Event
    """Something was lost: look around."""


@asynccontextmanager
async def opened(context: pyudev.Context, choice: Choice) -> AsyncIterator[Source]:
    """The best source that works, for the length of a block."""
    for name in ("udev", "kernel") if choice == "auto" else (choice,):
        if name == "poll" or (name == "udev" and choice == "auto" and not _CONTROL.exists()):
            continue
        async with _listening(context, name) as (news, overflowed):
            if await _proves_itself(news):
                mode, reason = _quality(name, choice)
                yield Source(news, mode, reason, overflowed)
                return
    why = "as it was told to" if choice == "poll" else "no events reach this process: it needs the host's network"
    yield Source(asyncio.Queue(), "polling", why, asyncio.Event())


def _quality(name: str, choice: Choice) -> tuple[Mode, str]:
    if name == "udev" or choice == "kernel":
        return "events", ""
    return "degraded", "kernel events only: /run/udev is not there, so what udevd adds to devices is missing"


@asynccontextmanager
async def _listening(context: pyudev.Context, name: str) -> AsyncIterator[tuple[Queue, asyncio.Event]]:
    news: Queue = asyncio.Queue()
    overflowed = asyncio.Event()
    monitor = pyudev.Monitor.from_netlink(context, source=name)  # type: ignore[no-untyped-call]
    # Only root may have more than the system's usual buffer.
    with suppress(OSError):
        monitor.set_receive_buffer_size(_BUFFER)
    monitor.start()

    def readable() -> None:
        try:
            # What is left makes the loop call again, after it has looked after others.
            for _ in range(_AT_A_STRETCH):
                device = monitor.poll(timeout=0)
                if device is None:
                    return
                if news.qsize() >= MOST_WAITING:
                    _overflow(news, overflowed)
                else:
                    news.put_nowait(News(device.action or "change", device))
        except OSError:
            # ENOBUFS: the kernel had to throw events away.
            _overflow(news, overflowed)

    loop = asyncio.get_running_loop()
    loop.add_reader(monitor.fileno(), readable)
    try:
        yield news, overflowed
    finally:
        loop.remove_reader(monitor.fileno())


def _overflow(news: Queue, overflowed: asyncio.Event) -> None:
    if not overflowed.is_set():
        overflowed.set()
        news.put_nowait(None)


async def _proves_itself(news: Queue) -> bool:
    """Whether an event that we cause arrives. Where we may not cause one, it is believed."""
    try:
        PROBE.write_text("change")
    except OSError:
        return True
    try:
        async with asyncio.timeout(PROVE_SECONDS):
            while True:
                one = await news.get()
                if one is not None and one.device.sys_path == str(PROBE.parent):
                    return True
    except TimeoutError:
        return False

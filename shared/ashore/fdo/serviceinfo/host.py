"""The port through which a device's modules act on the machine.

Names that come through here have the shape of relative names (`values.name`); the adapter sees to it that they lead
nowhere else, by links or mounts, and that programs run as the user who is meant to run them. All failures are a
HostError whose text may be shown to the owner.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class HostError(Exception):
    """The machine could not do it."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a program wrote since it was last asked, and its exit code once it has ended and all output was read."""

    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int | None = None


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What came from a URL: length in bytes and SHA-384."""

    length: int
    sha384: bytes


class Process(Protocol):
    """A program that was started. It is killed when its time is over."""

    async def wait(self, seconds: float) -> Progress:
        """Give what is new after at most `seconds`, sooner when the program ends; at most 64 KiB of each stream."""

    async def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the program has ended."""

    async def kill(self) -> None:
        """End it at once, with its children; nothing happens when it has ended."""


class Transfer(Protocol):
    """A URL that is being fetched into a file."""

    async def wait(self, seconds: float) -> Fetched | None:
        """Give the result, or None when `seconds` are over before; raise HostError when the fetch has failed."""

    async def cancel(self) -> None:
        """Give up."""


class Host(Protocol):
    """Files, programs and URLs of one device."""

    async def write(self, name: str, data: bytes, *, append: bool) -> None:
        """Append to a file, or begin it anew; folders in between are made."""

    async def rename(self, name: str, new_name: str) -> None:
        """Give a file its final name, in one step, in place of any older one."""

    async def remove(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""

    async def size(self, name: str) -> int:
        """Give a file's size in bytes; raise HostError when there is no such file."""

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Read at most `length` bytes from `offset`; empty at the end."""

    async def run(self, arguments: Sequence[str], *, lifetime: float) -> Process:
        """Start a program, without a shell, in the working folder; killed after `lifetime` seconds."""

    async def fetch_url(self, url: str, name: str, *, limit: int) -> Transfer:
        """Begin to fetch a URL into a file, of at most `limit` bytes."""

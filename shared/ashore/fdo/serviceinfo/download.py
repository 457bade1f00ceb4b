"""fdo.download: the owner gives the device a file.

Owner: name (text), length (uint), sha-384 (bytes), data (bytes, repeated). Device: done (int), the length once all
bytes are there and their hash is right, else -1.

The FSIM limits a piece of data to 1014 bytes. The hash is always sent: the C client answers -1 without it.
"""

import hashlib
from collections.abc import Callable
from typing import ClassVar, Final, NamedTuple

from ashore.fdo.serviceinfo import ServiceInfoError, StepFailedError, values
from ashore.fdo.serviceinfo.host import Host, HostError
from ashore.fdo.serviceinfo.modules import LONG, SOON, DeviceModule, Outlet, OwnerModule

MODULE: Final = "fdo.download"
CHUNK: Final = 1014
_FAILED: Final = -1


class Content(NamedTuple):
    """A file, with its hash."""

    data: bytes | memoryview
    sha384: bytes


Arrive = Callable[[], Content | None]
"""Gives a file that somebody fetches, None as long as it is on its way; raises StepFailedError if it will not come."""


class DownloadFile(OwnerModule):
    """Give the device a file. `content` may be a memory map; `sha384` saves reading it once more."""

    module: ClassVar[str] = MODULE

    def __init__(
        self,
        name: str,
        content: bytes | memoryview,
        *,
        sha384: bytes | None = None,
        optional: bool = False,
        may_fail: bool = False,
        patience: int = SOON,
    ) -> None:
        super().__init__(f"download {name}", optional=optional, may_fail=may_fail, patience=patience)
        self.outcome.file_name = name
        self._name = name
        self._content = memoryview(content)
        self._sha384 = sha384
        self._offset: int | None = None

    def produce(self, out: Outlet) -> None:
        """Send the head, then as much data as fits into each message."""
        if self._offset is None:
            out.put("name", self._name)
            out.put("length", len(self._content))
            out.put("sha-384", self._sha384 or hashlib.sha384(self._content).digest())
            self._offset = 0
            if not self._content:
                out.put("data", b"")
        self._send_data(out)

    def _send_data(self, out: Outlet) -> None:
        offset = self._offset or 0
        while length := out.piece("data", len(self._content) - offset, CHUNK):
            out.put("data", bytes(self._content[offset : offset + length]))
            offset += length
        self._offset = offset

    def receive(self, message: str, value: object) -> None:
        """Take the device's verdict."""
        if message != "done":
            return
        written = values.integer(value, "fdo.download:done", _FAILED)
        if written == len(self._content):
            self.succeed()
        elif written == _FAILED:
            self.fail(f"the device could not store {self._name}, or its hash was wrong")
        else:
            self.fail(f"the device stored {written} of {len(self._content)} bytes of {self._name}")

    def close(self, out: Outlet) -> None:
        """Let go of the content, so that a memory map can be closed."""
        self._content.release()
        super().close(out)

    def timed_out(self) -> None:
        """An empty file is never confirmed by the C client, which has made it nevertheless."""
        if self._content or not self.quirks.silent_when_empty:
            super().timed_out()
        else:
            self.succeed()


class DownloadLater(DownloadFile):
    """Give the device a file that the owner does not have yet. Until it is there the device waits, as for a program."""

    def __init__(self, name: str, arrive: Arrive, *, optional: bool = False, may_fail: bool = False) -> None:
        super().__init__(name, b"", optional=optional, may_fail=may_fail, patience=LONG)
        self._arrive: Arrive | None = arrive

    def produce(self, out: Outlet) -> None:
        """Say nothing until the file is there."""
        if self._arrive is not None:
            try:
                content = self._arrive()
            except StepFailedError as error:
                self.fail(error.reason)
                return
            if content is None:
                return
            self._content, self._sha384 = memoryview(content.data), content.sha384
            self._arrive, self.patience = None, SOON
        super().produce(out)


class DownloadDevice(DeviceModule):
    """Store files that the owner gives, each under a working name until its hash is known to be right."""

    name: ClassVar[str] = MODULE

    def __init__(self, host: Host) -> None:
        self._host = host
        self._forget()

    def _forget(self) -> None:
        self._target = ""
        self._error = ""
        self._length = 0
        self._expected = b""
        self._written = 0
        self._hash = hashlib.sha384()

    async def receive(self, message: str, value: object, out: Outlet) -> None:
        """Take a part of the file."""
        match message:
            case "name":
                self._take_name(value)
            case "length":
                self._length = values.integer(value, "fdo.download:length", 0)
            case "sha-384":
                self._expected = values.digest(value, "fdo.download:sha-384")
            case "data":
                await self._take_data(values.blob(value, "fdo.download:data"), out)
            case _:
                raise StepFailedError(f"fdo.download:{message} is not known here")

    async def reset(self) -> None:
        """Remove what was not completed."""
        if self._written:
            await self._remove()
        self._forget()

    def _take_name(self, value: object) -> None:
        if self._written:
            raise StepFailedError(f"fdo.download:name came while {self._target} is under way")
        try:
            self._target = values.name(value, "fdo.download:name")
        except ServiceInfoError as error:
            # The FSIM has an answer for a file that cannot be stored, so the onboarding need not end here.
            self._target, self._error = "", error.reason

    async def _take_data(self, data: bytes, out: Outlet) -> None:
        if not self._target and not self._error:
            raise StepFailedError("fdo.download:data came before fdo.download:name")
        self._hash.update(data)
        await self._store(data)
        self._written += len(data)
        if self._written >= self._length:
            out.put("done", await self._complete())
            self._forget()

    async def _store(self, data: bytes) -> None:
        if self._error or self._written + len(data) > self._length:
            return
        try:
            await self._host.write(self._part, data, append=self._written > 0)
        except HostError as error:
            self._error = str(error)

    async def _complete(self) -> int:
        wrong = self._written != self._length or self._expected not in (b"", self._hash.digest())
        if wrong or self._error:
            await self._remove()
            return _FAILED
        try:
            await self._host.rename(self._part, self._target)
        except HostError:
            await self._remove()
            return _FAILED
        return self._written

    async def _remove(self) -> None:
        if self._target:
            await self._host.remove(self._part)

    @property
    def _part(self) -> str:
        return f"{self._target}.part"

"""fdo.upload: the device gives the owner a file.

Owner: need-sha (bool), name (text). Device: length (uint), data (bytes, repeated), sha-384 (bytes). The Java device
sends the hash and the length after the data, and an empty piece at its end, so no order is expected.

The FSIM has no message for a file that is not there: such a device ends the onboarding.
"""

import hashlib
from typing import ClassVar, Final

from ashore.fdo.serviceinfo import StepFailedError, values
from ashore.fdo.serviceinfo.host import Host, HostError
from ashore.fdo.serviceinfo.modules import SOON, DeviceModule, Outlet, OwnerModule

MODULE: Final = "fdo.upload"
CHUNK: Final = 1014
DEFAULT_LIMIT: Final = 4 << 20


class UploadFile(OwnerModule):
    """Ask for a file of at most `limit` bytes; it is in `outcome.content` afterwards."""

    module: ClassVar[str] = MODULE

    def __init__(
        self,
        name: str,
        *,
        need_sha: bool = True,
        limit: int = DEFAULT_LIMIT,
        optional: bool = False,
        may_fail: bool = False,
        patience: int = SOON,
    ) -> None:
        super().__init__(f"upload {name}", optional=optional, may_fail=may_fail, patience=patience)
        self.outcome.file_name = name
        self._name = name
        self._need_sha = need_sha
        self._limit = limit
        self._asked = False
        self._length: int | None = None
        self._sha384: bytes | None = None
        self._content = bytearray()

    def produce(self, out: Outlet) -> None:
        """Ask once."""
        if not self._asked:
            out.put("need-sha", self._need_sha)
            out.put("name", self._name)
            self._asked = True

    def receive(self, message: str, value: object) -> None:
        """Take a part of the file."""
        if message == "length":
            self._length = values.integer(value, "fdo.upload:length", 0)
        elif message == "data":
            self._content += values.blob(value, "fdo.upload:data")
        elif message == "sha-384":
            self._sha384 = values.digest(value, "fdo.upload:sha-384")
        self._judge()

    def _judge(self) -> None:
        if max(self._length or 0, len(self._content)) > self._limit:
            self._content.clear()
            self.abandon(f"{self._name} is longer than {self._limit} bytes")
        elif self._length is None or (self._need_sha and self._sha384 is None):
            return
        elif len(self._content) > self._length:
            self.fail(f"the device announced {self._length} bytes of {self._name} and sent more")
        elif len(self._content) == self._length:
            self._complete()

    def _complete(self) -> None:
        if self._sha384 and hashlib.sha384(self._content).digest() != self._sha384:
            self.fail(f"the hash of {self._name} is not that of what arrived")
            return
        self.outcome.content = bytes(self._content)
        self.succeed()


class UploadDevice(DeviceModule):
    """Give the owner the files that it asks for."""

    name: ClassVar[str] = MODULE

    def __init__(self, host: Host) -> None:
        self._host = host
        self._need_sha = False
        self._source = ""
        self._length = 0
        self._offset = 0
        self._hash = hashlib.sha384()

    @property
    def busy(self) -> bool:
        """True while a file is under way."""
        return bool(self._source)

    async def receive(self, message: str, value: object, out: Outlet) -> None:
        """Begin a file."""
        match message:
            case "need-sha":
                self._need_sha = values.boolean(value, "fdo.upload:need-sha")
            case "name":
                await self._open(values.name(value, "fdo.upload:name"), out)
            case _:
                raise StepFailedError(f"fdo.upload:{message} is not known here")

    async def proceed(self, out: Outlet) -> None:
        """Send as much as fits into the message."""
        while length := out.piece("data", self._length - self._offset, CHUNK):
            await self._send(length, out)
        if self._source and self._offset == self._length:
            if self._need_sha:
                out.put("sha-384", self._hash.digest())
            await self.reset()

    async def reset(self) -> None:
        """Forget the file."""
        self._need_sha, self._source, self._length, self._offset = False, "", 0, 0
        self._hash = hashlib.sha384()

    async def _open(self, name: str, out: Outlet) -> None:
        if self._source:
            raise StepFailedError(f"fdo.upload of {name} was asked for while {self._source} is under way")
        try:
            self._length = await self._host.size(name)
        except HostError as error:
            raise StepFailedError(f"fdo.upload of {name}: {error}") from error
        self._source = name
        out.put("length", self._length)

    async def _send(self, length: int, out: Outlet) -> None:
        try:
            data = await self._host.read(self._source, self._offset, length)
        except HostError as error:
            raise StepFailedError(f"fdo.upload of {self._source}: {error}") from error
        if not data:
            raise StepFailedError(f"{self._source} became shorter while it was sent")
        self._offset += len(data)
        self._hash.update(data)
        out.put("data", data)

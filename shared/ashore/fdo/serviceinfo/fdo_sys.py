"""fdo_sys: write files, run programs, fetch files. Not an FSIM of the FIDO Alliance, but what C and Java devices have.

Owner: filedesc (text) begins a file, write (bytes) appends to it; exec ([text...]) runs a program to its end;
exec_cb ([text...]) starts one that the owner then asks about with status_cb ([done, exit code, seconds]); fetch (text)
asks for a file. Device: status_cb, data (bytes), eot ([0] or [1]).

filedesc, write and exec have no answer: a device that fails in them ends the onboarding. The owner's
`status_cb [true, ...]` acknowledges the end of a program, or ends one that still runs.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from ashore.fdo.serviceinfo import ServiceInfoError, StepFailedError, values
from ashore.fdo.serviceinfo.host import Host, HostError, Process
from ashore.fdo.serviceinfo.modules import LONG, SOON, DeviceModule, Outlet, OwnerModule

MODULE: Final = "fdo_sys"
DEFAULT_LIMIT: Final = 4 << 20
POLL_SECONDS: Final = 5
_LONGEST_POLL: Final = 60
_STATUS_FIELDS: Final = 3


class WriteFile(OwnerModule):
    """Write a file. It costs no round of its own, and is not confirmed."""

    module: ClassVar[str] = MODULE

    def __init__(self, name: str, content: bytes | memoryview, *, optional: bool = False) -> None:
        super().__init__(f"write {name}", optional=optional, may_fail=False, patience=SOON)
        self.outcome.file_name = name
        self._name = name
        self._content = memoryview(content)
        self._offset: int | None = None

    def produce(self, out: Outlet) -> None:
        """Send as much as fits into each message."""
        if self._offset is None:
            out.put("filedesc", self._name)
            self._offset = 0
        while length := out.piece("write", len(self._content) - self._offset):
            out.put("write", bytes(self._content[self._offset : self._offset + length]))
            self._offset += length
        if self._offset == len(self._content):
            self.sent()

    def close(self, out: Outlet) -> None:
        """Let go of the content, so that a memory map can be closed."""
        self._content.release()
        super().close(out)


class Exec(OwnerModule):
    """Run a program to its end, while the device says nothing; an exit code other than 0 ends the onboarding."""

    module: ClassVar[str] = MODULE

    def __init__(self, arguments: Sequence[str], *, optional: bool = False) -> None:
        super().__init__(f"exec {arguments[0]}", optional=optional, may_fail=False, patience=SOON)
        self.arguments = list(arguments)
        self._asked = False

    def produce(self, out: Outlet) -> None:
        """Ask; that the device comes back for more is the only sign of success."""
        if self._asked:
            self.outcome.exit_code = 0
            self.succeed()
        else:
            out.put("exec", self.arguments)
            self._asked = True


class ExecPolled(OwnerModule):
    """Start a program and ask after it every `poll_seconds`, at most `polls` times, after which it is stopped."""

    module: ClassVar[str] = MODULE

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        poll_seconds: int = POLL_SECONDS,
        polls: int = LONG // POLL_SECONDS,
        optional: bool = False,
        may_fail: bool = False,
    ) -> None:
        super().__init__(f"exec {arguments[0]}", optional=optional, may_fail=may_fail, patience=SOON)
        self.arguments = list(arguments)
        self._poll_seconds = poll_seconds
        self._polls_left = polls
        self._asked = False
        self._answered = False

    def produce(self, out: Outlet) -> None:
        """Start the program, then ask once for each answer."""
        if not self._asked:
            out.put("exec_cb", self.arguments)
            self._asked = True
        elif self._answered and self._polls_left > 0:
            self._polls_left -= 1
            self._answered = False
            out.put("status_cb", [False, 0, self._poll_seconds])
        elif self._answered:
            out.put("status_cb", [True, 0, 0])
            self.fail("the program did not end in time and was stopped")

    def receive(self, message: str, value: object) -> None:
        """Take the program's state."""
        if message != "status_cb":
            return
        done, code, _ = _status(value)
        self._answered = True
        if done:
            self.outcome.exit_code = code
            if code == 0:
                self.succeed()
            else:
                self.fail(f"exit code {code}")

    def close(self, out: Outlet) -> None:
        """Acknowledge the end."""
        if self.outcome.exit_code is not None:
            out.put("status_cb", [True, self.outcome.exit_code, 0])
        super().close(out)


class FetchFile(OwnerModule):
    """Ask for a file of at most `limit` bytes; it is in `outcome.content` afterwards."""

    module: ClassVar[str] = MODULE

    def __init__(
        self, name: str, *, limit: int = DEFAULT_LIMIT, optional: bool = False, may_fail: bool = False
    ) -> None:
        super().__init__(f"fetch {name}", optional=optional, may_fail=may_fail, patience=SOON)
        self.outcome.file_name = name
        self._name = name
        self._limit = limit
        self._asked = False
        self._content = bytearray()

    def produce(self, out: Outlet) -> None:
        """Ask once."""
        if not self._asked:
            out.put("fetch", self._name)
            self._asked = True

    def receive(self, message: str, value: object) -> None:
        """Take a piece, or the end."""
        if message == "data":
            self._content += values.blob(value, "fdo_sys:data")
            if len(self._content) > self._limit:
                self._content.clear()
                self.abandon(f"{self._name} is longer than {self._limit} bytes")
        elif message == "eot":
            status = values.array(value, "fdo_sys:eot")
            if not status or values.integer(status[0], "the status in fdo_sys:eot") != 0:
                self.fail(f"the device has no file {self._name}, or it is empty")
            else:
                self.outcome.content = bytes(self._content)
                self.succeed()

    def close(self, out: Outlet) -> None:
        """Silence the C client, which would otherwise repeat its failure in every message to come (measured)."""
        if self.quirks.repeats_eot and self.outcome.content is None:
            out.put("status_cb", [True, 0, 0])
        super().close(out)


class FdoSysDevice(DeviceModule):
    """Write, run and fetch. `lifetime`: seconds after which a program is killed."""

    name: ClassVar[str] = MODULE

    def __init__(self, host: Host, *, lifetime: float = 7200.0) -> None:
        self._host = host
        self._lifetime = lifetime
        self._target = ""
        self._process: Process | None = None
        self._source = ""
        self._offset = 0
        self._length = 0

    @property
    def busy(self) -> bool:
        """True while a file is under way."""
        return bool(self._source)

    async def receive(self, message: str, value: object, out: Outlet) -> None:
        """Do one thing; an error in it ends the onboarding."""
        try:
            await self._obey(message, value, out)
        except HostError as error:
            raise StepFailedError(f"fdo_sys:{message}: {error}") from error

    async def _obey(self, message: str, value: object, out: Outlet) -> None:
        what = f"fdo_sys:{message}"
        match message:
            case "filedesc":
                self._target = values.name(value, what)
                await self._host.write(self._target, b"", append=False)
            case "write":
                await self._write(values.blob(value, what))
            case "exec":
                await self._run_to_end(_arguments(value, what))
            case "exec_cb":
                await self._start(_arguments(value, what), out)
            case "status_cb":
                await self._report(value, out)
            case "fetch":
                await self._open(values.name(value, what), out)
            case _:
                raise StepFailedError(f"{what} is not known here")

    async def proceed(self, out: Outlet) -> None:
        """Send as much of a file as fits into the message."""
        while self._source and (length := out.piece("data", self._length - self._offset)):
            data = await self._read(length)
            if data:
                self._offset += len(data)
                out.put("data", data)
            else:
                self._end_file(1, out)
        if self._source and self._offset == self._length:
            self._end_file(0, out)

    async def reset(self) -> None:
        """Stop what runs."""
        if self._process is not None:
            await self._process.kill()
        self._process = None
        self._target = self._source = ""

    async def _write(self, data: bytes) -> None:
        if not self._target:
            raise StepFailedError("fdo_sys:write came before fdo_sys:filedesc")
        await self._host.write(self._target, data, append=True)

    async def _run_to_end(self, arguments: list[str]) -> None:
        self._process = process = await self._host.run(arguments, lifetime=self._lifetime)
        while (code := (await process.wait(_LONGEST_POLL)).exit_code) is None:
            pass
        self._process = None
        if code != 0:
            raise StepFailedError(f"{arguments[0]} ended with exit code {code}")

    async def _start(self, arguments: list[str], out: Outlet) -> None:
        if self._process is not None:
            raise StepFailedError("fdo_sys:exec_cb came while a program is running")
        self._process = await self._host.run(arguments, lifetime=self._lifetime)
        out.put("status_cb", [False, 0, POLL_SECONDS])

    async def _report(self, value: object, out: Outlet) -> None:
        done, _, seconds = _status(value)
        if done:
            if self._process is not None:
                await self._process.kill()
            self._process = None
        elif self._process is not None:
            code = (await self._process.wait(min(seconds, _LONGEST_POLL))).exit_code
            if code is None:
                out.put("status_cb", [False, 0, seconds])
            else:
                self._process = None
                out.put("status_cb", [True, code, 0])

    async def _open(self, name: str, out: Outlet) -> None:
        self._source, self._offset = name, 0
        try:
            self._length = await self._host.size(name)
        except HostError:
            self._end_file(1, out)

    async def _read(self, length: int) -> bytes:
        try:
            return await self._host.read(self._source, self._offset, length)
        except HostError:
            return b""

    def _end_file(self, status: int, out: Outlet) -> None:
        self._source = ""
        out.put("eot", [status])


def _status(value: object) -> tuple[bool, int, int]:
    """`[done, exit code, seconds]`."""
    what = "fdo_sys:status_cb"
    fields = values.array(value, what)
    if len(fields) != _STATUS_FIELDS:
        raise ServiceInfoError(f"{what} has {len(fields)} fields, not 3")
    done, code, seconds = fields
    return values.boolean(done, what), values.integer(code, what), values.integer(seconds, what, 0)


def _arguments(value: object, what: str) -> list[str]:
    arguments = values.texts(value, what)
    if not arguments or not arguments[0]:
        raise StepFailedError(f"{what} names no program")
    return arguments

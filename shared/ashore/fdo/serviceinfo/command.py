"""fdo.command: run a program on the device, and learn its exit code and output.

Owner: command (text), args ([text...] wrapped in a byte string), may_fail, return_stdout, return_stderr (bool),
execute (null), sig (uint). Device: stdout, stderr (bytes), exitcode (int).

By the FSIM a device ends the onboarding when a program fails, unless `may_fail` is set. The owner here always sets it
and judges by itself: that way the exit code and the output of a failure are known. Go, C and Java devices end the
onboarding nevertheless; `_shielded` tells what is done about it.
"""

from collections.abc import Sequence
from typing import ClassVar, Final

from ashore import cbor
from ashore.fdo.serviceinfo import ServiceInfoError, StepFailedError, values
from ashore.fdo.serviceinfo.host import Host, HostError, Process
from ashore.fdo.serviceinfo.modules import LONG, DeviceModule, Outlet, OwnerModule
from ashore.fdo.serviceinfo.quirks import Quirks

MODULE: Final = "fdo.command"
OUTPUT_LIMIT: Final = 256 << 10
_MARK: Final = b"\nashore-exit-code:"
_TAIL: Final = 64
_NOT_FOUND: Final = 127
_LARGEST_SIGNAL: Final = 64


class RunCommand(OwnerModule):
    """Run a program; its output goes into the outcome, at most `output_limit` bytes of each stream."""

    module: ClassVar[str] = MODULE

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        return_stdout: bool = True,
        return_stderr: bool = True,
        output_limit: int = OUTPUT_LIMIT,
        optional: bool = False,
        may_fail: bool = False,
        patience: int = LONG,
    ) -> None:
        super().__init__(f"run {arguments[0]}", optional=optional, may_fail=may_fail, patience=patience)
        self.arguments = list(arguments)
        self._return_stdout = return_stdout
        self._return_stderr = return_stderr
        self._output_limit = output_limit
        self._asked = False
        self._is_shielded = False
        self._tail = b""

    def begin(self, quirks: Quirks) -> None:
        """Fit the command to the kind of device."""
        if quirks.failure_is_fatal and quirks.has_shell and (quirks.returns_output or self.may_fail):
            self.arguments = _shielded(self.arguments, reports=quirks.returns_output)
            self._is_shielded = True
        elif quirks.needs_arguments and len(self.arguments) == 1:
            self.arguments = ["env", *self.arguments]
        super().begin(quirks)

    def produce(self, out: Outlet) -> None:
        """Ask once."""
        if self._asked:
            return
        command, *arguments = self.arguments
        out.put("command", command)
        out.put("args", arguments if self.quirks.plain_arguments else cbor.dumps(arguments))
        out.put("may_fail", value=True)
        if self._return_stdout or (self._is_shielded and self.quirks.returns_output):
            out.put("return_stdout", value=True)
        if self._return_stderr:
            out.put("return_stderr", value=True)
        out.put("execute", [] if self.quirks.plain_arguments else None)
        self._asked = True

    def receive(self, message: str, value: object) -> None:
        """Take output, or the end."""
        match message:
            case "stdout":
                self._take_stdout(self._line(values.blob(value, "fdo.command:stdout")))
            case "stderr":
                self.outcome.stderr = self._grown(
                    self.outcome.stderr, self._line(values.blob(value, "fdo.command:stderr"))
                )
            case "exitcode":
                self._end(values.integer(value, "fdo.command:exitcode"))

    def _line(self, data: bytes) -> bytes:
        return data[:-1] if self.quirks.doubles_newlines and data.endswith(b"\n\n") else data

    def _take_stdout(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        if self._return_stdout:
            self.outcome.stdout = self._grown(self.outcome.stdout, data)

    def _grown(self, output: bytes, data: bytes) -> bytes:
        if len(output) + len(data) > self._output_limit:
            self.outcome.truncated = True
        return output + data[: max(0, self._output_limit - len(output))]

    def _end(self, code: int) -> None:
        self.outcome.exit_code = self._true_code() if self._is_shielded else code
        if self.outcome.exit_code:
            self.fail(f"exit code {self.outcome.exit_code}")
        elif self.outcome.exit_code is None and self.quirks.returns_output:
            self.fail("the exit code was not reported: the program or its shell was killed")
        else:
            self.succeed()

    def _true_code(self) -> int | None:
        _, mark, code = self._tail.rpartition(_MARK)
        if not mark or not code.strip().isdigit():
            return None
        if _MARK in self.outcome.stdout:
            self.outcome.stdout = self.outcome.stdout.rpartition(_MARK)[0]
        return int(code)


def _shielded(arguments: Sequence[str], *, reports: bool) -> list[str]:
    """Wrap a command so that it always ends well for the device, and says its true exit code on stdout if it can.

    Without this a failing program ends the onboarding of a Go device without any message, so that nobody learns why;
    and neither the Go, the C nor the Java device would heed `may_fail`.
    """
    report = f"printf '\\n{_MARK.decode().strip()}%d\\n' $?" if reports else "exit 0"
    return ["/bin/sh", "-c", f'"$@";{report}', "sh", *arguments]


class CommandDevice(DeviceModule):
    """Run programs, one at a time.

    `lifetime`: seconds after which a program is killed; `patience`: seconds that one message may be held back while a
    program runs, so that owner and device do not exchange empty messages at full speed.
    """

    name: ClassVar[str] = MODULE

    def __init__(self, host: Host, *, lifetime: float = 3600.0, patience: float = 5.0) -> None:
        self._host = host
        self._lifetime = lifetime
        self._patience = patience
        self._process: Process | None = None
        self._forget()

    def _forget(self) -> None:
        self._command = ""
        self._arguments: list[str] = []
        self._flags: set[str] = set()
        self._output = {"stdout": b"", "stderr": b""}
        self._code: int | None = None
        self._process = None

    @property
    def busy(self) -> bool:
        """True while output waits that did not fit."""
        return any(self._output.values())

    async def receive(self, message: str, value: object, out: Outlet) -> None:  # noqa: ARG002 (answers come later)
        """Take a part of the order; `execute` begins it."""
        what = f"fdo.command:{message}"
        match message:
            case "command":
                await self.reset()
                self._command = values.text(value, what)
            case "args":
                self._arguments = values.texts(_unwrapped(value), what)
            case "may_fail" | "return_stdout" | "return_stderr":
                self._flags -= {message}
                self._flags |= {message} if values.boolean(value, what) else set()
            case "execute":
                await self._execute()
            case "sig":
                await self._signal(values.integer(value, what, 1, _LARGEST_SIGNAL))
            case _:
                raise StepFailedError(f"{what} is not known here")

    async def proceed(self, out: Outlet) -> None:
        """Send output and, at the end, the exit code.

        At most one piece of each stream goes into a message: the Go owner takes no more.
        """
        if self._process is not None and not self.busy:
            progress = await self._process.wait(self._patience)
            self._keep(progress.stdout, progress.stderr)
            if progress.exit_code is not None:
                self._code, self._process = progress.exit_code, None
        for stream, data in self._output.items():
            room = out.room(stream)
            if data and room:
                out.put(stream, data[:room])
                self._output[stream] = data[room:]
        if self._code is not None and not self.busy:
            self._end(self._code, out)

    async def reset(self) -> None:
        """Kill what runs."""
        if self._process is not None:
            await self._process.kill()
        self._forget()

    async def _execute(self) -> None:
        if not self._command or self._process is not None or self._code is not None:
            raise StepFailedError("fdo.command:execute came without a command, or twice")
        try:
            self._process = await self._host.run([self._command, *self._arguments], lifetime=self._lifetime)
        except HostError as error:
            self._code = _NOT_FOUND
            self._keep(b"", str(error).encode())

    async def _signal(self, number: int) -> None:
        if self._process is not None:
            await self._process.signal(number)

    def _keep(self, stdout: bytes, stderr: bytes) -> None:
        for stream, data in (("stdout", stdout), ("stderr", stderr)):
            if f"return_{stream}" in self._flags:
                self._output[stream] += data

    def _end(self, code: int, out: Outlet) -> None:
        command, may_fail = self._command, "may_fail" in self._flags
        self._forget()
        if code != 0 and not may_fail:
            raise StepFailedError(f"{command} ended with exit code {code}")
        out.put("exitcode", code)


def _unwrapped(value: object) -> object:
    """Arguments as an array, whether or not wrapped in a byte string as the FSIM has it."""
    if not isinstance(value, bytes):
        return value
    try:
        return cbor.loads(value)
    except cbor.CborError as error:
        raise ServiceInfoError(f"fdo.command:args is not CBOR: {error}") from error

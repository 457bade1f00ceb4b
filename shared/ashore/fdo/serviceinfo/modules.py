"""What every module has in common: `OwnerModule` is one step of a profile, `DeviceModule` the device's counterpart.

An owner's module object is one run of one step: it is made from plain data for one onboarding, and thrown away with
it. What became of the step is in its `outcome`. A device's module object lives as long as the conversation and serves
any number of steps.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal

import msgspec

from ashore import cbor
from ashore.fdo.serviceinfo.chunking import VALUE_LIMIT, Queue, string_room
from ashore.fdo.serviceinfo.quirks import STANDARD, Quirks

SOON: Final = 10
"""Rounds without a word that a step waits for an answer which the device can give at once."""
LONG: Final = 3600
"""The same where the device works: about an hour, when the reply is held back as `OwnerTurn.pause` suggests."""

_SMALLEST_PIECE: Final = 64

State = Literal["pending", "running", "sent", "done", "failed", "skipped"]


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one step."""

    module: str
    description: str
    state: State = "pending"
    """`sent`: all was sent, but the device has not yet come back, which would show that it did not fail."""
    exit_code: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    file_name: str | None = None
    content: bytes | None = None
    """The content of a file that the device sent."""
    truncated: bool = False
    """Output or content was longer than its limit, and cut."""
    error: str | None = None


class Outlet:
    """A module's way to the queue: it encodes values, and knows how much the current message still takes."""

    def __init__(self, queue: Queue, module: str) -> None:
        self._queue = queue
        self._module = module

    def put(self, message: str, value: object) -> None:
        """Send one value."""
        self._queue.put(f"{self._module}:{message}", cbor.dumps(value))

    def room(self, message: str) -> int:
        """Bytes of the longest byte string that the current message still takes."""
        return string_room(self._queue.room(f"{self._module}:{message}"))

    def piece(self, message: str, left: int, longest: int = VALUE_LIMIT) -> int:
        """Bytes of the next piece of a file of which so much is left; 0 when the message is as good as full."""
        if not left:
            return 0
        length = min(self.room(message), left, longest)
        return length if length >= min(left, _SMALLEST_PIECE) else 0


class OwnerModule(ABC):
    """One step that the owner asks of a device.

    `optional`: a device that lacks the module is no failure. `may_fail`: no failure of this step ends the onboarding.
    `patience`: rounds in which the device says nothing about the step, after which it has failed.
    """

    module: ClassVar[str]

    def __init__(self, description: str, *, optional: bool, may_fail: bool, patience: int) -> None:
        self.outcome = Outcome(module=self.module, description=description)
        self.optional = optional
        self.may_fail = may_fail
        self.patience = patience
        self.arguments: list[str] = []
        self.finished = False
        self.abandoned = False
        self.quirks = STANDARD

    def begin(self, quirks: Quirks) -> None:
        """Prepare for this kind of device; `fail` when the step cannot be done with it."""
        self.quirks = quirks
        if len((self.outcome.file_name or "").encode()) > quirks.max_name:
            self.fail(f"the device takes file names of at most {quirks.max_name} bytes; choose a shorter one")
        if max((len(argument.encode()) for argument in self.arguments), default=0) > quirks.max_argument:
            self.fail(f"the device takes arguments of at most {quirks.max_argument} bytes; write a script and run that")

    @abstractmethod
    def produce(self, out: Outlet) -> None:
        """Send what can be sent now; called in every round until the step is finished."""

    def receive(self, message: str, value: object) -> None:
        """Take an answer. What a step does not know is ignored: peers add messages of their own."""

    def timed_out(self) -> None:
        """Decide what silence means."""
        self.abandon(f"the device said nothing about it for {self.patience} rounds")

    def close(self, out: Outlet) -> None:
        """Send what the device must hear after the step; called once, when it is finished."""
        if self.abandoned:
            out.put("active", value=False)

    def sent(self) -> None:
        """Finish without an answer: that the device comes back shall be enough."""
        self.outcome.state, self.finished = "sent", True

    def succeed(self) -> None:
        """Finish well."""
        self.outcome.state, self.finished = "done", True

    def fail(self, error: str) -> None:
        """Finish badly; whether the onboarding goes on is not decided here."""
        self.outcome.state, self.outcome.error, self.finished = "failed", error, True

    def abandon(self, error: str) -> None:
        """Finish badly while the device still works: its module is stopped, lest a late answer reach a later step."""
        self.abandoned = True
        self.fail(error)

    def skip(self, reason: str) -> None:
        """Finish without having begun."""
        self.outcome.state, self.outcome.error, self.finished = "skipped", reason, True


class DeviceModule:
    """A module on the device. Raise StepFailedError to end the onboarding, as the FSIM texts demand in places."""

    name: ClassVar[str]

    @property
    def busy(self) -> bool:
        """True while the module has more to say at once: the device then announces more service info."""
        return False

    async def receive(self, message: str, value: object, out: Outlet) -> None:
        """Take one message of the owner, other than `active`."""

    async def proceed(self, out: Outlet) -> None:
        """Say what there is to say, after all the owner's messages were taken and when the line is free."""

    async def reset(self) -> None:
        """Forget everything and stop whatever runs: the owner deactivated the module, or the conversation is over."""

"""The owner's side of the service info exchange: DeviceServiceInfo(68) -> OwnerServiceInfo(69).

1. The device introduces itself; while it has more to say it gets empty answers.
2. Steps run in their order. Each step's module is activated once. What needs no answer (writing a file) is sent
   together with the next step; what needs one ends the burst, and the next step waits for it.
3. When all is over a last message says so, with no items in it: what a device answers to a message that carries both
   items and IsDone is lost (seen with the Go library).

Nothing is waited for endlessly: rounds are counted, for each step and for the whole conversation.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ashore.fdo.serviceinfo import DeviceTurn, OwnerTurn, ServiceInfoError, StepFailedError, message_size, values
from ashore.fdo.serviceinfo import devmod as devmod_module
from ashore.fdo.serviceinfo.chunking import OWNER_FRAMING, Joiner, Queue
from ashore.fdo.serviceinfo.devmod import Devmod, DevmodReader
from ashore.fdo.serviceinfo.modules import Outcome, Outlet, OwnerModule
from ashore.fdo.serviceinfo.quirks import STANDARD, Quirks, quirks_of

_ACTIVE: Final = "active"
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
_DOUBLINGS: Final = 6


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a device may take of the owner, in counts, for there is no clock here."""

    rounds: int = 1_000_000
    """Messages of one conversation; the Go and the C client end it at the same number."""
    devmod_rounds: int = 100
    active_rounds: int = 3
    """Rounds without a confirmation after which a module counts as active."""
    items: int = 1000
    """Key-values of one message."""
    value: int = 65_535
    """Bytes of one CBOR item."""
    received: int = 256 << 20
    """Bytes of all values together."""


def _demand(step: OwnerModule) -> None:
    if step.outcome.state == "failed" and not step.may_fail:
        raise StepFailedError(f"{step.outcome.description}: {step.outcome.error}")


def _quirks(facts: Devmod) -> Quirks:
    return quirks_of(facts.device, facts.modules, facts.os)


class OwnerConversation:
    """One onboarding's service info, from the owner.

    `max_size` is what the device announced in message 66. With `eager`, the first items of a step follow the
    activation of its module in the same message when the device lists the module, as other owners do too; otherwise
    the device's confirmation is awaited. Where `modules` is None, `plan` gives them once `devmod` is known.
    """

    def __init__(
        self,
        modules: Sequence[OwnerModule] | None,
        max_size: int | None,
        *,
        limits: Limits | None = None,
        eager: bool = True,
    ) -> None:
        self._limits = limits or Limits()
        self._eager = eager
        self._steps = list(modules or ())
        self._planned = modules is not None
        self._device_has_more = False
        self._index = 0
        self._queue = Queue(message_size(max_size), OWNER_FRAMING)
        self._joiner = Joiner(max_items=self._limits.items, max_value=self._limits.value)
        self._reader = DevmodReader()
        self._quirks: Quirks = STANDARD
        self._active: dict[str, bool | None] = {}
        self._rounds = 0
        self._received = 0
        self._quiet = 0
        self._finished = False

    @property
    def devmod(self) -> Devmod | None:
        """The device's introduction, once it is complete."""
        return self._reader.result if self._reader.complete else None

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of each step, also of those that were never reached."""
        return [step.outcome for step in self._steps]

    @property
    def finished(self) -> bool:
        """True once the device was told that all is done."""
        return self._finished

    @property
    def planned(self) -> bool:
        """True once the steps are known."""
        return self._planned

    def plan(self, modules: Sequence[OwnerModule]) -> None:
        """Give the steps, where they were to depend on the device's introduction."""
        self._steps = list(modules)
        self._planned = True

    def step(self, turn: DeviceTurn) -> OwnerTurn:
        """Take one message 68 and give the 69: `hear`, then `speak`."""
        self.hear(turn)
        return self.speak()

    def hear(self, turn: DeviceTurn) -> None:
        """Take one message 68.

        Raise StepFailedError when a step fails that must not, and ServiceInfoError when the device does not keep to
        the rules; both end the onboarding.
        """
        self._count()
        introducing = not self._reader.complete
        self._hear(turn)
        self._device_has_more = turn.is_more
        if turn.is_more:
            self._demand_current()
            return
        self._joiner.finish()
        if introducing and self._reader.complete:
            self._quirks = _quirks(self._reader.result)

    def speak(self) -> OwnerTurn:
        """Give the 69: nothing while the device has more to say, or the steps are not known yet."""
        if self._device_has_more or not self._reader.complete or not self._planned:
            return OwnerTurn()
        if not self._queue:
            # All that was meant for the device is with it, and it has come back.
            self._confirm()
            self._produce()
        return self._reply()

    def _count(self) -> None:
        self._rounds += 1
        if self._finished:
            raise ServiceInfoError("the device goes on after the owner was done")
        if self._rounds > self._limits.rounds:
            raise ServiceInfoError(f"service info did not end within {self._limits.rounds} rounds")
        if self._rounds > self._limits.devmod_rounds and not self._reader.complete:
            raise ServiceInfoError(f"devmod was not complete after {self._limits.devmod_rounds} rounds")

    def _hear(self, turn: DeviceTurn) -> None:
        self._quiet += 1
        self._received += sum(len(value) for _, value in turn.items)
        if self._received > self._limits.received:
            raise ServiceInfoError(f"the device sent more than {self._limits.received} bytes of service info")
        for module, message, value in self._joiner.feed(turn.items):
            if module == devmod_module.MODULE:
                if not self._reader.complete:
                    self._reader.receive(message, value)
            elif message == _ACTIVE:
                self._answered(module, active=values.boolean(value, f"{module}:active"))
            elif (step := self._running()) is not None and step.module == module:
                self._quiet = 0
                step.receive(message, value)

    def _demand_current(self) -> None:
        """End it now if the step is lost: a device could go on to say more for hours."""
        if self._index < len(self._steps):
            _demand(self._steps[self._index])

    def _answered(self, module: str, *, active: bool) -> None:
        if module not in self._active:
            return
        self._active[module] = active
        step = self._running()
        if not active and step is not None and step.module == module:
            self._refuse(step, f"the device refused to activate {module}")

    def _running(self) -> OwnerModule | None:
        step = self._steps[self._index] if self._index < len(self._steps) else None
        return step if step is not None and step.outcome.state == "running" and not step.finished else None

    def _confirm(self) -> None:
        for step in self._steps[: self._index]:
            if step.outcome.state == "sent":
                step.outcome.state = "done"

    def _produce(self) -> None:
        while (step := self._upcoming()) is not None:
            if not self._activated(step):
                return
            if self._quiet > step.patience:
                step.timed_out()
            if not step.finished:
                step.produce(Outlet(self._queue, step.module))
            if not step.finished:
                return

    def _upcoming(self) -> OwnerModule | None:
        """Settle what is finished and give the first step that is not, begun."""
        while self._index < len(self._steps):
            step = self._steps[self._index]
            if step.outcome.state == "pending":
                self._begin(step)
            if not step.finished:
                return step
            self._index += 1
            self._close(step)
            _demand(step)
            if step.abandoned:
                # The Go library joins `active` false and true of one message, and takes only the first.
                return None
        return None

    def _begin(self, step: OwnerModule) -> None:
        step.outcome.state = "running"
        self._quiet = 0
        if step.module not in self._reader.result.modules:
            self._refuse(step, f"the device does not offer {step.module}")
        elif self._active.get(step.module) is False:
            self._refuse(step, f"the device refused to activate {step.module}")
        else:
            step.begin(self._quirks)

    def _refuse(self, step: OwnerModule, reason: str) -> None:
        if step.optional:
            step.skip(reason)
        else:
            step.fail(reason)

    def _activated(self, step: OwnerModule) -> bool:
        if step.module not in self._active:
            Outlet(self._queue, step.module).put(_ACTIVE, value=True)
            self._active[step.module] = None
            self._quiet = 0
        if self._active[step.module] is None and not self._eager and self._quirks.answers_active:
            if self._quiet < self._limits.active_rounds:
                return False
            self._active[step.module] = True
        return True

    def _close(self, step: OwnerModule) -> None:
        if step.module in self._active:
            step.close(Outlet(self._queue, step.module))
        if step.abandoned:
            del self._active[step.module]

    def _reply(self) -> OwnerTurn:
        items, is_fragment = self._queue.pack()
        if items:
            self._quiet = 0
            return OwnerTurn(is_more=is_fragment, items=items)
        if self._index == len(self._steps):
            self._finished = True
            return OwnerTurn(is_done=True)
        if not self._quiet:
            # It is in the midst of telling, as the C client with a file: each of its messages seems to be the last.
            return OwnerTurn()
        return OwnerTurn(pause=min(_FIRST_PAUSE * 2 ** min(self._quiet, _DOUBLINGS), _LONGEST_PAUSE))

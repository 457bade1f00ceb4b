"""The device's side of the service info exchange: OwnerServiceInfo(69) -> DeviceServiceInfo(68).

The device begins with devmod. Then it does what the owner asks, message by message. While the owner has more to say
the answers are kept back and empty messages sent; while the device itself has more to say it announces so.

An unknown module is answered with `active` false and otherwise ignored, and so are messages to a module which the
owner has not activated (FDO 1.1, section 3.8.3.1).
"""

from collections.abc import Sequence
from typing import Final

from ashore.fdo.serviceinfo import DeviceTurn, OwnerTurn, ServiceInfoError, message_size, values
from ashore.fdo.serviceinfo import devmod as devmod_module
from ashore.fdo.serviceinfo.chunking import DEVICE_FRAMING, Joiner, Queue
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.modules import DeviceModule, Outlet

MAX_ROUNDS: Final = 1_000_000


class DeviceConversation:
    """One onboarding's service info, from the device. `max_size` is what the owner announced in message 67."""

    def __init__(
        self,
        modules: Sequence[DeviceModule],
        facts: Devmod,
        max_size: int | None,
        *,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self._modules = {module.name: module for module in modules}
        self._facts = facts
        self._queue = Queue(message_size(max_size), DEVICE_FRAMING)
        self._joiner = Joiner()
        self._active: set[str] = set()
        self._rounds_left = max_rounds
        self._behind = False

    def start(self) -> DeviceTurn:
        """Introduce the device: the first message 68."""
        devmod_module.introduce(self._facts, tuple(self._modules), Outlet(self._queue, devmod_module.MODULE))
        return self._speak()

    async def step(self, turn: OwnerTurn) -> DeviceTurn:
        """Take one message 69 and give the next 68; after one with `is_done` the conversation is over.

        Raise StepFailedError when a module cannot do what it must, and ServiceInfoError when the owner does not keep
        to the rules. Both end the onboarding; call `close` in any case.
        """
        self._rounds_left -= 1
        if self._rounds_left < 0:
            raise ServiceInfoError("service info did not end within its rounds")
        if turn.is_more and turn.is_done:
            raise ServiceInfoError("the owner has more to say and is done")
        for module, message, value in self._joiner.feed(turn.items):
            await self._receive(module, message, value)
        if turn.is_more:
            return DeviceTurn()
        self._joiner.finish()
        if not self._behind and not turn.is_done:
            await self._proceed()
        return self._speak()

    async def close(self) -> None:
        """Stop whatever still runs."""
        for module in self._modules.values():
            await module.reset()

    async def _receive(self, name: str, message: str, value: object) -> None:
        module = self._modules.get(name)
        if message == "active":
            await self._activate(name, module, wanted=values.boolean(value, f"{name}:active"))
        elif module is not None and name in self._active:
            await module.receive(message, value, Outlet(self._queue, name))

    async def _activate(self, name: str, module: DeviceModule | None, *, wanted: bool) -> None:
        if module is None or wanted:
            Outlet(self._queue, name).put("active", module is not None)
        if module is None:
            return
        if wanted:
            self._active.add(name)
        else:
            self._active.discard(name)
            await module.reset()

    async def _proceed(self) -> None:
        for name in self._modules:
            if name in self._active:
                await self._modules[name].proceed(Outlet(self._queue, name))

    def _speak(self) -> DeviceTurn:
        items, _ = self._queue.pack()
        self._behind = bool(self._queue)
        busy = any(module.busy for name, module in self._modules.items() if name in self._active)
        return DeviceTurn(is_more=self._behind or busy, items=items)

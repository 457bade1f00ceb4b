"""Compares the slots of this node with its containers and with what the launcher believes, again and again.

So what was left behind is given back, through whichever resource it was claimed; what containers have and nobody knows
of, after a restart or after this node was given up for lost, is claimed again; nothing is claimed twice.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from ashore.slots import Held
from ashore_device_plugin.allocating import Allocator
from ashore_device_plugin.claims import Claim, Claims, Used, instance_slot
from ashore_device_plugin.health import Health, in_short
from ashore_device_plugin.instances import Instances, Key
from ashore_device_plugin.kubelet.containers import Containers
from ashore_device_plugin.launcher import Launcher, LauncherAwayError, RefusedError
from ashore_device_plugin.names import PREFIX, Names, Owner
from ashore_device_plugin.remembering import Memory

_AWAY: Final = "launcher"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Reclaimer:
    """Looks every few seconds, and at once when there is something to tell."""

    def __init__(
        self,
        allocator: Allocator,
        claims: Claims,
        instances: Instances,
        names: Names,
        *,
        launcher: Launcher,
        containers: Containers,
        memory: Memory,
        health: Health,
        clock: Callable[[], float],
        unused_seconds: float,
    ) -> None:
        self.untold = asyncio.Event()
        """Set when the launcher is to be told of a claim."""
        self._back = False
        """Whether a device is back that containers had: they may be gone, so they are looked at first."""
        self._allocator = allocator
        self._claims = claims
        self._instances = instances
        self._names = names
        self._launcher = launcher
        self._containers = containers
        self._memory = memory
        self._health = health
        self._clock = clock
        self._unused_seconds = unused_seconds
        self._refusals: dict[str, str] = {}

    async def keep(self, seconds: float) -> None:
        """Look and tell, for ever."""
        due = self._clock() + seconds
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - self._clock())):
                    await self.untold.wait()
            self.untold.clear()
            if self._clock() < due and not self._back:
                await self._tell()
            else:
                await self.look()
                due = self._clock() + seconds

    async def begin(self) -> None:
        """Find out what an earlier run has left; when all instances are known."""
        self._claims.restore(self._memory.read())
        await self.look()

    def welcome(self) -> None:
        """A device is back that containers had."""
        self._back = True
        self.untold.set()

    async def look(self) -> None:
        """Look once."""
        self._back = False
        used = await self._containers.used()
        async with self._allocator.lock:
            held, before = await self._held(), self._claims.known()
            if used is not None:
                self._claims.look(used, self._clock(), self._has_resource)
            if held is not None:
                self._claims.compare(held)
            if used is not None:
                self._find(used)
            self._say(before)
            if held is not None:
                await self._free()
        if held is not None:
            self._refusals.clear()
            await self._tell()
        self._memory.write(self._claims.given())

    def _has_resource(self, owner: Owner) -> bool:
        """While its devices are away nobody has it."""
        return self._names.holder(owner.resource) in (owner, None)

    def _say(self, before: Mapping[tuple[Key, int, str], Claim]) -> None:
        after = self._claims.known()
        for one in before.keys() ^ after.keys():
            self._allocator.changed(before.get(one) or after[one])

    async def _held(self) -> list[Held] | None:
        try:
            held = await self._launcher.usage()
        except LauncherAwayError as error:
            self._health.say(_AWAY, str(error))
            return None
        self._health.say(_AWAY, "")
        return held

    def _find(self, used: Used) -> None:
        """Containers have slots of which nothing is known here."""
        lost = []
        for resource, id_ in used:
            owner = self._names.holder(resource) if resource.startswith(PREFIX) else None
            if owner is None:
                continue
            if owner.kind == "configuration":
                lost += self._find_virtual(owner, id_)
                continue
            slot = instance_slot(resource, id_)
            if slot is not None and self._claims.find(owner.key, slot) is None:
                self._claims.put(Claim(namespace=owner.namespace, instance=owner.name, slot=slot))
        self._health.say("lost", in_short(sorted(lost)))

    def _find_virtual(self, owner: Owner, id_: str) -> list[str]:
        """What is wrong with a virtual id that a container has."""
        if self._claims.virtual(owner.namespace, id_) is not None:
            return []
        refused = self._claims.refused(owner.namespace, id_)
        if refused is None:
            return [f"a container has {id_} of {owner.resource}, and it is not known which device that is"]
        if not self._claims.try_again(refused):
            return [f"a container has {id_} of {owner.resource}, {refused}, which another container here has too"]
        return []

    async def _free(self) -> None:
        for claim in self._claims.unused(self._clock(), self._unused_seconds):
            try:
                await self._allocator.give_back([claim])
            except LauncherAwayError as error:
                self._health.say(_AWAY, str(error))
                return
            self._health.numbers.reclaimed.inc()
            log.info("given back, as no container uses it", slot=str(claim))

    async def _tell(self) -> None:
        """Claim through the launcher what it does not know of."""
        async with self._allocator.lock:
            # What is away can be nobody's.
            here = [one for one in self._claims.untold() if self._instances.find(one.key) is not None]
            for claim in here:
                try:
                    await self._launcher.claim(claim)
                except LauncherAwayError as error:
                    self._health.say(_AWAY, str(error))
                    return
                except RefusedError as error:
                    self._refuse(claim, str(error))
                else:
                    claim.told = True
        self._health.say("refused", in_short(list(self._refusals.values())))

    def _refuse(self, claim: Claim, reason: str) -> None:
        """A container has it, and another was given it: people must decide, since nobody here stops containers."""
        if self._instances.find(claim.key) is not None:
            self._allocator.refuse(claim)
            self._refusals[str(claim)] = f"a container here has {claim}, which is not granted: {reason}"

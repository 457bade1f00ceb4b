"""Gives containers their slots: all that a pod asks for here, or nothing.

A slot that this node has already, as the launcher knows, is given again without a question: the kubelet is the only
one who gives away what is offered on its node, so whoever had it before is gone. A new slot is the launcher's to grant.
Only a slot of a device that no other node can see, asked for by the instance's own name, has no other taker: it is
given at once, also while the launcher is away, which is told later.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ashore.slots import slot_number
from ashore_device_plugin.claims import Claim, Claims, instance_slot
from ashore_device_plugin.instances import Instance, Instances, Key
from ashore_device_plugin.kubelet.endpoint import AllocationError
from ashore_device_plugin.launcher import Launcher, LauncherAwayError, RefusedError
from ashore_device_plugin.names import Owner
from ashore_device_plugin.offers import free_slots

_TRIES: Final = 8
"""So many slots of a configuration are asked for, where others are faster."""


class _Order(msgspec.Struct):
    """One Allocate."""

    made: list[Claim] = []
    """Claims that were not there before."""
    given: list[Key] = []
    """Instances of the present container."""


class Allocator:
    """Gives slots, and takes them back."""

    def __init__(
        self, instances: Instances, claims: Claims, launcher: Launcher, changed: Callable[[Claim], None]
    ) -> None:
        self.lock = asyncio.Lock()
        """Who holds it may give slots, or give them back."""
        self._instances = instances
        self._claims = claims
        self._launcher = launcher
        self.changed = changed
        """Called when a claim is there, or no more."""

    async def allocate(self, owner: Owner, containers: Iterable[list[str]]) -> list[list[Instance]]:
        """The instances that each container has; raise AllocationError, and then nothing was claimed."""
        async with self.lock:
            order = _Order()
            try:
                return [await self._container(owner, ids, order) for ids in containers]
            except BaseException:
                await self._undo(order.made)
                raise

    async def give_back(self, claims: Iterable[Claim]) -> None:
        """Free slots, of which those that the launcher knows through it; raise LauncherAwayError."""
        by_instance: dict[Key, list[Claim]] = {}
        for claim in claims:
            by_instance.setdefault(claim.key, []).append(claim)
        for key, those in by_instance.items():
            if any(claim.told for claim in those):
                await self._launcher.release(key, [claim.slot for claim in those])
            for claim in those:
                self.drop(claim)

    def drop(self, claim: Claim) -> None:
        """It is this node's no more."""
        self._claims.drop(claim)
        self.changed(claim)

    def refuse(self, claim: Claim) -> None:
        """The launcher does not grant what a container has."""
        self._claims.refuse(claim)
        self.changed(claim)

    async def _container(self, owner: Owner, ids: list[str], order: _Order) -> list[Instance]:
        order.given = []
        found = []
        for id_ in ids:
            give = self._of_instance if owner.kind == "instance" else self._of_configuration
            instance = await give(owner, id_, order)
            order.given.append(instance.key)
            found.append(instance)
        return found

    async def _of_instance(self, owner: Owner, id_: str, order: _Order) -> Instance:
        instance, slot = self._instances.find(owner.key), instance_slot(owner.resource, id_)
        if instance is None:
            raise AllocationError(f"{id_}: this node does not see the device any more")
        if slot is None or slot >= instance.capacity:
            raise AllocationError(f"{id_} is no slot of {instance.name}, which has {instance.capacity}")
        had = self._claims.find(instance.key, slot)
        if had is None:
            claim = Claim(namespace=instance.namespace, instance=instance.name, slot=slot)
            await self._claim(claim, order, at_once=not instance.shared)
        elif had.holder:
            raise AllocationError(f"{id_} is used through the configuration, as {had.virtual}")
        else:
            await self._again(had, order, at_once=not instance.shared)
        return instance

    async def _of_configuration(self, owner: Owner, id_: str, order: _Order) -> Instance:
        if slot_number(owner.name, id_) is None:
            raise AllocationError(f"{id_} is no slot of {owner.name}")
        had = self._claims.virtual(owner.namespace, id_)
        if had is not None:
            instance = self._instances.find(had.key)
            if instance is not None:
                await self._again(had, order)
                return instance
            await self._leave(had)
        why = "no device of it has room"
        for instance, slot in self._rooms(owner.key, order)[:_TRIES]:
            claim = Claim(namespace=owner.namespace, instance=instance.name, slot=slot, holder=f"C:{id_}")
            try:
                await self._claim(claim, order)
            except AllocationError as error:
                if isinstance(error.__cause__, LauncherAwayError):
                    raise
                # Another node was faster, and we have not heard of it yet.
                why = str(error)
            else:
                return instance
        raise AllocationError(f"{id_}: {why}")

    def _rooms(self, configuration: Key, order: _Order) -> list[tuple[Instance, int]]:
        """Free slots: of a device that the container does not have yet, and that is used least here, before others."""

        def rank(instance: Instance) -> tuple[int, int, str]:
            return order.given.count(instance.key), len(self._claims.of(instance.key)), instance.name

        found = sorted(self._instances.of(configuration), key=rank)
        return [(instance, slot) for instance in found for slot in free_slots(instance, self._claims)]

    async def _claim(self, claim: Claim, order: _Order, *, at_once: bool = False) -> None:
        if not at_once:
            try:
                await self._launcher.claim(claim)
            except (LauncherAwayError, RefusedError) as error:
                raise AllocationError(f"{claim} cannot be had: {error}") from error
            claim.told = True
        order.made.append(self._claims.put(claim))
        self.changed(claim)

    async def _again(self, had: Claim, order: _Order, *, at_once: bool = False) -> None:
        """Whoever had it is gone. Another node may have it, where its device was away and is back."""
        if not had.told:
            await self._claim(had, order, at_once=at_once)
        had.unused_since = None

    async def _leave(self, claim: Claim) -> None:
        """Its device is not here any more, so its virtual id is for another one."""
        try:
            await self.give_back([claim])
        except LauncherAwayError as error:
            raise AllocationError(f"{claim} cannot be given back: {error}") from error

    async def _undo(self, made: list[Claim]) -> None:
        for claim in made:
            try:
                await self.give_back([claim])
            except LauncherAwayError:
                # No container has it, so it is given back when that is looked for.
                claim.told = True

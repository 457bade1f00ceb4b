"""The device plugin of a node, in the middle: what the bus says becomes what the kubelet is offered.

A change names the resources that it is about, and these are arranged together, so that a burst of instances is served
and registered at once. Nothing is offered before everything that is on the bus has been read.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import structlog

from ashore.bus import Bus
from ashore.events import (
    EventError,
    InstanceAdded,
    InstanceChanged,
    InstanceRemoved,
    open_event,
)
from ashore_device_plugin.allocating import Allocator
from ashore_device_plugin.cdi import CdiFolder
from ashore_device_plugin.claims import Claim, Claims
from ashore_device_plugin.config import DevicePluginSettings
from ashore_device_plugin.giving import Given, given
from ashore_device_plugin.health import Health, in_short
from ashore_device_plugin.instances import Instance, Instances
from ashore_device_plugin.kubelet.containers import Containers
from ashore_device_plugin.kubelet.endpoint import AllocationError
from ashore_device_plugin.kubelet.messages import Preference
from ashore_device_plugin.kubelet.sockets import Sockets
from ashore_device_plugin.kubelet.watching import Kubelet
from ashore_device_plugin.launcher import Launcher
from ashore_device_plugin.names import PREFIX, Names, Owner, owners
from ashore_device_plugin.offers import Offer, configuration_offers, instance_offers, preferred
from ashore_device_plugin.reclaiming import Reclaimer
from ashore_device_plugin.remembering import Memory

_EVENTS: Final = (InstanceAdded, InstanceChanged, InstanceRemoved)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class DevicePlugin:
    """Offers the devices of one node."""

    def __init__(
        self, settings: DevicePluginSettings, bus: Bus, health: Health, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.health = health
        self.read = False
        """Whether everything that is on the bus has been read."""
        self.instances = Instances(settings.node)
        self.claims = Claims(settings.node)
        self.names = Names()
        self.kubelet = Kubelet(settings.kubelet_dir)
        self.sockets = Sockets(settings.kubelet_dir, self.kubelet, self)
        self._bus = bus
        self._check_seconds = settings.check_seconds
        self._cdi = CdiFolder(settings.cdi_dir)
        self._containers = Containers(settings.pod_resources_socket)
        self._site = settings.site
        self._memory = Memory(settings.data_dir, health)
        launcher = Launcher(bus, settings.site, settings.node)
        self._allocator = Allocator(self.instances, self.claims, launcher, self._claimed)
        self.reclaimer = Reclaimer(
            self._allocator,
            self.claims,
            self.instances,
            self.names,
            launcher=launcher,
            containers=self._containers,
            memory=self._memory,
            health=health,
            clock=clock,
            unused_seconds=settings.unused_seconds,
        )
        self._dirty: set[str] = set()
        """Resources to arrange."""
        self._news = asyncio.Event()
        self.kubelet.listeners.append(self.claims.begin_anew)

    async def follow(self) -> None:
        """Read the bus, for ever."""
        async with aclosing(self._bus.state([f"{event.name}.{self._site}.>" for event in _EVENTS])) as steps:
            async for step in steps:
                if step is not None:
                    sequence, envelope = step
                    try:
                        self._take(sequence, open_event(envelope))
                    except EventError as error:
                        log.warning("event left out", sequence=sequence, reason=str(error))
                elif not self.read:
                    await self._begin()

    async def arrange(self) -> None:
        """Offer what is to be offered, whenever that changes."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self.read:
                dirty, self._dirty = self._dirty, set()
                for resource in sorted(dirty):
                    self._arrange(resource)
                self.health.say("names", in_short(self.names.problems()))

    async def keep_slots(self) -> None:
        """Give back what no container uses, for ever."""
        await self.reclaimer.keep(self._check_seconds)

    async def close(self) -> None:
        """Serve no more; the kubelet keeps what it has given, and takes nothing from here."""
        await self.sockets.close()
        self._containers.close()

    def measure(self) -> None:
        """Set the numbers."""
        numbers = self.health.numbers
        numbers.resources.set(len(self.sockets.owners()))
        numbers.unregistered.set(len(self.sockets.unregistered()))
        numbers.claims.set(len(self.claims))
        numbers.problems.set(len(self.health.problems()))

    def waits_for(self) -> list[str]:
        """Why it is not ready."""
        reasons = []
        if not self.read:
            reasons.append("the instances on the bus have not been read yet")
        if not self.kubelet.life:
            reasons.append(f"the kubelet is not there: {self.kubelet.socket}")
        missing = self.sockets.unregistered()
        if missing:
            why = next((f", as {one}" for one in missing.values() if one), "")
            reasons.append(f"the kubelet does not know {len(missing)} of {len(self.sockets.owners())} resources{why}")
        return reasons

    # What endpoints ask.

    def offers(self, owner: Owner) -> list[Offer]:
        """The ids of a resource."""
        if owner.kind == "configuration":
            return configuration_offers(owner.key, self.instances.of(owner.key), self.claims)
        instance = self.instances.find(owner.key)
        return instance_offers(instance, self.claims) if instance else []

    def prefer(self, owner: Owner, preferences: list[Preference]) -> list[list[str]]:
        """The ids that each container is best given: of slots that this node has already."""
        own = {id_ for resource, id_ in (claim.used_as for claim in self.claims) if resource == owner.resource}
        return [preferred(one.available, one.must_include, one.size, own) for one in preferences]

    async def allocate(self, owner: Owner, containers: list[list[str]]) -> list[Given]:
        """What each container gets; raise AllocationError."""
        try:
            found = await self._allocator.allocate(owner, containers)
        except AllocationError:
            self.health.numbers.allocations.labels("refused").inc()
            raise
        self.health.numbers.allocations.labels("granted").inc()
        return [self._given(instances) for instances in found]

    def _given(self, instances: list[Instance]) -> Given:
        found = given(instances)
        found.cdi_names.extend(dict.fromkeys(name for one in instances for name in self._cdi.names(one)))
        return found

    # What the bus says.

    async def _begin(self) -> None:
        """Everything has been read: find out what an earlier run has left, then offer."""
        await self.reclaimer.begin()
        self.read = True
        self._write(lambda: self._cdi.clean({one.name for one in self.instances.all()}))
        self._changed(*(owner.resource for one in self.instances.all() for owner in owners(one)))
        log.info("instances read", instances=len(self.instances), slots=len(self.claims))

    def _take(self, sequence: int, event: object) -> None:
        if not isinstance(event, InstanceAdded | InstanceRemoved):
            return
        key = event.namespace, event.instance
        before = self.instances.find(key)
        if self.instances.take(sequence, event) is None:
            return
        after = self.instances.find(key)
        if isinstance(event, InstanceRemoved):
            self.claims.leave(key)
        self._rename(before, after)
        if after is not None:
            waits = before is None and len(self.claims.of(key)) > 0
            self.claims.learn(after)
            if self.claims.back(after) or waits:
                self.reclaimer.welcome()
        self._changed(*(owner.resource for one in (before, after) if one for owner in owners(one)))

    def _rename(self, before: Instance | None, after: Instance | None) -> None:
        if before is not None and after is None:
            for owner in owners(before):
                if owner.kind == "instance" or not self.instances.of(owner.key):
                    self.names.drop(owner)
        if after is not None:
            for owner in owners(after):
                self.names.put(owner, after.born)

    def _claimed(self, claim: Claim) -> None:
        """A slot is this node's, or is its no more."""
        instance = self.instances.find(claim.key)
        self._changed(claim.owner.resource, *(owner.resource for owner in (owners(instance) if instance else ())))
        # What is no more is written with the next look, all of it together.
        if self.claims.virtual(claim.namespace, claim.virtual) is claim:
            self._memory.write(self.claims.given())
        if not claim.told:
            self.reclaimer.untold.set()

    def _changed(self, *resources: str) -> None:
        self._dirty.update(resources)
        self._news.set()

    def _arrange(self, resource: str) -> None:
        owner = self.names.holder(resource)
        if owner is None:
            self.sockets.end(resource)
        else:
            self.sockets.offer(owner)
        self._describe(resource, owner)

    def _describe(self, resource: str, owner: Owner | None) -> None:
        """Write what runtimes are told of a device, or take it away."""
        if owner is None and Names.usable(resource):
            self._write(lambda: self._cdi.remove(resource.removeprefix(PREFIX)))
        elif (
            owner is not None and owner.kind == "instance" and (instance := self.instances.find(owner.key)) is not None
        ):
            self._write(lambda: self._cdi.write(instance, given([instance])))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            self.health.say("cdi", f"CDI files cannot be written: {error}")
        else:
            self.health.say("cdi", "")

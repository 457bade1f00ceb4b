"""The handler `udev`: what is plugged into this node, what the kernel makes of it, and when it leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final, cast

import pyudev

from ashore.events import DeviceNode
from ashore_discovery.handler import Context, Handler, Limits, Seen
from ashore_discovery.handlers.udev import record, rules
from ashore_discovery.handlers.udev.details import UdevDetails, UdevSettings
from ashore_discovery.handlers.udev.record import Level, Record, Wanted
from ashore_discovery.handlers.udev.sources import News, Source, opened
from ashore_discovery.model import Facet, Offer, Refusal, Sighting, Swept

_AT_A_STRETCH: Final = 16
_GONE: Final = ("remove", "offline")


class Udev(Handler[UdevDetails, Wanted]):
    """Devices of this node."""

    name = "udev"
    summary = "USB, serial, video, block and all other devices of the node, by the kernel's events"
    details_type = UdevDetails
    settings_type = UdevSettings
    exhaustive = True
    # The kernel does not forge devices.
    limits = Limits(devices=50_000, burst=50_000, per_second=1000, sightings=50_000)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(UdevSettings, context.settings)
        self._udev = pyudev.Context()  # type: ignore[no-untyped-call]  # the library has no types
        self._wanted = Wanted()
        self._scan_now = False
        self._source: Source | None = None

    @classmethod
    def plan(cls, details: Sequence[UdevDetails]) -> Wanted:
        """Which attributes must be read for the rules of all configurations."""
        conditions = [one for detail in details for rule in _parsed(detail) for one in rule.conditions]
        return Wanted(
            own=frozenset(one.name for one in conditions if one.key == "ATTR"),
            inherited=frozenset(one.name for one in conditions if one.key == "ATTRS"),
        )

    def replan(self, plan: Wanted) -> bool:
        """Other attributes are read at the next look around, which is now."""
        self._wanted = plan
        self._look_now()
        return True

    async def scan(self) -> None:
        """Look around now."""
        self._look_now()

    def _look_now(self) -> None:
        self._scan_now = True
        if self._source is not None:
            self._source.news.put_nowait(None)

    async def run(self, plan: Wanted) -> Seen:
        """Listen first and look around then, so that nothing falls in between."""
        self._wanted = plan
        async with opened(self._udev, self._settings.source) as source:
            self._source = source
            self.context.report(source.mode, source.reason)
            pause = self._settings.poll_seconds if source.mode == "polling" else self._settings.scan_seconds
            while True:
                self._scan_now = False
                if source.overflowed.is_set():
                    self.context.dropped("the kernel told of more than could be read, so everything is looked at again")
                source.overflowed.clear()
                async for item in self._everything():
                    yield item
                async for item in self._news(source, pause):
                    yield item

    async def _everything(self) -> AsyncIterator[Sighting | Swept]:
        begun = self.context.clock()
        ancestors: dict[str, Level] = {}
        for count, device in enumerate(self._udev.list_devices()):  # type: ignore[no-untyped-call]
            found = self._read(device, "found", known=ancestors)
            if found is not None:
                yield found
            if not count % _AT_A_STRETCH:
                await asyncio.sleep(0)
        yield Swept(begun=begun)

    async def _news(self, source: Source, seconds: float) -> AsyncIterator[Sighting]:
        """What happens until it is time to look around again."""
        end = self.context.clock() + seconds
        while (left := end - self.context.clock()) > 0 and not self._scan_now and not source.overflowed.is_set():
            one = await self._next(source, left)
            if one is not None:
                for found in self._told(one):
                    yield found

    async def _next(self, source: Source, seconds: float) -> News | None:
        """The next news; None after that time, or when there is something else to do."""
        if not source.news.empty():
            return source.news.get_nowait()
        try:
            async with asyncio.timeout(seconds):
                return await source.news.get()
        except TimeoutError:
            return None

    def _told(self, news: News) -> Iterator[Sighting]:
        now = self.context.clock()
        device = news.device
        if news.action == "move" and (old := device.properties.get("DEVPATH_OLD")):
            yield Sighting(id=old, kind="gone", cause="move", wire_at=now)
        if news.action in _GONE:
            yield Sighting(id=device.device_path, kind="gone", cause=news.action, wire_at=now)
            return
        found = self._read(device, news.action, now)
        if found is not None:
            yield found

    def _read(
        self, device: pyudev.Device, cause: str, wire_at: float | None = None, known: dict[str, Level] | None = None
    ) -> Sighting | None:
        try:
            read = record.read(device, self._wanted, known)
        except (OSError, ValueError, pyudev.DeviceNotFoundError) as error:
            # It was there a moment ago; its own `remove` is on its way.
            self.context.log.debug("device left while it was looked at", device=device.device_path, reason=str(error))
            return None
        return record.sighting(read, cause[:64], self.context.clock() if wire_at is None else wire_at)

    @classmethod
    def problems(cls, details: UdevDetails) -> Iterable[str]:
        """Rules that cannot be read."""
        for text in details.udev_rules:
            try:
                rules.parse(text)
            except rules.RuleError as error:
                yield f"the udev rule '{text[:200]}' cannot be used: {error}"

    @classmethod
    def groups(cls, details: UdevDetails) -> bool:
        """With `groupRecursive` a device is what is below it as well."""
        return details.group_recursive

    @classmethod
    def concerns(cls, details: UdevDetails, facet: Facet) -> bool:
        """Only what a rule holds for is a part of a group."""
        return isinstance(facet.record, Record) and _holds(details, facet.record)

    @classmethod
    def offer(cls, details: UdevDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A device for which a rule holds, with its nodes."""
        own = facet.record
        if not isinstance(own, Record):
            return Refusal("it has not been looked at since the agent was started")
        if not _holds(details, own):
            return Refusal("no udev rule holds for it")
        if not details.group_recursive:
            return _offer(details, [own], numbered=False)
        # `others` may be there for another configuration.
        matching = [one.record for one in others() if isinstance(one.record, Record) and _holds(details, one.record)]
        above = [one for one in matching if _below(own, one)]
        if above:
            return Refusal(f"it is a part of {min(above, key=lambda one: len(one.devpath)).devpath}")
        members = sorted((one for one in matching if _below(one, own)), key=lambda one: one.devpath)
        return _offer(details, [own, *members], numbered=True)


def _parsed(details: UdevDetails) -> list[rules.Rule]:
    return [rules.parse(text) for text in details.udev_rules]


def _holds(details: UdevDetails, found: Record) -> bool:
    return any(rule.holds(found) for rule in _parsed(details))


def _below(one: Record, other: Record) -> bool:
    return one.devpath.startswith(other.devpath + "/")


def _offer(details: UdevDetails, members: Sequence[Record], *, numbered: bool) -> Offer:
    properties: dict[str, str] = {}
    for index, member in enumerate(members):
        suffix = f"_{index}" if numbered else ""
        properties[f"UDEV_DEVPATH{suffix}"] = member.devpath
        if member.node:
            properties[f"UDEV_DEVNODE{suffix}"] = member.node
    nodes = dict.fromkeys(member.node for member in members if member.node)
    return Offer(
        properties=properties,
        device_nodes=[
            DeviceNode(host_path=node, container_path=node, permissions=details.permissions) for node in nodes
        ],
    )

"""What a device is now, taken all together, and whether that is news for the bus.

A device is told while a configuration wants it. When it is absent, each configuration gives it up after its own grace,
held longer where the device flaps; when the last one has, it has disappeared.
"""

from collections import OrderedDict, deque
from typing import Final

import msgspec

from ashore_discovery.tracking.departure import DEFAULT, MOST_KEPT, Departure, excess_of, hold
from ashore_discovery.tracking.device import Device, View
from ashore_discovery.tracking.outcomes import Change, ChangeKind, Desk, Outcomes
from ashore_discovery.tracking.registry import Registry

MOST_DEPARTED: Final = 200
MOST_REMEMBERED: Final = 4000


class Memory(msgspec.Struct, frozen=True):
    """What outlives a device that is gone, for when it comes back."""

    revision: int
    departures: list[float]


class Teller:
    """Turns what devices are into what is told of them."""

    def __init__(self, registry: Registry, desk: Desk, *, everything: bool = False) -> None:
        self.departed: deque[View] = deque(maxlen=MOST_DEPARTED)
        """The latest who are gone, for people."""
        self._registry = registry
        self._desk = desk
        self._everything = everything
        self._memories: OrderedDict[str, Memory] = OrderedDict()

    def remember(self, device: Device, now: float) -> None:
        """A device is new, or it was here before: then it goes on counting."""
        device.appeared_at = now
        memory = self._memories.pop(device.key, None)
        if memory is not None:
            device.revision, device.departures = memory.revision, memory.departures

    def settle(self, device: Device, cause: str, now: float, wire_at: float = 0.0, *, again: bool = False) -> Outcomes:
        """Work out what the device is now, and tell where that is news; `again`: also where nothing is different."""
        physical = device.physical()
        if device.quiet and physical == "unknown":
            return []
        device.quiet = False
        kin = self._desk.kin(device)
        if physical == "absent":
            self._absent(device, now)
        else:
            device.absent_since, device.leaves, device.state = None, {}, physical
            if physical != "unknown":
                device.matches = self._desk.matches(device)
        device.flapping = any(excess_of(rule, device.departures, now) > 0 for rule in self._rules(device).values())
        changes = self._news(device, cause, now, wire_at, again=again)
        if device.state == "gone":
            self._forget(device)
        return changes + self._kin(device, now) if kin else changes

    def merged(self, device: Device, survivor: Device, now: float) -> Outcomes:
        """A device turned out to be another one."""
        if device.told is None:
            return []
        device.state, device.matches = "gone", {}
        return [_told(device, "disappeared", f"merged-into-{survivor.key}", now, 0.0)]

    def _absent(self, device: Device, now: float) -> None:
        """It is gone for each configuration when its time is over, and altogether with the last."""
        if device.absent_since is None:
            device.absent_since = now
            device.departures = [*device.departures, now][-MOST_KEPT:]
            rules = self._rules(device).items()
            device.leaves = {name: now + hold(rule, device.departures, now) for name, rule in rules}
        device.leaves = {name: at for name, at in device.leaves.items() if at > now}
        device.matches = {name: match for name, match in device.matches.items() if name in device.leaves}
        device.state = "absent" if device.leaves else "gone"

    def _rules(self, device: Device) -> dict[str, Departure]:
        """The empty name is for whoever looks at the inventory, where no configuration wants the device."""
        return {name: self._desk.departure(name) for name in device.matches} or {"": DEFAULT}

    def _news(self, device: Device, cause: str, now: float, wire_at: float, *, again: bool = False) -> Outcomes:
        wanted = device.state != "gone" and (bool(device.matches) or self._everything)
        if device.told is None:
            # What is absent or unknown already cannot appear.
            fresh = wanted and device.state in ("present", "suspect")
            return [_told(device, "appeared", cause, now, wire_at)] if fresh else []
        if not wanted:
            left = device.state in ("gone", "absent")
            return [_told(device, "disappeared", cause if left else "unmatched", now, wire_at)]
        if device.view().says() == device.told.says() and not again:
            return []
        kind: ChangeKind = "unknown" if device.state == "unknown" else "changed"
        returned = device.told.state == "absent" and device.state == "present"
        return [_told(device, kind, "returned" if returned else cause, now, wire_at)]

    def _forget(self, device: Device) -> None:
        self._registry.remove(device)
        self.departed.append(device.view())
        self._memories[device.key] = Memory(device.revision, device.departures)
        if len(self._memories) > MOST_REMEMBERED:
            self._memories.popitem(last=False)

    def _kin(self, device: Device, now: float) -> Outcomes:
        """Others may match differently now, where a configuration makes one device of several."""
        outcomes: Outcomes = []
        for other in list(self._registry.devices.values()):
            if other is not device and other.handler == device.handler and other.state in ("present", "suspect"):
                other.matches = self._desk.matches(other)
                outcomes += self._news(other, "grouped", now, 0.0)
        return outcomes


def _told(device: Device, kind: ChangeKind, cause: str, now: float, wire_at: float) -> Change:
    device.revision += 1
    device.cause, device.changed_at = cause, now
    view = device.view()
    device.told = None if kind == "disappeared" else view
    return Change(kind, view, wire_at)

"""Which device a message is of: one root device, with its services and the devices in it, says hello a dozen times.

Everything that a root device contains has the same description at the same address, and that is how it is recognised.
Whoever only pretends to, from another address, is a device of its own.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from ashore_discovery.handlers.ssdp.messages import ROOT, Message
from ashore_discovery.model import Facts, Sighting

_MOST_DEVICES: Final = 4096
_MOST_PARTS: Final = 64
_MOST_TARGETS: Final = 64
_MOST_PLACES: Final = 4
_RESTART_SECONDS: Final = 10.0
"""A device that counts its starts wrongly is not believed more often than this."""


class Place(msgspec.Struct):
    """One of the ways to a device: over IPv4, over IPv6."""

    address: str
    location: str
    until: float


class Device(msgspec.Struct, kw_only=True):
    """A root device, or what has not yet been found to be in one."""

    udn: str
    is_root: bool = False
    server: str = ""
    places: list[Place] = []
    targets: dict[str, None] = {}
    parts: dict[str, None] = {}
    """Names of the devices in it."""
    boot_id: int | None = None
    config_id: int | None = None
    restarted_at: float = 0.0
    max_age: int = 0

    def addresses(self) -> list[str]:
        """Where it has been heard from, the way over IPv4 first."""
        return list(dict.fromkeys(place.address for place in self._sorted()))

    def locations(self) -> list[str]:
        """Where its description is."""
        return list(dict.fromkeys(place.location for place in self._sorted() if place.location))

    def sighting(self, cause: str, wire_at: float) -> Sighting:
        """As the layers above want it."""
        facts: Facts = {"address": self.addresses(), "targets": sorted(self.targets)}
        named = {"server": self.server, "boot_id": self.boot_id, "config_id": self.config_id}
        facts |= {name: value for name, value in named.items() if value not in (None, "")}
        locations = self.locations()
        if locations:
            facts["location"] = locations[0]
        return Sighting(
            id=self.udn,
            cause=cause,
            facts=facts,
            identity={"uuid": self.udn},
            endpoints=locations,
            ttl=float(self.max_age),
            wire_at=wire_at,
        )

    def hear(self, message: Message, address: str, now: float) -> bool:
        """Take a message in; the answer is whether the device has restarted, or is configured anew."""
        again = self._again(message, now)
        if again:
            self.places, self.restarted_at = [], now
        self.is_root = self.is_root or message.target == ROOT
        self.server = message.server or self.server
        self.max_age = message.max_age
        if message.boot_id is not None:
            self.boot_id = message.boot_id
        if message.config_id is not None:
            self.config_id = message.config_id
        if not message.target.lower().startswith("uuid:") and len(self.targets) < _MOST_TARGETS:
            self.targets[message.target] = None
        self._note_place(Place(address, message.location, now + message.max_age), now)
        return again

    def _again(self, message: Message, now: float) -> bool:
        if message.kind == "update" or now - self.restarted_at < _RESTART_SECONDS:
            return False
        booted = None not in (self.boot_id, message.boot_id) and (message.boot_id or 0) > (self.boot_id or 0)
        return booted or (None not in (self.config_id, message.config_id) and message.config_id != self.config_id)

    def _note_place(self, place: Place, now: float) -> None:
        """Where it was keeps its rank, so that a device with two addresses does not change with each message."""
        if place.location == "":
            place.location = next((one.location for one in self.places if one.address == place.address), "")
        kept = [one for one in self.places if one.until > now and one.address != place.address]
        index = next((number for number, one in enumerate(self.places) if one.address == place.address), len(kept))
        kept.insert(min(index, len(kept)), place)
        self.places = kept[-_MOST_PLACES:]

    def _sorted(self) -> list[Place]:
        return sorted(self.places, key=lambda place: ":" in place.address)


class Book:
    """All devices that one listener has heard of."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self._roots: dict[tuple[str, str], str] = {}
        """By sender and location: the root device there."""
        self._part_of: dict[str, str] = {}

    def hear(self, message: Message, address: str, now: float) -> Iterator[Sighting]:
        """Take a message in; what it says of devices."""
        if message.kind == "byebye":
            yield from self._goodbye(message, address, now)
            return
        device = self._device(message, address)
        if device is None:
            return
        is_new = not device.places
        if device.hear(message, address, now) and not is_new:
            # Nothing that was learnt from it before holds any more, so it is treated as one that left and is back.
            yield Sighting(id=device.udn, kind="bye", cause="restarted", wire_at=now)
        if message.target == ROOT and message.location and self._is_new_root(device, (address, message.location)):
            yield from self._absorb(device, address, message.location, now)
        yield device.sighting(message.kind, now)

    def founds(self, message: Message, address: str) -> bool:
        """Whether it is of a device that nobody has heard of."""
        known = message.udn in self.devices or message.udn in self._part_of
        return not known and message.kind != "byebye" and (address, message.location) not in self._roots

    def forget(self, udn: str) -> None:
        """It has left."""
        device = self.devices.pop(udn, None)
        for part in device.parts if device else ():
            self._part_of.pop(part, None)
        self._roots = {place: root for place, root in self._roots.items() if root != udn}

    def _device(self, message: Message, address: str) -> Device | None:
        """The device that the message is of; None where there are too many to be true."""
        udn = message.udn
        root = self.devices.get(self._roots.get((address, message.location), self._part_of.get(udn, "")))
        own = self.devices.get(udn)
        if root is not None and message.target != ROOT and (own is None or not own.is_root):
            if udn != root.udn and len(root.parts) < _MOST_PARTS:
                root.parts[udn] = None
                self._part_of[udn] = root.udn
            return root
        if own is None and len(self.devices) < _MOST_DEVICES:
            own = self.devices[udn] = Device(udn=udn)
        return own

    def _is_new_root(self, device: Device, place: tuple[str, str]) -> bool:
        known = self._roots.get(place) == device.udn
        self._roots[place] = device.udn
        if len(self._roots) > _MOST_DEVICES:
            del self._roots[next(iter(self._roots))]
        return not known

    def _absorb(self, root: Device, address: str, location: str, now: float) -> Iterator[Sighting]:
        """What was heard of before its root device was is no device of its own."""
        inside = [
            one
            for one in self.devices.values()
            if not one.is_root and any((at.address, at.location) == (address, location) for at in one.places)
        ]
        for part in inside[: _MOST_PARTS - len(root.parts)]:
            root.parts[part.udn] = None
            root.targets |= dict.fromkeys([*part.targets][: max(0, _MOST_TARGETS - len(root.targets))])
            self.forget(part.udn)
            self._part_of[part.udn] = root.udn
            yield Sighting(id=part.udn, kind="gone", cause="part-of-another", wire_at=now)

    def _goodbye(self, message: Message, address: str, now: float) -> Iterator[Sighting]:
        device = self.devices.get(message.udn)
        if device is None:
            # A device within another leaves: the other one stays.
            root = self.devices.get(self._part_of.pop(message.udn, ""))
            if root is not None:
                root.parts.pop(message.udn, None)
            return
        if ":service:" in message.target:
            return
        if address in device.addresses():
            self.forget(device.udn)
            yield Sighting(id=device.udn, kind="bye", cause="byebye", wire_at=now)
        else:
            # Anybody can say this of anybody; the device itself shall be asked.
            yield Sighting(id=device.udn, kind="missed", cause="byebye-of-another", wire_at=now)

"""What instances this node sees, from the bus: pure.

Of the three events about an instance the one with the largest sequence holds. They stand on different subjects, so the
older one may come later.
"""

import msgspec

from ashore.events import DeviceNode, Event, InstanceAdded, InstanceRemoved, Mount
from ashore.slots import MOST_SLOTS

Key = tuple[str, str]
"""Namespace and name."""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A device that this node sees."""

    namespace: str
    configuration: str
    name: str
    born: int
    """Where on the bus it was first told of: the smaller, the older."""
    shared: bool = False
    capacity: int = 1
    properties: dict[str, str] = {}
    device_nodes: list[DeviceNode] = []
    mounts: list[Mount] = []
    usage: dict[str, str] = {}

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name

    @property
    def configuration_key(self) -> Key:
        """Namespace and name of its configuration."""
        return self.namespace, self.configuration

    @property
    def digest(self) -> str:
        """The digest of the device's id."""
        return self.name.removeprefix(f"{self.configuration}-")

    @property
    def cdi_name(self) -> str:
        """The device in the Container Device Interface."""
        return f"akri.sh/{self.configuration}={self.digest}"


class Instances:
    """Those that this node sees."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._last: dict[Key, int] = {}
        self._born: dict[Key, int] = {}
        self._seen: dict[Key, Instance] = {}
        self._of: dict[Key, dict[Key, Instance]] = {}
        """By configuration."""

    def __len__(self) -> int:
        return len(self._seen)

    def take(self, sequence: int, event: Event) -> Key | None:
        """Learn of an event; the answer is the instance that it is about, None where a later one was here first."""
        if not isinstance(event, InstanceAdded | InstanceRemoved):
            return None
        key = event.namespace, event.instance
        if event.name == InstanceAdded.name:
            self._born[key] = sequence
        if sequence <= self._last.get(key, 0):
            return self._reborn(key) if event.name == InstanceAdded.name else None
        self._last[key] = sequence
        self._put(key, None if isinstance(event, InstanceRemoved) else self._here(sequence, event))
        return key

    def _reborn(self, key: Key) -> Key | None:
        """Its birth is heard of after a change of it."""
        found = self._seen.get(key)
        if found is None:
            return None
        self._put(key, msgspec.structs.replace(found, born=self._born[key]))
        return key

    def find(self, key: Key) -> Instance | None:
        """An instance that this node sees."""
        return self._seen.get(key)

    def of(self, configuration: Key) -> list[Instance]:
        """Those of a configuration, by name."""
        found = self._of.get(configuration, {})
        return [found[key] for key in sorted(found)]

    def all(self) -> list[Instance]:
        """Every one."""
        return list(self._seen.values())

    def _here(self, sequence: int, event: InstanceAdded) -> Instance | None:
        node = next((one for one in event.nodes if one.node == self._node), None)
        if node is None:
            return None
        key = event.namespace, event.instance
        return Instance(
            namespace=event.namespace,
            configuration=event.configuration,
            name=event.instance,
            born=self._born.setdefault(key, sequence),
            shared=event.shared,
            capacity=min(event.capacity, MOST_SLOTS),
            properties=event.properties,
            device_nodes=node.device_nodes,
            mounts=node.mounts,
            usage=event.usage,
        )

    def _put(self, key: Key, instance: Instance | None) -> None:
        before = self._seen.pop(key, None)
        if before is not None:
            others = self._of[before.configuration_key]
            del others[key]
            if not others:
                del self._of[before.configuration_key]
        if instance is not None:
            self._seen[key] = instance
            self._of.setdefault(instance.configuration_key, {})[key] = instance

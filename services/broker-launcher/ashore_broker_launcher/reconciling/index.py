"""Which instance belongs to which device."""

from ashore_broker_launcher.cluster import Change, JsonObject, Key
from ashore_broker_launcher.model import DEVICE
from ashore_broker_launcher.objects import annotation, key_of

DeviceOfConfiguration = tuple[Key, str]


class DeviceIndex:
    """Instances by the device that they stand for, and the other way round."""

    def __init__(self) -> None:
        self._instances: dict[DeviceOfConfiguration, str] = {}
        self._devices: dict[Key, DeviceOfConfiguration] = {}

    def hear(self, change: Change) -> None:
        """An instance is there, or gone."""
        if change.now is not None:
            self.note(change.now)
        elif change.before is not None:
            self._forget(key_of(change.before))

    def note(self, body: JsonObject) -> None:
        """An instance is there."""
        key, device = key_of(body), annotation(body, DEVICE)
        if device:
            self.give((key[0], str(body["spec"].get("configurationName", ""))), device, key[1])

    def give(self, configuration: Key, device: str, name: str) -> None:
        """The device's instance has this name, or will have."""
        self._devices[configuration[0], name] = configuration, device
        self._instances[configuration, device] = name

    def instance_of(self, configuration: Key, device: str) -> str:
        """The name of the device's instance; empty where it has none."""
        return self._instances.get((configuration, device), "")

    def device_of(self, instance: Key) -> str:
        """The device of an instance; empty where there is no such instance."""
        return self._devices.get(instance, ((("", "")), ""))[1]

    def devices_of(self, configuration: Key) -> set[str]:
        """All devices of a configuration that have an instance."""
        return {device for of, device in self._instances if of == configuration}

    def _forget(self, key: Key) -> None:
        place = self._devices.pop(key, None)
        if place is not None and self._instances.get(place) == key[1]:
            del self._instances[place]

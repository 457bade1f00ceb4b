"""Home Assistant's discovery: each entity has a retained description, and what belongs together names the same device.

`homeassistant/COMPONENT/[NODE/]OBJECT/config` describes one entity, and with the component `device` all of a device's;
an empty one removes it. Names may be abbreviated. Whoever names availability topics is there while they say so, as in
Home Assistant: a retained description alone says that a device exists, not that it runs.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from ashore_discovery.handlers.mqtt.availability import Availability, Watched, watched_of
from ashore_discovery.handlers.mqtt.details import HomeAssistant
from ashore_discovery.handlers.mqtt.scheme import (
    MOST_DEVICES,
    Heard,
    Message,
    Scheme,
    chosen,
    json_of,
    rejected,
    serial_of,
    text,
)
from ashore_discovery.model import Facts, Identity, Sighting, Swept

MOST_ENTITIES: Final = 20_000
_MOST_OF_A_DEVICE: Final = 256
_SHORT: Final = {"dev": "device", "o": "origin", "uniq_id": "unique_id", "cmps": "components", "p": "platform"}
_SHORT_DEVICE: Final = {
    "ids": "identifiers", "cns": "connections", "mf": "manufacturer", "mdl": "model", "mdl_id": "model_id",
    "hw": "hw_version", "sw": "sw_version", "sn": "serial_number", "sa": "suggested_area", "cu": "configuration_url",
}  # fmt: skip
_FACTS: Final = {
    "name": "name", "manufacturer": "manufacturer", "model": "model", "model_id": "model_id", "area": "suggested_area",
    "hardware": "hw_version", "firmware": "sw_version", "serial": "serial_number", "via": "via_device",
}  # fmt: skip


class _Entity(msgspec.Struct, kw_only=True):
    device: str
    components: tuple[str, ...]
    facts: Facts
    identity: Identity
    endpoints: tuple[str, ...]
    watched: Watched
    sure: bool = True


class HomeAssistantScheme(Scheme):
    """Devices that describe themselves to Home Assistant."""

    def __init__(self, broker: str, url: str, form: HomeAssistant) -> None:
        super().__init__(broker, url, form.label, form.prefix)
        self._form = form
        level = r"[^/+#\x00]{1,128}"
        self._topic = re.compile(
            re.escape(form.prefix) + rf"/(?P<component>{level})/(?P<object>{level}(/{level})?)/config"
        )
        self._entities: dict[str, _Entity] = {}
        self._devices: dict[str, dict[str, None]] = {}
        """The topics of each device's entities."""
        self._availability = Availability()

    def filters(self) -> list[str]:
        """See `Scheme.filters`."""
        return [f"{self._form.prefix}/+/+/config", f"{self._form.prefix}/+/+/+/config"]

    def more(self) -> list[str]:
        """See `Scheme.more`."""
        return self._availability.topics()

    def hear(self, message: Message) -> Heard | None:
        """See `Scheme.hear`."""
        users = self._availability.hear(message.topic, message.payload)
        match = self._topic.fullmatch(message.topic)
        if match is None:
            if users is None:
                return None
            devices = dict.fromkeys(self._entities[topic].device for topic in users if topic in self._entities)
            return Heard(items=[item for device in devices for item in self._told(device, message, "availability")])
        if not message.payload:
            return self._remove(message)
        try:
            entity = _read(match["component"], match["object"], json_of(message.payload))
        except ValueError as error:
            return rejected(f"{message.topic}: {error}")
        return self._describe(entity, message)

    def _describe(self, entity: _Entity, message: Message) -> Heard:
        topic, known = message.topic, self._entities.get(message.topic)
        others = self._devices.get(entity.device)
        full = len(self._devices) >= MOST_DEVICES if others is None else len(others) >= _MOST_OF_A_DEVICE
        if known is None and (full or len(self._entities) >= MOST_ENTITIES):
            return rejected(f"{topic}: too many devices, or too many entities of one")
        heard = Heard()
        if known is not None and known.device != entity.device:
            heard = self._remove(message)
        self._entities[topic] = entity
        self._devices.setdefault(entity.device, {})[topic] = None
        listen, forget = self._availability.watch(topic, entity.watched)
        heard.items = [*heard.items, *self._told(entity.device, message, "config")]
        heard.listen, heard.forget = listen, [*heard.forget, *forget]
        return heard

    def _remove(self, message: Message) -> Heard:
        entity = self._entities.pop(message.topic, None)
        if entity is None:
            return Heard()
        _, forget = self._availability.watch(message.topic, Watched())
        topics = self._devices[entity.device]
        del topics[message.topic]
        if topics:
            return Heard(items=self._told(entity.device, message, "config"), forget=forget)
        del self._devices[entity.device]
        return Heard(items=[self.gone(entity.device, message, "removed")], forget=forget)

    def _told(self, device: str, message: Message, cause: str) -> list[Sighting | Swept]:
        entities = {topic: self._entities[topic] for topic in self._devices[device]}
        there = self._there(device)
        if there is None:
            return []
        if not there:
            return [self.gone(device, message, "offline")]
        facts: Facts = {}
        identity: Identity = {}
        endpoints: dict[str, None] = {}
        for entity in entities.values():
            facts |= entity.facts
            identity |= entity.identity
            endpoints |= dict.fromkeys(entity.endpoints)
        components = sorted({name for entity in entities.values() for name in entity.components})
        facts |= {"components": components[:32], "entities": sum(len(one.components) for one in entities.values())}
        described = message._replace(topic=next(iter(entities)))
        found = self.sighting(
            device, described, cause, facts, identity=identity | serial_of(facts), endpoints=list(endpoints)[:4]
        )
        return [found]

    def _there(self, device: str) -> bool | None:
        """Whether one of its entities is available; None while that is not known of any."""
        answers = [self._availability.of(topic) for topic in self._devices[device] if self._entities[topic].sure]
        if any(answers):
            return True
        return None if None in answers or not answers else False

    def doubt(self) -> None:
        """See `Scheme.doubt`."""
        self._availability.doubt()
        for entity in self._entities.values():
            entity.sure = False

    def holds(self, id: str, now: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """See `Scheme.holds`: descriptions are retained, availability is not always."""
        del now
        device = id.removeprefix(self.root + "/")
        if not any(self._entities[topic].sure for topic in self._devices.get(device, ())):
            return False
        return self._there(device)

    def ids(self) -> list[str]:
        """See `Scheme.ids`."""
        return [f"{self.root}/{device}" for device in self._devices]


def _full(given: object, short: Mapping[str, str]) -> dict[str, object]:
    """With names in full."""
    if not isinstance(given, dict):
        return {}
    return {short.get(key, key): value for key, value in given.items()}


def _read(component: str, name: str, document: object) -> _Entity:
    said = _full(document, _SHORT)
    if not said:
        raise ValueError("it is no object, or an empty one")
    device = _full(said.get("device"), _SHORT_DEVICE)
    identifiers, macs = _texts(device.get("identifiers")), _macs(device.get("connections"))
    parts = said.get("components")
    components = [component]
    if component == "device" and isinstance(parts, dict):
        platforms = (text(_full(one, _SHORT).get("platform")) for one in list(parts.values())[:_MOST_OF_A_DEVICE])
        components = [one for one in platforms if one]
    url = text(device.get("configuration_url"))
    own = {"name": text(said.get("name"))} if said.get("name") and not device else {}
    facts: Facts = {**own, **chosen(device, _FACTS)}
    if identifiers:
        facts["identifiers"] = identifiers
    return _Entity(
        device=(identifiers or macs or [text(said.get("unique_id")) or name])[0][:256],
        components=tuple(components),
        facts=facts,
        identity={"mac": macs} if macs else {},
        endpoints=(url,) if url.startswith(("http://", "https://")) else (),
        watched=watched_of(said),
    )


def _texts(value: object) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [one for one in map(text, found[:16]) if one]


def _macs(connections: object) -> list[str]:
    if not isinstance(connections, list):
        return []
    pairs = [one for one in connections[:16] if isinstance(one, list) and len(one) == 2 and one[0] == "mac"]  # noqa: PLR2004 - a pair
    return [one for one in (text(pair[1]) for pair in pairs) if one]

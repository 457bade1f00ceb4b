"""Any other topics, as a configuration describes them: which levels name a device, and what the payload says of it."""

import re
from typing import Final

import msgspec

from ashore_discovery.handlers.mqtt.details import TopicMap
from ashore_discovery.handlers.mqtt.scheme import (
    LONGEST_TOPIC,
    MOST_DEVICES,
    Heard,
    Message,
    Scheme,
    at_pointer,
    clean,
    json_of,
    rejected,
    serial_of,
    text,
)
from ashore_discovery.model import Facts

_WILDCARD: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")


class _Known(msgspec.Struct):
    heard_at: float
    sure: bool = True


class TopicMapScheme(Scheme):
    """Devices that a topic map recognises."""

    def __init__(self, broker: str, url: str, form: TopicMap) -> None:
        super().__init__(broker, url, form.label, f"map/{form.name}")
        self._form = form
        self._pattern = pattern_of(form.topic)
        self._id = form.id or "/".join(f"{{{name}}}" for name in self._pattern.groupindex)
        self._known: dict[str, _Known] = {}

    def filters(self) -> list[str]:
        """See `Scheme.filters`."""
        return [_WILDCARD.sub("+", self._form.topic)]

    def hear(self, message: Message) -> Heard | None:
        """See `Scheme.hear`."""
        match = self._pattern.fullmatch(message.topic)
        if match is None:
            return None
        names = {name: str(clean(value)) for name, value in match.groupdict().items()}
        name = _WILDCARD.sub(lambda one: names[one[1]], self._id)
        if not 0 < len(name) <= LONGEST_TOPIC:
            return rejected(f"{message.topic[:100]}: its name would have {len(name)} characters")
        if not message.payload or self._says_gone(message.payload):
            self._known.pop(name, None)
            return Heard(items=[self.gone(name, message, "removed" if not message.payload else "offline")])
        if name not in self._known and not self._has_room(message.at):
            return rejected(f"{message.topic}: {MOST_DEVICES} devices are known already")
        self._known[name] = _Known(message.at)
        facts: Facts = {**names, **self._read(message.payload)}
        return Heard(
            items=[self.sighting(name, message, "message", facts, identity=serial_of(facts), ttl=self._form.ttl)]
        )

    def _has_room(self, now: float) -> bool:
        if len(self._known) >= MOST_DEVICES:
            kept = {
                name: one for name, one in self._known.items() if self.holds(f"{self.root}/{name}", now) is not False
            }
            self._known = kept
        return len(self._known) < MOST_DEVICES

    def _read(self, payload: bytes) -> Facts:
        wanted = dict(self._form.facts)
        if self._form.serial is not None:
            wanted["serial"] = self._form.serial
        found = {fact: clean(_value(payload, pointer)) for fact, pointer in wanted.items()}
        return {fact: value for fact, value in found.items() if value not in (None, "", [])}

    def _says_gone(self, payload: bytes) -> bool:
        form = self._form.gone
        if form is None:
            return False
        value = _value(payload, form.pointer)
        said = str(value).lower() if isinstance(value, bool) else text(value)
        return said in form.values

    def doubt(self) -> None:
        """See `Scheme.doubt`."""
        for one in self._known.values():
            one.sure = False

    def holds(self, id: str, now: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """See `Scheme.holds`: where the topic is not retained, only silence tells, and only if it is long."""
        ttl = self._form.ttl
        known = self._known.get(id.removeprefix(self.root + "/"))
        if known is not None and known.sure:
            return ttl is None or now - known.heard_at < ttl
        if self._form.retained:
            return False
        if ttl is None:
            return None
        return None if known is not None and now - known.heard_at < ttl else False

    def silence(self) -> float | None:
        """See `Scheme.silence`."""
        return None if self._form.retained else self._form.ttl

    def ids(self) -> list[str]:
        """See `Scheme.ids`."""
        return [f"{self.root}/{name}" for name in self._known]


def pattern_of(topic: str) -> re.Pattern[str]:
    """The topics of a map, as an expression; raise ValueError if it cannot be used."""
    levels = topic.split("/")
    parts: list[str] = []
    for index, level in enumerate(levels):
        name = _WILDCARD.fullmatch(level)
        if level == "#" and index == len(levels) - 1 and index:
            parts[-1] += "(?:/.*)?"
        elif level == "+":
            parts.append("[^/]{1,128}")
        elif name:
            parts.append(f"(?P<{name[1]}>[^/]{{1,128}})")
        elif re.search(r"[+#{}\x00-\x1f]", level) or not level:
            raise ValueError(
                f"the level '{level}' is neither a text, nor a name in braces, nor + alone, nor # at the end"
            )
        else:
            parts.append(re.escape(level))
    try:
        found = re.compile("/".join(parts), re.DOTALL)
    except re.error as error:
        raise ValueError(f"a name stands there twice: {error}") from error
    if not found.groupindex:
        raise ValueError("no level is a name in braces, so all devices would be one")
    return found


def problems(form: TopicMap) -> list[str]:
    """What is wrong with a map, a sentence each."""
    try:
        known = pattern_of(form.topic).groupindex
    except ValueError as error:
        return [f"the topic '{form.topic}' of the map '{form.name}' cannot be used: {error}"]
    unknown = [name for name in _WILDCARD.findall(form.id) if name not in known]
    if unknown:
        return [f"the id of the map '{form.name}' names '{unknown[0]}', and its topic has {', '.join(known)}"]
    if form.id and not _WILDCARD.search(form.id):
        return [f"the id '{form.id}' of the map '{form.name}' names no level, so all devices would be one"]
    return []


def _value(payload: bytes, pointer: str) -> object:
    if not pointer:
        return payload[:4096].decode(errors="replace")
    try:
        return at_pointer(json_of(payload), pointer)
    except ValueError:
        return None

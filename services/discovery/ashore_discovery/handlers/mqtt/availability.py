"""Home Assistant's availability topics: which entity watches which, and what they say.

Templates are Home Assistant's own language, of which only the usual `{{ value_json.state }}` is understood; an entity
with another one is taken to be available.
"""

import re
from collections import Counter
from typing import Final, Literal, cast

import msgspec

from ashore_discovery.handlers.mqtt.scheme import at_pointer, json_of, text, usable

MOST_TOPICS: Final = 5000
_MOST_OF_AN_ENTITY: Final = 8
_TEMPLATE: Final = re.compile(r"\{\{-?\s*value_json((?:\.[A-Za-z0-9_]+|\['[^'\]]+'\])+)\s*-?\}\}")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_]+)|\['([^'\]]+)'\]")

AllOrAny = Literal["all", "any", "latest"]


class Topic(msgspec.Struct, frozen=True):
    """One availability topic of an entity."""

    topic: str
    online: str = "online"
    offline: str = "offline"
    pointer: str = ""


class Watched(msgspec.Struct, frozen=True):
    """What an entity says of its availability; nothing at all means that it is always there."""

    topics: tuple[Topic, ...] = ()
    mode: AllOrAny = "latest"


class Availability:
    """All availability topics of a broker."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._users: dict[str, dict[str, None]] = {}
        """By availability topic: the topics of the descriptions that name it."""
        self._said: dict[str, bytes] = {}
        self._order: Counter[str] = Counter()
        self._count = 0

    def topics(self) -> list[str]:
        """All that must be listened to."""
        return list(self._users)

    def watch(self, entity: str, watched: Watched) -> tuple[list[str], list[str]]:
        """The entity watches these now; the answer is which topics are new, and which nobody needs any more."""
        before = {one.topic for one in self._watched.pop(entity, Watched()).topics}
        room = MOST_TOPICS - len(self._users)
        kept = tuple(one for one in watched.topics if one.topic in self._users or room > 0)
        if kept:
            self._watched[entity] = msgspec.structs.replace(watched, topics=kept)
        after = dict.fromkeys(one.topic for one in kept)
        fresh = [topic for topic in after if topic not in self._users]
        for topic in after:
            self._users.setdefault(topic, {})[entity] = None
        left = [topic for topic in before - set(after) if self._leave(topic, entity)]
        return fresh, left

    def _leave(self, topic: str, entity: str) -> bool:
        users = self._users.get(topic, {})
        users.pop(entity, None)
        if users:
            return False
        self._users.pop(topic, None)
        self._said.pop(topic, None)
        self._order.pop(topic, None)
        return True

    def hear(self, topic: str, payload: bytes) -> list[str] | None:
        """Note what a topic says; the answer is whom that concerns, or None if it is no such topic."""
        users = self._users.get(topic)
        if users is None:
            return None
        self._count += 1
        self._said[topic], self._order[topic] = payload[:4096], self._count
        return list(users)

    def of(self, entity: str) -> bool | None:
        """Whether the entity is available; None if nobody has said."""
        watched = self._watched.get(entity)
        if watched is None:
            return True
        answers = {one: self._answer(one) for one in watched.topics}
        if watched.mode == "latest":
            return answers[max(answers, key=lambda one: self._order[one.topic])]
        if watched.mode == "any":
            return True if True in answers.values() else None if None in answers.values() else False
        return False if False in answers.values() else None if None in answers.values() else True

    def doubt(self) -> None:
        """What was said may not be true any more."""
        self._said.clear()
        self._order.clear()

    def _answer(self, one: Topic) -> bool | None:
        payload = self._said.get(one.topic)
        if payload is None:
            return None
        said = payload.decode(errors="replace")
        if one.pointer:
            try:
                found = at_pointer(json_of(payload), one.pointer)
            except ValueError:
                return None
            said = str(found) if isinstance(found, bool) else text(found)
        return True if said == one.online else False if said == one.offline else None


def watched_of(said: dict[str, object]) -> Watched:
    """What a description says of availability."""
    base = _raw(said.get("~"))
    mode = text(said.get("availability_mode") or said.get("avty_mode"))
    given = said.get("availability", said.get("avty"))
    listed = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    single = said.get("availability_topic") or said.get("avty_t")
    if single:
        template = said.get("availability_template") or said.get("avty_tpl")
        listed = [{**said, "topic": single, "value_template": template, "t": None, "val_tpl": None}, *listed]
    elif isinstance(given, dict):
        listed = [given]
    found = [_topic(one, base) for one in listed[:_MOST_OF_AN_ENTITY]]
    return Watched(
        tuple(one for one in found if one is not None),
        cast(AllOrAny, mode if mode in ("all", "any") else "latest"),
    )


def _topic(said: dict[str, object], base: str) -> Topic | None:
    topic = _raw(said.get("topic") or said.get("t"))
    if base and topic.startswith("~"):
        topic = base + topic[1:]
    elif base and topic.endswith("~"):
        topic = topic[:-1] + base
    pointer = _pointer(text(said.get("value_template") or said.get("val_tpl")))
    if pointer is None or not usable(topic):
        return None
    return Topic(
        topic,
        text(said.get("payload_available") or said.get("pl_avail")) or "online",
        text(said.get("payload_not_available") or said.get("pl_not_avail")) or "offline",
        pointer,
    )


def _raw(value: object) -> str:
    """A topic as it stands there: one that must be cleaned is another topic."""
    return value if isinstance(value, str) else ""


def _pointer(template: str) -> str | None:
    """The template as a JSON pointer; None if it says more than that."""
    if not template:
        return ""
    match = _TEMPLATE.fullmatch(template.strip())
    if match is None:
        return None
    steps = (first or second for first, second in _STEP.findall(match[1]))
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)

"""Our own scheme, for devices that know us: `ashore/v1/SITE/DEVICE/...`.

| topic | what it says |
|---|---|
| `birth`, retained | JSON or CBOR: `boot`; if known `serial`, `model`, `manufacturer`, `firmware`, `transport`, `ttl` |
| `death`, retained; the client's will | `{"boot": ...}` of the birth that it ends, or that alone as text |
| `seen` | a heartbeat, empty or as `death`; whoever says `ttl` in its birth sends one more often than that |

What else is known goes into `facts`. A boot id is new for each session. That is how the will of an old session, which a
broker sends when it gives up a dead connection, harms no session that has been born since. An empty birth is a device
that was taken out of service. Births are not signed: they are hints, and trust comes from onboarding.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from ashore import cbor
from ashore_discovery.handlers.mqtt.details import Own
from ashore_discovery.handlers.mqtt.scheme import (
    MOST_DEVICES,
    Heard,
    Message,
    Scheme,
    chosen,
    clean,
    json_of,
    rejected,
    serial_of,
    text,
)
from ashore_discovery.model import Facts, Sighting

_NAMES: Final = {
    name: name for name in ("serial", "model", "manufacturer", "firmware", "hardware", "transport", "boot")
}
_FACT: Final = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_MOST_FACTS: Final = 64
_LONGEST_TTL: Final = 86_400.0
_CBOR_MAPS: Final = range(0xA0, 0xC0)


class _Session(msgspec.Struct):
    boot: str
    sighting: Sighting
    ttl: float | None
    heard_at: float
    sure: bool = True


class OwnScheme(Scheme):
    """Devices that announce themselves to us."""

    def __init__(self, broker: str, url: str, form: Own) -> None:
        super().__init__(broker, url, form.label, form.prefix)
        self._form = form
        self._topic = re.compile(
            re.escape(form.prefix) + r"/(?P<name>[^/+#\s]{1,128}/[^/+#\s]{1,128})/(?P<verb>birth|death|seen)"
        )
        self._sessions: dict[str, _Session] = {}
        self._deaths: dict[str, str] = {}
        """The boot ids that have died, by device."""

    def filters(self) -> list[str]:
        """See `Scheme.filters`."""
        return [f"{self._form.prefix}/+/+/{verb}" for verb in ("death", "birth", "seen")]

    def hear(self, message: Message) -> Heard | None:
        """See `Scheme.hear`."""
        match = self._topic.fullmatch(message.topic)
        if match is None:
            return None
        name = match["name"]
        try:
            if match["verb"] == "birth":
                return self._birth(name, message)
            boot = _boot_of(message.payload)
        except ValueError as error:
            return rejected(f"{message.topic}: {error}")
        return self._death(name, boot, message) if match["verb"] == "death" else self._seen(name, boot, message)

    def _birth(self, name: str, message: Message) -> Heard:
        if not message.payload:
            self._sessions.pop(name, None)
            return Heard(items=[self.gone(name, message, "removed")])
        said = _read(message.payload)
        boot = text(said.get("boot"))
        if message.retained and self._deaths.get(name) == boot:
            self._sessions.pop(name, None)
            return Heard(items=[self.gone(name, message, "will")])
        if name not in self._sessions and not self._has_room(message.at):
            return rejected(f"{message.topic}: {MOST_DEVICES} devices are known already")
        self._deaths.pop(name, None)
        ttl = _ttl(said.get("ttl"))
        facts = _facts(name, said)
        found = self.sighting(name, message, "birth", facts, identity=serial_of(facts), ttl=ttl)
        self._sessions[name] = _Session(boot, found, ttl, message.at)
        return Heard(items=[found])

    def _has_room(self, now: float) -> bool:
        if len(self._sessions) >= MOST_DEVICES:
            # Whoever fell silent without a will has no use for its place.
            there = {name: one for name, one in self._sessions.items() if self.holds(f"{self.root}/{name}", now)}
            self._sessions = there
        return len(self._sessions) < MOST_DEVICES

    def _death(self, name: str, boot: str, message: Message) -> Heard:
        if not message.payload:
            self._deaths.pop(name, None)
            return Heard()
        session = self._sessions.get(name)
        if session and session.boot and boot and boot != session.boot:
            # An old session's will. While we are not sure which session lives, the birth that follows will tell.
            if not session.sure:
                self._remember(name, boot)
            return Heard()
        self._remember(name, boot)
        if message.retained and not (session and session.sure):
            # It may have been born again since, and then its birth comes next.
            return Heard()
        self._sessions.pop(name, None)
        return Heard(items=[self.gone(name, message, "will")])

    def _remember(self, name: str, boot: str) -> None:
        self._deaths.pop(name, None)
        self._deaths[name] = boot
        if len(self._deaths) > MOST_DEVICES:
            del self._deaths[next(iter(self._deaths))]

    def _seen(self, name: str, boot: str, message: Message) -> Heard:
        session = self._sessions.get(name)
        if session is None or (boot and session.boot and boot != session.boot):
            return Heard()
        session.heard_at, session.sure = message.at, True
        again = msgspec.structs.replace(session.sighting, cause="heartbeat", wire_at=message.at)
        return Heard(items=[again])

    def doubt(self) -> None:
        """See `Scheme.doubt`."""
        self._deaths.clear()
        for session in self._sessions.values():
            session.sure = False

    def holds(self, id: str, now: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """See `Scheme.holds`: births are retained, so the broker has one of whoever is there."""
        session = self._sessions.get(id.removeprefix(self.root + "/"))
        if session is None or not session.sure:
            return False
        return session.ttl is None or now - session.heard_at < session.ttl

    def ids(self) -> list[str]:
        """See `Scheme.ids`."""
        return [f"{self.root}/{name}" for name in self._sessions]


def _read(payload: bytes) -> Mapping[object, object]:
    said = cbor.loads(payload) if payload[0] in _CBOR_MAPS else json_of(payload)
    if not isinstance(said, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - a stranger's mistake, not a caller's
    return said


def _boot_of(payload: bytes) -> str:
    if not payload:
        return ""
    if payload[:1] == b"{" or payload[0] in _CBOR_MAPS:
        return text(_read(payload).get("boot"))
    return text(payload.decode())


def _ttl(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return None
    return min(float(value), _LONGEST_TTL)


def _facts(name: str, said: Mapping[object, object]) -> Facts:
    site, _, device = name.partition("/")
    known = {key: value for key, value in said.items() if isinstance(key, str)}
    facts: Facts = {"site": site, "device": device}
    more = known.get("facts")
    if isinstance(more, dict):
        for key, value in list(more.items())[:_MOST_FACTS]:
            found = clean(value)
            if isinstance(key, str) and _FACT.fullmatch(key) and found is not None:
                facts.setdefault(key, found)
    return facts | chosen(known, _NAMES)

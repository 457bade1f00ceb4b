"""What all schemes have in common: a message goes in, and sightings and wishes for the link come out.

Schemes are pure. What they read was written by strangers: topics and texts are cleaned here, and tables are bounded.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from ashore.events import Value
from ashore_discovery.handlers.mqtt.details import Record
from ashore_discovery.model import Facts, Identity, Sighting, Swept

MOST_DEVICES: Final = 5000
"""So many are kept by each scheme; the tracker has a gate of its own."""
LONGEST_TOPIC: Final = 400
_LONGEST_VALUE: Final = 512
_MOST_VALUES: Final = 32
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Message(NamedTuple):
    """What the broker has sent."""

    topic: str
    payload: bytes
    retained: bool
    at: float
    """When it was there, by `Context.clock`."""


class Heard(msgspec.Struct, kw_only=True):
    """What a message means."""

    items: list[Sighting | Swept] = []
    listen: list[str] = []
    """Topics to subscribe to from now on."""
    forget: list[str] = []
    """Topics that are not needed any more."""
    publish: list[tuple[str, bytes]] = []
    rejected: str = ""
    """Why it cannot be used."""


class Scheme(ABC):
    """One way in which devices tell of themselves, at one broker."""

    def __init__(self, broker: str, url: str, label: str, root: str) -> None:
        self.broker = broker
        self.url = url
        self.label = label
        self.root = f"{broker}/{root}"

    @abstractmethod
    def filters(self) -> list[str]:
        """What to subscribe to. Deaths come first, so that no birth of a dead device is believed."""

    @abstractmethod
    def hear(self, message: Message) -> Heard | None:
        """What a message means; None if it is none of this scheme's."""

    @abstractmethod
    def doubt(self) -> None:
        """We may have missed something: what the broker does not say again is not believed any more."""

    @abstractmethod
    def holds(self, id: str, now: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """Whether the device is there; None where the broker would not tell."""

    @abstractmethod
    def ids(self) -> list[str]:
        """Whatever is there."""

    def more(self) -> list[str]:
        """Topics of single devices to subscribe to, beside `filters`."""
        return []

    def question(self, id: str, now: float) -> list[tuple[str, bytes]]:  # noqa: A002 - a sighting's own word
        """What to publish so that the device says that it is there."""
        del id, now
        return []

    def silence(self) -> float | None:
        """After so many seconds, whoever has said nothing since we listen is missing."""
        return None

    def owns(self, id: str) -> bool:  # noqa: A002 - a sighting's own word
        """Whether the sighting is one of this scheme's."""
        return id.startswith(self.root + "/")

    def sighting(
        self,
        name: str,
        message: Message,
        cause: str,
        facts: Facts,
        *,
        identity: Identity | None = None,
        endpoints: Iterable[str] = (),
        ttl: float | None = None,
    ) -> Sighting:
        """A device is there."""
        found: Facts = {"broker": self.broker, "scheme": self.label.partition(":")[0], **facts}
        who: Identity = {"client": f"{self.root}/{name}"}
        who |= identity or {}
        return Sighting(
            id=f"{self.root}/{name}",
            cause=cause,
            facts=found,
            identity=who,
            endpoints=[self.url, *endpoints],
            ttl=ttl,
            wire_at=message.at,
            record=Record(broker=self.broker, scheme=self.label, topic=message.topic, url=self.url),
        )

    def gone(self, name: str, message: Message, cause: str) -> Sighting:
        """It certainly is not."""
        return Sighting(id=f"{self.root}/{name}", kind="gone", cause=cause, wire_at=message.at)


def rejected(why: str) -> Heard:
    """A message that cannot be used."""
    return Heard(rejected=why)


def usable(topic: str) -> bool:
    """Whether a stranger's topic can be subscribed to, and means one topic only."""
    return 0 < len(topic) <= LONGEST_TOPIC and not re.search(r"[+#]", topic) and not _UNPRINTABLE.search(topic)


def clean(value: object) -> Value | None:
    """A stranger's value as a fact; None if it is none."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub("", value)[:_LONGEST_VALUE]
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)[:_LONGEST_VALUE]
    if isinstance(value, list):
        return [_UNPRINTABLE.sub("", one)[:_LONGEST_VALUE] for one in value[:_MOST_VALUES] if isinstance(one, str)]
    return None


def text(value: object) -> str:
    """A stranger's text or number; empty if it is neither."""
    found = clean(value)
    return str(found) if isinstance(found, (str, int, float)) and not isinstance(found, bool) else ""


def chosen(source: Mapping[str, object], names: Mapping[str, str]) -> Facts:
    """The facts with these names, where the source has them under the others."""
    found = {fact: clean(source.get(key)) for fact, key in names.items()}
    return {fact: value for fact, value in found.items() if value not in (None, "", [])}


def serial_of(facts: Facts) -> Identity:
    """The identity of a serial number, which means something only beside its maker and model."""
    serial = facts.get("serial")
    if not serial:
        return {}
    return {"serial": "/".join(str(facts.get(name, "")) for name in ("manufacturer", "model", "serial"))}


def json_of(payload: bytes) -> object:
    """The payload as JSON; raise ValueError."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from error


def at_pointer(document: object, pointer: str) -> object:
    """What stands there in the document (RFC 6901); None if nothing does."""
    for raw in pointer.split("/")[1:]:
        token = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(token)
        elif isinstance(document, list) and re.fullmatch(r"[0-9]{1,6}", token):
            document = document[int(token)] if int(token) < len(document) else None
        else:
            return None
    return document

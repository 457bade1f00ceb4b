"""Where configurations and rulings come from: a file on the node, and the bus; both are followed as they change.

What is in the file goes before what has the same name on the bus. What cannot be read is told, and what was read before
stays in force.
"""

import asyncio
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from ashore.bus import Bus
from ashore.events import ConfigurationSet, EventError, open_event
from ashore_discovery.configurations.document import MOST_CONFIGURATIONS, Configuration, JsonObject, NodeFile
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.tracking.rulings import MOST_RULINGS, Ruling

POLL_SECONDS: Final = 1.0
RULINGS: Final = "-"
"""How tokens of rulings begin on the bus, and none of a configuration does."""
_MOST_BYTES: Final = 1024 * 1024
T = TypeVar("T", Configuration, Ruling)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Sources:
    """What is to be looked for, from everywhere."""

    def __init__(self, site: str, bus: Bus, path: Path | None, changed: Callable[[], None]) -> None:
        self.problems: dict[str, list[str]] = {}
        """By file or configuration: why it cannot be read."""
        self._site = site
        self._bus = bus
        self._path = path
        self._changed = changed
        self._file = NodeFile()
        self._from_bus: dict[str, Configuration] = {}
        self._remembered: list[Configuration] = []
        self._rulings: dict[str, Ruling] = {}
        self._heard: set[str] = set()
        self._stamp: object = None

    def configurations(self) -> list[Configuration]:
        """All that are in force."""
        return list({one.name: one for one in (*self.from_bus(), *self._file.configurations)}.values())

    def from_bus(self) -> list[Configuration]:
        """Those that the bus has said, and until it has said all of them those that it said to an earlier run."""
        return list({one.name: one for one in (*self._remembered, *self._from_bus.values())}.values())

    def rulings(self) -> list[Ruling]:
        """What people say of devices; of two that contradict, the first one counts."""
        own = {one.name: one for one in self._file.devices}
        return [*own.values(), *(one for one in self._rulings.values() if one.name not in own)]

    def rulings_from_bus(self) -> dict[str, Ruling]:
        """Those that the bus has said, by their tokens."""
        return self._rulings

    def settings(self) -> dict[str, JsonObject]:
        """Settings of handlers on this node."""
        return self._file.handlers

    def begin(self, remembered: list[Configuration], rulings: Mapping[str, Ruling]) -> None:
        """Begin with what the bus said to an earlier run, and with the file."""
        self._remembered = remembered
        self._rulings = dict(rulings)
        if self._path is not None:
            self._look(self._path)

    async def watch_file(self) -> None:
        """Follow the file, where there is one."""
        while self._path is not None:
            await asyncio.sleep(POLL_SECONDS)
            if self._look(self._path):
                self._changed()

    async def watch_bus(self) -> None:
        """Follow the bus: first what was said before, then what comes."""
        async with aclosing(self._bus.state([f"{ConfigurationSet.name}.{self._site}.*"])) as steps:
            async for step in steps:
                if step is None:
                    self._forget_what_was_not_said_again()
                    continue
                try:
                    event = open_event(step[1])
                except EventError as error:
                    log.warning("configuration left out", reason=str(error))
                    continue
                if isinstance(event, ConfigurationSet) and self._hear(event):
                    self._changed()

    def _forget_what_was_not_said_again(self) -> None:
        """The bus has said all that it has: whatever else an earlier run had heard was taken back meanwhile."""
        self._remembered = []
        self._rulings = {token: one for token, one in self._rulings.items() if token in self._heard}
        self._changed()

    def _hear(self, event: ConfigurationSet) -> bool:
        self._heard.add(event.token)
        if event.token.startswith(RULINGS) and bytes(event.configuration) == b"null":
            return self._keep(event.token, event.ruling, Ruling, self._rulings, MOST_RULINGS)
        return self._keep(event.token, event.configuration, Configuration, self._from_bus, MOST_CONFIGURATIONS)

    def _keep(self, token: str, raw: msgspec.Raw, kind: type[T], kept: dict[str, T], most: int) -> bool:
        """Keep what the bus has said under this token; whether something is different."""
        before = kept.get(token)
        try:
            data = msgspec.json.decode(raw)
            self.problems.pop(token, None)
            if data is None:
                return kept.pop(token, None) is not None
            found = read(kind, data, f"{kind.__name__.lower()} '{token}'")
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # ValueError: it is wrong, or a key in it is no UTF-8.
            self.problems[token] = [str(error)]
            log.warning("what the bus says cannot be read", token=token, reason=str(error))
            return False
        if len(kept) >= most and before is None:
            self.problems[token] = [f"there are {most} of its kind already"]
            return False
        kept[token] = found
        return found != before

    def _look(self, path: Path) -> bool:
        """Read the file if it is another one than before; whether something is different."""
        name = str(path)
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            before, self._file = self._file, read_file(path)
        except (OSError, ConfigurationError) as error:
            problems = error.problems if isinstance(error, ConfigurationError) else [f"it cannot be read: {error}"]
            if self.problems.get(name) != problems:
                log.warning("the file of configurations cannot be used", file=name, reason="; ".join(problems))
            self.problems[name] = problems
            return False
        self.problems.pop(name, None)
        return before != self._file


def read_file(path: Path) -> NodeFile:
    """A node's file, in YAML or TOML; raise ConfigurationError or OSError."""
    with path.open("rb") as file:
        return read_body(file.read(_MOST_BYTES + 1), path.name)


def read_body(body: bytes, name: str) -> NodeFile:
    """What is in a file of this name; raise ConfigurationError."""
    if len(body) > _MOST_BYTES:
        raise ConfigurationError([f"{name} is larger than {_MOST_BYTES} bytes"])
    try:
        data: object = tomllib.loads(body.decode()) if name.endswith(".toml") else _yaml(body)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError([f"{name}: {error}"]) from error
    found = read(NodeFile, data or {}, name)
    for kind, named in (("configurations", found.configurations), ("devices", found.devices)):
        twice = sorted(name for name, count in Counter(one.name for one in named).items() if count > 1)
        if twice:
            raise ConfigurationError([f"{name} has two {kind} named {', '.join(twice)}"])
    return found


def _yaml(body: bytes) -> object:
    import yaml  # noqa: PLC0415 - nodes that are told everything by the bus, or in TOML, do without

    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error

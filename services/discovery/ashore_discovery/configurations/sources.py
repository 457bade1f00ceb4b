"""Where configurations come from: a file on the node, and the bus; both are followed as they change.

A configuration in the file goes before one of the same name on the bus. What cannot be read is told, and what was read
before stays in force.
"""

import asyncio
import tomllib
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ashore.bus import Bus
from ashore.events import ConfigurationSet, EventError, open_event
from ashore_discovery.configurations.document import MOST_CONFIGURATIONS, Configuration, JsonObject, NodeFile
from ashore_discovery.configurations.schema import ConfigurationError, read

POLL_SECONDS: Final = 1.0
_MOST_BYTES: Final = 1024 * 1024

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
        self._stamp: object = None

    def configurations(self) -> list[Configuration]:
        """All that are in force."""
        return list({one.name: one for one in (*self.from_bus(), *self._file.configurations)}.values())

    def from_bus(self) -> list[Configuration]:
        """Those that the bus has said, and until it has said all of them those that it said to an earlier run."""
        return list({one.name: one for one in (*self._remembered, *self._from_bus.values())}.values())

    def settings(self) -> dict[str, JsonObject]:
        """Settings of handlers on this node."""
        return self._file.handlers

    def begin(self, remembered: list[Configuration]) -> None:
        """Begin with what the bus said to an earlier run, and with the file."""
        self._remembered = remembered
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
                    self._remembered = []
                    self._changed()
                    continue
                try:
                    event = open_event(step[1])
                except EventError as error:
                    log.warning("configuration left out", reason=str(error))
                    continue
                if isinstance(event, ConfigurationSet) and self._hear(event):
                    self._changed()

    def _hear(self, event: ConfigurationSet) -> bool:
        before = self._from_bus.get(event.token)
        try:
            data = msgspec.json.decode(event.configuration)
            self.problems.pop(event.token, None)
            if data is None:
                return self._from_bus.pop(event.token, None) is not None
            configuration = read(Configuration, data, f"configuration '{event.token}'")
        except (ConfigurationError, msgspec.DecodeError) as error:
            self.problems[event.token] = [str(error)]
            log.warning("configuration cannot be read", configuration=event.token, reason=str(error))
            return False
        if len(self._from_bus) >= MOST_CONFIGURATIONS and before is None:
            self.problems[event.token] = [f"there are {MOST_CONFIGURATIONS} configurations already"]
            return False
        self._from_bus[event.token] = configuration
        return configuration != before

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
        body = file.read(_MOST_BYTES + 1)
    if len(body) > _MOST_BYTES:
        raise ConfigurationError([f"{path.name} is larger than {_MOST_BYTES} bytes"])
    try:
        data: object = tomllib.loads(body.decode()) if path.suffix == ".toml" else _yaml(body)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError([f"{path.name}: {error}"]) from error
    found = read(NodeFile, data or {}, path.name)
    names = [one.name for one in found.configurations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError([f"{path.name} has two configurations named {', '.join(twice)}"])
    return found


def _yaml(body: bytes) -> object:
    import yaml  # noqa: PLC0415 - nodes that are told everything by the bus, or in TOML, do without

    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error

"""Which handlers there are: entry points of installed packages, and those that have registered while the agent runs.

Nothing is imported before a configuration asks for it, so that a node pays only for the protocols that it uses. A
handler that cannot be imported is told as such, and everything else goes on.
"""

import importlib.metadata
from collections.abc import Iterable
from typing import Final

from ashore.events import handler_token
from ashore_discovery.handler import Handler
from ashore_discovery.matching.desk import AnyHandler

GROUP: Final = "ashore.discovery.handlers"


class NoSuchHandlerError(Exception):
    """The handler is not installed, or cannot be imported; the text says which, and why."""


class Catalogue:
    """Handlers by name."""

    def __init__(self, points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        found = importlib.metadata.entry_points(group=GROUP) if points is None else points
        self._points = {point.name: point for point in found}
        self._loaded: dict[str, AnyHandler] = {}
        self._registered: dict[str, str] = {}

    def names(self) -> list[str]:
        """All that could be asked for."""
        return sorted({*self._points, *self._loaded})

    def add(self, kind: AnyHandler, *, way: str = "the bus") -> None:
        """One that has registered in some way while the agent runs; raise NoSuchHandlerError: its name is taken."""
        if self.installed(kind.name):
            raise NoSuchHandlerError(f"the name '{kind.name}' belongs to an installed handler")
        if self._registered.setdefault(kind.name, way) != way:
            raise NoSuchHandlerError(f"a handler named '{kind.name}' has registered over {self._registered[kind.name]}")
        self._loaded[kind.name] = kind

    def installed(self, name: str) -> bool:
        """Whether the name belongs to a package that is installed."""
        return name in self._points

    def load(self, name: str) -> AnyHandler:
        """The handler, imported; raise NoSuchHandlerError."""
        name = handler_token(name)
        if name in self._loaded:
            return self._loaded[name]
        point = self._points.get(name)
        if point is None:
            raise NoSuchHandlerError(f"there is no handler '{name}'; there are {', '.join(self.names())}")
        try:
            kind = point.load()
        except Exception as error:  # whatever somebody's package does when it is imported
            raise NoSuchHandlerError(f"the handler '{name}' cannot be imported: {error!r}") from error
        if not (isinstance(kind, type) and issubclass(kind, Handler) and kind.name == name):
            raise NoSuchHandlerError(f"the entry point '{name}' ({point.value}) is no Handler of that name")
        self._loaded[name] = kind
        return kind

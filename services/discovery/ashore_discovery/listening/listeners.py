"""All listeners, as the configurations want them: one for each handler, or for each handler and interface."""

import asyncio
import fnmatch
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ashore_discovery.configurations.document import JsonObject
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.health import Health
from ashore_discovery.interfaces import exists
from ashore_discovery.listening.listener import Listener, Sink
from ashore_discovery.listening.tools import Tools
from ashore_discovery.matching.desk import AnyHandler, Wanted


class Keeper(Sink, Protocol):
    """Who is told of listeners beside what they hear."""

    def opened(self, listener: Listener) -> None:
        """It will be heard."""
        ...

    def closed(self, listener: Listener) -> None:
        """It is not wanted any more, and neither is what only it has seen."""
        ...

    def has_seen(self, listener: Listener) -> bool:
        """Whether anything of what it has seen is still known."""
        ...


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What may be set for every handler that listens on networks."""

    interfaces: list[str] = []
    """Names, `*` stands for anything; by default all that are up."""


class Order(NamedTuple):
    """One listener that there shall be."""

    kind: AnyHandler
    interface: str | None
    settings: msgspec.Struct
    plan: object


class Listeners:
    """Starts and stops listeners; what one of them does is in `listener.py`."""

    def __init__(self, tools: Tools, keeper: Keeper, health: Health) -> None:
        self._tools = tools
        self._keeper = keeper
        self._health = health
        self._running: dict[str, Listener] = {}
        self._changing = asyncio.Lock()

    def of(self, source: str) -> Listener | None:
        """The listener with this name, if it runs."""
        return self._running.get(source)

    async def arrange(
        self, wanted: Sequence[Wanted], settings: Mapping[str, JsonObject], interfaces: Sequence[str]
    ) -> list[str]:
        """Have exactly the listeners that serve these configurations; the answer is what is wrong with settings."""
        problems: list[str] = []
        async with self._changing:
            kinds = {one.handler.name: one.handler for one in wanted}
            orders: dict[str, Order] = {}
            broken: set[str] = set()
            for name, kind in kinds.items():
                before = len(problems)
                try:
                    plan = kind.plan([one.details for one in wanted if one.handler is kind])
                    orders |= self._orders(kind, plan, settings.get(name, {}), interfaces)
                except ConfigurationError as error:
                    problems += error.problems
                except Exception as error:  # noqa: BLE001 - a broken handler harms only itself
                    problems.append(f"the handler '{name}' cannot make a plan: {error!r}")
                if len(problems) > before:
                    broken.add(name)
            for source, listener in list(self._running.items()):
                # What is wrong with new settings is no reason to end what runs with the old ones.
                if source not in orders and listener.kind.name not in broken:
                    down = listener.kind.name in kinds and listener.interface not in interfaces
                    await self._close(source, down=down)
            for source, order in orders.items():
                await self._open(source, order)
        return problems

    async def scan(self, handlers: Sequence[str]) -> list[str]:
        """Look around now, with these handlers or with all; the answer is who does."""
        chosen = [one for one in self._running.values() if not handlers or one.kind.name in handlers]
        await asyncio.gather(*(one.scan() for one in chosen), return_exceptions=True)
        return [one.source for one in chosen if one.kind.can("scan")]

    async def stop(self) -> None:
        """End all of them, and say nothing about their devices: the agent is leaving, not they."""
        await asyncio.gather(*(listener.stop() for listener in self._running.values()))
        self._running.clear()

    def _orders(
        self, kind: AnyHandler, plan: object, written: JsonObject, interfaces: Sequence[str]
    ) -> dict[str, Order]:
        own = {name: value for name, value in written.items() if name != "interfaces" or not kind.per_interface}
        settings = read(kind.settings_type, own, f"handlers.{kind.name}")
        if not kind.per_interface:
            return {kind.name: Order(kind, None, settings, plan)}
        common = read(Common, {"interfaces": written.get("interfaces", [])}, f"handlers.{kind.name}")
        patterns = common.interfaces or ["*"]
        chosen = [name for name in interfaces if any(fnmatch.fnmatchcase(name, one) for one in patterns)]
        return {f"{kind.name}/{name}": Order(kind, name, settings, plan) for name in chosen}

    async def _open(self, source: str, order: Order) -> None:
        listener = self._running.get(source)
        if listener is not None and (listener.settings != order.settings or listener.kind is not order.kind):
            await listener.stop()
            listener = None
        if listener is None:
            health = self._health.of(source)
            listener = Listener(
                order.kind, order.interface, order.settings, tools=self._tools, sink=self._keeper, health=health
            )
            self._running[source] = listener
            self._keeper.opened(listener)
        await listener.listen(order.plan)

    async def _close(self, source: str, *, down: bool) -> None:
        listener = self._running.pop(source)
        await listener.stop()
        # One with each pod comes and goes on a node of Kubernetes; where nothing was seen there is nothing to keep.
        over = listener.interface is not None and not exists(listener.interface) and not self._keeper.has_seen(listener)
        if down and not over:
            # Its interface is down: nobody has said that the devices behind it are gone.
            listener.health.mode("stopped", "its interface is down")
            self._keeper.lost(listener, "interface-down")
        else:
            self._health.forget(source)
            self._keeper.closed(listener)

"""The handler `opcua`: it finds OPC UA servers, and asks each what it is."""

import asyncio
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

from ashore_discovery.handler import Context, Handler, HandlerError, Seen
from ashore_discovery.handlers.globs import texts
from ashore_discovery.handlers.opcua import details as form
from ashore_discovery.handlers.opcua import hello, learning
from ashore_discovery.handlers.opcua.book import says_alive
from ashore_discovery.handlers.opcua.details import OpcuaDetails, OpcuaSettings, Plan
from ashore_discovery.handlers.opcua.places import Target
from ashore_discovery.handlers.opcua.search import Search
from ashore_discovery.model import Facet, Learnt, Offer, Refusal

_CLIENT: Final = "ashore_discovery.handlers.opcua.client"
_PROBE_SECONDS: Final = 0.9
"""Shorter than `probe_timeout`, so that what silence means is said here."""


class Opcua(Handler[OpcuaDetails, Plan]):
    """Servers of OPC UA."""

    name = "opcua"
    summary = "OPC UA servers, by discovery servers, each asked itself whether it is there"
    details_type = OpcuaDetails
    settings_type = OpcuaSettings
    shared = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(OpcuaSettings, context.settings)
        self._client: Any = None
        self._search: Search | None = None
        self._plan: Plan = ()

    @classmethod
    def plan(cls, details: Sequence[OpcuaDetails]) -> Plan:
        """Every discovery server once."""
        return form.plan(details)

    @classmethod
    def problems(cls, details: OpcuaDetails) -> Iterable[str]:
        """URLs that are none."""
        return form.problems(details)

    @classmethod
    def offer(cls, details: OpcuaDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A configuration wants what its own discovery servers name, and its names choose among that."""
        del others
        return form.offer(details, facet)

    def replan(self, plan: Plan) -> bool:
        """Other discovery servers are no reason to forget who is there."""
        self._plan = plan
        if self._search is not None:
            self._search.ask(plan)
        return True

    async def scan(self) -> None:
        """Ask all discovery servers now."""
        if self._search is not None:
            self._search.scan()

    async def run(self, plan: Plan) -> Seen:
        """Ask discovery servers now and then, and the servers themselves more often."""
        self._plan = plan
        self._client = await _asyncua()
        search = self._search = Search(self.context, self._settings, self._client)
        search.ask(self._plan)
        self.context.spawn(search.check_again())
        while True:
            yield await search.said.get()

    async def probe(self, facet: Facet) -> bool | None:
        """Say hello to the server itself; silence means nothing while nobody who names it can be heard."""
        target, search = _target(facet), self._search
        if target is None or search is None:
            return None
        answer = await hello.ask(target, _PROBE_SECONDS)
        known = search.book.servers.get(facet.id)
        if known is not None and answer == "answers":
            known.alive = True
        sources = {url for name in ("found_by", "found_on_network_by") for url in texts(facet.facts.get(name))}
        witnessed = search.book.witnessed(sources, lambda url: search.is_itself(url, target))
        return says_alive(answer, witnessed=witnessed)

    async def enrich(self, facet: Facet) -> Learnt | None:
        """Ask the server how it can be spoken with."""
        target = _target(facet)
        if target is None or self._client is None:
            return None
        await self.context.pace()
        found = await self._client.endpoints(target, self._settings.answer_seconds)
        return learning.learnt(found)


async def _asyncua() -> Any:
    """The module that needs asyncua, imported beside the loop: it takes a third of a second."""
    try:
        return await asyncio.to_thread(importlib.import_module, _CLIENT)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ashore_discovery"):
            raise
        raise HandlerError(
            f"'opcua' needs the package {error.name}, which is missing: pip install 'ashore-discovery[opcua]'"
        ) from error


def _target(facet: Facet) -> Target | None:
    """Where a server was reached last, by its facts: those are there after a restart, too."""
    address, port, url = (facet.facts.get(name) for name in ("address", "port", "url"))
    if isinstance(address, str) and isinstance(port, int) and isinstance(url, str):
        return Target(address, port, url)
    return None

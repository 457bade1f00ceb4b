"""Devices that are only words, to try configurations and brokers with; the same as Akri's `debugEcho`.

They are there as long as a configuration describes them, and away while a file holds `OFFLINE`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, cast

import msgspec
from msgspec import Meta

from ashore_discovery.handler import Context, Handler, Seen
from ashore_discovery.handlers.pauses import rest
from ashore_discovery.model import Facet, Offer, Refusal, Sighting, Swept

Plan = tuple[str, ...]
_MOST_BYTES = 64


class DebugEchoDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a configuration may say."""

    descriptions: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=256)]],
        Meta(max_length=1000, description="A device for each of these words"),
    ]


class DebugEchoSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node's file may say."""

    availability_file: Annotated[str, Meta(description="While it holds `OFFLINE`, no device is there")] = (
        "/tmp/debug-echo-availability.txt"  # noqa: S108 - where users of Akri write it
    )
    scan_seconds: Annotated[float, Meta(gt=0, description="How often the file is looked at")] = 1.0


class DebugEcho(Handler[DebugEchoDetails, Plan]):
    """Says what it is told to say."""

    name = "debug-echo"
    summary = "Devices that are only words, for trials; Akri's `debugEcho`"
    details_type = DebugEchoDetails
    settings_type = DebugEchoSettings
    exhaustive = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(DebugEchoSettings, context.settings)
        self._wanted: Plan = ()
        self._scan_now = asyncio.Event()

    @classmethod
    def plan(cls, details: Sequence[DebugEchoDetails]) -> Plan:
        """Every description once."""
        return tuple(sorted({text for one in details for text in one.descriptions}))

    def replan(self, plan: Plan) -> bool:
        """Other words are no reason to start anew."""
        self._wanted = plan
        self._scan_now.set()
        return True

    async def scan(self) -> None:
        """Look at the file now."""
        self._scan_now.set()

    async def run(self, plan: Plan) -> Seen:
        """Say every word, and again whenever something may have changed."""
        self._wanted = plan
        self.context.report("polling", "")
        while True:
            begun = self.context.clock()
            if not self._offline():
                for text in self._wanted:
                    yield Sighting(id=text, cause="described", facts={"description": text}, wire_at=begun)
            yield Swept(begun=begun)
            await rest(self._settings.scan_seconds, self._scan_now)
            self._scan_now.clear()

    def _offline(self) -> bool:
        try:
            with Path(self._settings.availability_file).open("rb") as file:
                return b"OFFLINE" in file.read(_MOST_BYTES)
        except OSError:
            return False

    @classmethod
    def offer(cls, details: DebugEchoDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A configuration wants the words that it describes."""
        del others
        if facet.id not in details.descriptions:
            return Refusal(f"'{facet.id}' is not among the descriptions")
        return Offer(properties={"DEBUG_ECHO_DESCRIPTION": facet.id})

"""Handlers that do everything wrong, as entry points name them."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from ashore_discovery.handler import Handler, Seen
from ashore_discovery.model import Sighting, Swept


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details without any."""


class Base(Handler[Nothing, None]):
    summary = "For tests"
    details_type = Nothing
    starts: ClassVar[int] = 0

    @classmethod
    def plan(cls, details: Sequence[Nothing]) -> None:
        return None

    def first(self) -> list[Sighting | Swept]:
        type(self).starts += 1
        return [Sighting(id="thing"), Swept(begun=self.context.clock() - 1)]


class Raising(Base):
    name = "raising"

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item
        await asyncio.sleep(0.05)
        raise RuntimeError("the antenna fell off")


class Dropping(Base):
    """Hears rubbish, and says so."""

    name = "dropping"

    async def run(self, plan: None) -> Seen:
        self.context.dropped("datagram of 10.0.0.9: too large")
        for item in self.first():
            yield item
        await asyncio.Event().wait()


class Worse(Base):
    """An error of the kind that `except Exception` does not see, as bacpypes3 has them."""

    name = "worse"

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item
        raise BaseException("not even an Exception")  # noqa: TRY002


class Cancelled(Base):
    """One whose library cancels what it waits for, and nobody else is cancelled."""

    name = "cancelled"

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item
        given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await given_up


class Hanging(Base):
    name = "hanging"
    stall_after = 0.2

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item
        await asyncio.Event().wait()


class Leaking(Base):
    """One whose helper dies while it goes on."""

    name = "leaking"

    async def run(self, plan: None) -> Seen:
        async def die() -> None:
            raise OSError("the helper is dead")

        self.context.spawn(die())
        for item in self.first():
            yield item
        await asyncio.Event().wait()


class Forsaken(Base):
    """One whose helper ends without a word, as its library cancels what that waits for."""

    name = "forsaken"

    async def run(self, plan: None) -> Seen:
        async def give_up() -> None:
            raise asyncio.CancelledError

        self.context.spawn(give_up())
        for item in self.first():
            yield item
        await asyncio.Event().wait()


class Ending(Base):
    name = "ending"

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item


class Babbling(Base):
    """One that yields what no sighting may be, and then something good."""

    name = "babbling"

    async def run(self, plan: None) -> Seen:
        yield Sighting(id="x" * 100_000)
        yield Sighting(id="big", facts={"text": "y" * 100_000})
        yield Sighting(id="wrong", facts={"x": object()})  # type: ignore[dict-item]
        for item in self.first():
            yield item
        await asyncio.Event().wait()


class Probing(Base):
    """Says that its device was missed, and has a probe that cannot be trusted."""

    name = "probing"
    probe_timeout = 0.05

    async def run(self, plan: None) -> Seen:
        for item in self.first():
            yield item
        await asyncio.sleep(0.1)
        yield Sighting(id="thing", kind="missed")
        await asyncio.Event().wait()

    async def probe(self, facet: object) -> bool | None:
        await asyncio.sleep(60)
        return True


class Unsure(Probing):
    """Whose library gives a probe up."""

    name = "unsure"

    async def probe(self, facet: object) -> bool | None:
        raise asyncio.CancelledError


class Flooding(Base):
    """Repeats a packet of a stranger, again and again, each a little different."""

    name = "flooding"

    async def run(self, plan: None) -> Seen:
        for number in range(20_000):
            yield Sighting(id="thing", facts={"number": number})
        yield Sighting(id="thing", kind="gone")
        await asyncio.Event().wait()

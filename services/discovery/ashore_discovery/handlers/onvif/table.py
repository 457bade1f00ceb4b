"""All devices that somebody has told of, and what they have answered when they were asked what they are."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ashore_discovery.handler import Context, Limits
from ashore_discovery.handlers.onvif import credentials
from ashore_discovery.handlers.onvif.camera import Camera, Told
from ashore_discovery.handlers.onvif.details import OnvifSettings
from ashore_discovery.handlers.onvif.knowing import Known, neighbour, places, sighting
from ashore_discovery.handlers.onvif.post import Place, PostError
from ashore_discovery.handlers.onvif.sockets import Datagram
from ashore_discovery.handlers.onvif.wsdiscovery import Message, Target
from ashore_discovery.model import Sighting

if TYPE_CHECKING:
    from ashore_discovery.handlers.onvif.watching import Watching

ONE_SECONDS: Final = 4.0
"""How long one device may take for all its answers."""
AGAIN_SECONDS: Final = 30.0
_PAUSES: Final = (1.0, 2.0, 4.0)
"""A device that says hello may not have started its own service yet."""
_LATER: Final = (30.0, 60.0, 120.0, 300.0, 600.0)
_MOST_NAMED: Final = 8


class Table:
    """Devices by their endpoint references."""

    def __init__(self, context: Context, settings: OnvifSettings, put: Callable[[Sighting], None]) -> None:
        self._context = context
        self._settings = settings
        self._put = put
        self._known: dict[str, Known] = {}
        self._stores: list[credentials.Store] = []
        self._complaints: list[str] = []
        self._later: set[str] = set()

    def __iter__(self) -> Iterator[Known]:
        return iter(list(self._known.values()))

    def get(self, epr: str) -> Known | None:
        """The device with this endpoint reference."""
        return self._known.get(epr)

    def add(self, known: Known) -> None:
        """One that was found otherwise than by its words."""
        if len(self._known) < Limits().devices:
            self._known.setdefault(known.epr, known)

    def remove(self, known: Known) -> None:
        """It is not looked after any more."""
        self._known.pop(known.epr, None)

    def use(self, properties: list[dict[str, str]]) -> None:
        """These credentials are known from now on; who did not take the old ones is asked again."""
        self._complaints = []
        both = [*properties, self._settings.credentials]
        self._stores = [credentials.read(one, self._context.secret, self._complaints.append) for one in both]
        for known in self:
            if known.told and known.told.credentials in ("missing", "refused"):
                self._context.spawn(self._ask_and_say(known, "credentials"))

    def hear(self, message: Message, target: Target, datagram: Datagram) -> Sighting:
        """It is there."""
        known = self._known.get(target.epr) or Known(epr=target.epr, version=message.version)
        is_new = target.epr not in self._known
        known.hear(target, datagram.sender, datagram.at)
        self.add(known)
        # What answers our own question has proven more than what anybody can shout.
        known.proven = known.proven or bool(message.relates_to)
        if is_new:
            known.due = datagram.at + self._settings.check_seconds
        elif message.kind == "Hello" and known.told and datagram.at - known.asked_at > AGAIN_SECONDS:
            # It has started anew, perhaps with other firmware.
            self._context.spawn(self._ask_and_say(known, "asked"))
        cause = {"Hello": "hello", "ProbeMatches": "probe-match"}.get(message.kind, "resolve-match")
        return sighting(known, self.places(known), cause, datagram.at)

    def bye(self, target: Target, datagram: Datagram, watching: "Watching") -> Sighting | None:
        """It says that it leaves; none where it is somebody else who says so."""
        known = self._known.get(target.epr)
        if known is not None:
            hosts = {one.host.partition("%")[0] for one in self.places(known).values()}
            if datagram.sender not in hosts | set(known.senders.values()):
                return None
            known.leaving = True
            self._context.spawn(watching.doubt_bye(known))
        return Sighting(id=target.epr, kind="bye", cause="bye", wire_at=datagram.at)

    def say(self, known: Known, cause: str) -> None:
        """Tell of it otherwise than because of its words."""
        if cause == "answered" and known.late:
            # It was away, and may have other firmware now.
            self._context.spawn(self._ask_and_say(known, "asked"))
        self._put(sighting(known, self.places(known), cause, self._context.clock()))

    def miss(self, known: Known, cause: str) -> None:
        """It should have answered."""
        self._put(Sighting(id=known.epr, kind="missed", cause=cause, wire_at=self._context.clock()))

    def places(self, known: Known) -> dict[str, Place]:
        """Where it may be asked."""
        return places(known, self._context.network, self._context.interface)

    async def ask(self, known: Known) -> bool:
        """Ask it what it is. A device that cannot say now is asked later, until it has said it."""
        for pause in (*_PAUSES, None):
            if await self._ask_once(known):
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        if known.epr not in self._later and self._known.get(known.epr) is known:
            self._later.add(known.epr)
            self._context.spawn(self._ask_later(known))
        return False

    def troubles(self) -> list[str]:
        """What people should know: secrets that are not there, devices that do not take them."""
        found = self._complaints[:_MOST_NAMED]
        for why, text in (("refused", "do not take their credentials"), ("missing", "want credentials and have none")):
            named = [one.address for one in self if one.told and one.told.credentials == why]
            if named:
                more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
                found.append(f"these devices {text}: {', '.join(named[:_MOST_NAMED])}{more}")
        return found

    async def _ask_once(self, known: Known) -> bool:
        uuid = known.epr.removeprefix("urn:uuid:")
        for where in list(self.places(known).values())[:2]:
            known.asked_at = self._context.clock()
            candidates = credentials.candidates(self._stores, uuid)
            camera = Camera(where, candidates, clock=self._context.clock, pace=self._context.pace)
            try:
                async with asyncio.timeout(ONE_SECONDS):
                    told = await camera.tell()
            except (PostError, TimeoutError) as error:
                self._context.log.debug("device does not say what it is", device=known.epr, reason=repr(error))
                continue
            self._learn(known, told, where)
            return True
        return False

    def _learn(self, known: Known, told: Told, where: Place) -> None:
        known.told, known.proven = told, True
        try:
            known.neighbour = neighbour(where.host, Path("/proc/net/arp").read_text("ascii"))
        except (OSError, ValueError):
            known.neighbour = ""

    async def _ask_later(self, known: Known) -> None:
        try:
            for pause in _LATER:
                await asyncio.sleep(pause)
                if self._known.get(known.epr) is not known:
                    return
                if await self._ask_once(known):
                    known.late = True
                    self.say(known, "asked")
                    return
        finally:
            self._later.discard(known.epr)

    async def _ask_and_say(self, known: Known, cause: str) -> None:
        was = known.told
        for pause in (0.0, *_PAUSES):
            await asyncio.sleep(pause)
            if await self._ask_once(known):
                break
        if known.told != was and self._known.get(known.epr) is known:
            known.late = True
            self.say(known, cause)

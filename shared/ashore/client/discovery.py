"""What discovery agents answer, over NATS: they have no REST API, since an edge node may be reached by nobody."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Final, TypeVar

import msgspec

from ashore.bus import Bus, NoResponder
from ashore.bus.telling import tell
from ashore.client.errors import ClientError
from ashore.events import AgentAlive, ConfigurationSet, DeviceSeen, Event, Match, Value, open_event, token_of

QUIET_SECONDS: Final = 0.7
"""After so long without one, all agents that the stream knows have been read."""
ANSWER_SECONDS: Final = 5.0
_READ_SECONDS: Final = 60.0
"""All that a node has told is read in this time, or never."""
_MISSED: Final = 3
"""After so many heartbeats that did not come an agent is believed to be away."""
_LONGEST_READABLE: Final = 100
_FORMS: Final = {
    "site": (re.compile("[a-z0-9-]{1,63}"), "a-z, 0-9 and -, at most 63 of them"),
    "node": (re.compile("[a-z0-9][a-z0-9.-]{0,127}"), "a-z, 0-9, - and ., at most 128 of them"),
    "configuration": (
        re.compile("(?=.{1,128}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?"),
        "a-z, 0-9, - and ., at most 128 of them, with a letter or a digit at both ends",
    ),
}
"""What a name must be, and how people are told."""


class DiscoveredDevice(msgspec.Struct, kw_only=True):
    """A device that a node sees, wanted by a configuration or not."""

    key: str
    handler: str
    state: str
    revision: int = 0
    cause: str = ""
    shared: bool = False
    flapping: bool = False
    facts: dict[str, Value] = {}
    endpoints: list[str] = []
    facets: list[str] = []
    aliases: list[str] = []
    matches: list[Match] = []
    appeared_at: float = 0.0
    changed_at: float = 0.0
    heard_at: float = 0.0


class DevicePage(msgspec.Struct, kw_only=True):
    """A part of a node's inventory."""

    devices: list[DiscoveredDevice]
    next: str = ""
    quarantined: dict[str, list[str]] = {}


class Judgement(msgspec.Struct, kw_only=True):
    """What a configuration thinks of a device."""

    configuration: str
    matched: bool
    why: str


class DeviceFacet(msgspec.Struct, kw_only=True):
    """A device as one listener sees it."""

    source: str
    id: str
    state: str
    heard_at: float
    cause: str
    identity: list[str] = []


class Explanation(msgspec.Struct, kw_only=True):
    """A device, and why it is wanted or not."""

    device: DiscoveredDevice
    facets: list[DeviceFacet] = []
    judgements: list[Judgement] = []
    told: bool = False
    rulings: list[str] = []


class ListenerHealth(msgspec.Struct, kw_only=True):
    """How one listener works."""

    source: str
    mode: str
    reason: str = ""
    devices: int = 0
    quarantined: int = 0
    last_event_at: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    dropped: int = 0
    restarts: int = 0


class AgentHealth(msgspec.Struct, kw_only=True):
    """How an agent works."""

    node: str
    release: str = ""
    devices: int = 0
    unpublished: int = 0
    memory_mb: float = 0.0
    sources: list[ListenerHealth] = []
    configurations: list[str] = []
    problems: dict[str, list[str]] = {}


class Rescan(msgspec.Struct, kw_only=True):
    """Which listeners look around now."""

    sources: list[str]


class _Problem(msgspec.Struct, kw_only=True):
    problem: str = ""
    remedy: str = ""


T = TypeVar("T")


def _is_silent(event: AgentAlive, time: datetime) -> bool:
    """Whether it should have said something since, and has not."""
    return datetime.now(UTC) - time > timedelta(seconds=_MISSED * event.interval_seconds)


def _token(kind: str, name: str) -> str:
    """A name as a part of a subject; raise ClientError where nothing of this kind can have it."""
    form, letters = _FORMS[kind]
    if not form.fullmatch(name):
        raise ClientError(f"no {kind} can have the name '{name}'", remedy=f"write it with {letters}")
    return token_of(name)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def configured(site: str, name: str, configuration: object) -> ConfigurationSet:
    """That all agents of a site look for this, or no longer where it is None; raise ClientError for a bad name."""
    token = _token("configuration", name)
    if token != name:
        # A dot and a dash look alike there, and `a.b` is another configuration than `a-b`.
        token = f"{token[:_LONGEST_READABLE]}-{_digest(name)}"
    raw = msgspec.Raw(msgspec.json.encode(configuration))
    return ConfigurationSet(site=_token("site", site), token=token, configuration=raw)


def ruled(site: str, name: str, ruling: object) -> ConfigurationSet:
    """What people say of a device to all agents of a site; None takes it back."""
    # Configurations never have such a token, and names of devices may have letters that no token has.
    token = f"-{re.sub('[^a-z0-9]', '-', name.lower())[:40]}-{_digest(name)}"
    null, raw = msgspec.Raw(b"null"), msgspec.Raw(msgspec.json.encode(ruling))
    return ConfigurationSet(site=_token("site", site), token=token, configuration=null, ruling=raw)


def _where(site: str, node: str) -> str:
    """The part of a subject that says where; a star is any."""
    return ".".join(name if name == "*" else _token(kind, name) for kind, name in (("site", site), ("node", node)))


class DiscoveryClient:
    """What agents can be asked; every call may raise ClientError or BusError."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def agents(self, site: str = "*", node: str = "*") -> list[AgentAlive]:
        """The agents that have been alive and are not retired, each with what it said last, by site and node."""
        found: dict[str, AgentAlive] = {}
        for event in await self._kept(f"{AgentAlive.name}.{_where(site, node)}", ANSWER_SECONDS):
            if isinstance(event, AgentAlive):
                found[event.subject] = event
        return [found[subject] for subject in sorted(found) if not found[subject].retired]

    async def soonest(self, seconds: float) -> AgentAlive | None:
        """An agent that is alive and has looked around, as soon as one is heard; None after that time."""
        async with aclosing(self._bus.follow([f"{AgentAlive.name}.*.*"], replay=True)) as events:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for _, one in events:
                        event = open_event(one)
                        if isinstance(event, AgentAlive) and event.epoch and not _is_silent(event, one.time):
                            return event
        return None

    async def watch(self, site: str = "*", node: str = "*") -> AsyncGenerator[DeviceSeen, None]:
        """What devices do from now on, without end."""
        async with aclosing(self._bus.follow([f"{DeviceSeen.name}.{_where(site, node)}.>"])) as events:
            async for _, one in events:
                event = open_event(one)
                if isinstance(event, DeviceSeen):
                    yield event

    async def devices(self, agent: AgentAlive, *, gone: bool = False) -> list[DiscoveredDevice]:
        """The inventory of a node."""
        found: list[DiscoveredDevice] = []
        after = ""
        while True:
            page = await self._ask(agent, "list", {"after": after, "gone": gone}, DevicePage)
            found += page.devices
            after = page.next
            if not after:
                return found

    async def explain(self, agent: AgentAlive, key: str) -> Explanation:
        """A device, and what each configuration thinks of it."""
        return await self._ask(agent, "explain", {"key": key}, Explanation)

    async def rescan(self, agent: AgentAlive, handlers: list[str]) -> list[str]:
        """Have the listeners of these handlers, or of all, look around now; the answer is which ones do."""
        return (await self._ask(agent, "rescan", {"handlers": handlers}, Rescan)).sources

    async def health(self, agent: AgentAlive) -> AgentHealth:
        """How an agent works."""
        return await self._ask(agent, "health", {}, AgentHealth)

    async def forget(self, agent: AgentAlive) -> None:
        """Say for an agent that will never speak again that it is retired, and that its devices are gone.

        Its last word is that everything it has told is of an older snapshot, which is how every subscriber already
        tells what is no longer there. One that answers is not retired: it would only take that back.
        """
        if await self._answers(agent):
            raise ClientError(
                f"the agent of {agent.node} at {agent.site} answers", remedy="stop it for good, then forget it"
            )
        told = await self._kept(f"{DeviceSeen.name}.{agent.site}.{agent.node}.>", _READ_SECONDS)
        epoch = max([agent.epoch, *(event.epoch for event in told if isinstance(event, DeviceSeen))])
        # Not the present time: the agent may return with a clock that is behind ours, and its devices shall count.
        last = msgspec.structs.replace(agent, epoch=epoch + 1, devices=0, handlers=[], retired=True)
        await self._publish(last)

    async def _answers(self, agent: AgentAlive) -> bool:
        try:
            await self._bus.request(f"discovery.{agent.site}.{agent.node}.health", b"", timeout=ANSWER_SECONDS)
        except NoResponder:
            return False
        return True

    async def instruct(self, *instructions: ConfigurationSet) -> None:
        """Tell all agents of a site what `configured` and `ruled` have made."""
        for instruction in instructions:
            await self._publish(instruction)

    async def _publish(self, event: Event) -> None:
        await tell(self._bus, event, source="/cli", identity=token_hex(16), at=time.time())

    async def _kept(self, subject: str, seconds: float) -> list[Event]:
        """What the stream has kept of these subjects until now, as far as it can be read in this time."""
        found: list[Event] = []
        began = datetime.now(UTC)
        async with aclosing(self._bus.follow([subject], replay=True)) as events:
            with suppress(TimeoutError, StopAsyncIteration):
                async with asyncio.timeout(seconds):
                    while True:
                        async with asyncio.timeout(QUIET_SECONDS):
                            _, one = await anext(events)
                        found.append(open_event(one))
                        if one.time > began:
                            # What was said before we asked has all been read.
                            break
        return found

    async def _ask(self, agent: AgentAlive, verb: str, question: object, kind: type[T]) -> T:
        subject = f"discovery.{agent.site}.{agent.node}.{verb}"
        try:
            body = await self._bus.request(subject, msgspec.json.encode(question), timeout=ANSWER_SECONDS)
        except NoResponder as error:
            raise ClientError(
                f"the agent of {agent.node} at {agent.site} does not answer",
                remedy="see whether it runs, and whether it reaches the bus",
            ) from error
        problem = msgspec.json.decode(body, type=_Problem)
        if problem.problem:
            raise ClientError(problem.problem, remedy=problem.remedy)
        return msgspec.json.decode(body, type=kind)

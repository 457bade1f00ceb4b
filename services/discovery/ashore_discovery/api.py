"""The inventory, and what else people ask an agent: requests on `discovery.<site>.<node>.<verb>` over NATS.

| verb | question | answer |
|---|---|---|
| `list` | ListQuestion | ListAnswer: every device, wanted or not, in pages |
| `explain` | ExplainQuestion | ExplainAnswer: one device, and what each configuration thinks of it |
| `rescan` | RescanQuestion | RescanAnswer: which listeners look around now |
| `health` | nothing | HealthAnswer: how each listener works, and what cannot be used |

A question that cannot be understood, or names nothing, gets a Problem.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from ashore_discovery.agent import Agent
from ashore_discovery.health import SourceReport
from ashore_discovery.matching.desk import Judgement
from ashore_discovery.tracking.device import Device, View

MOST_DEVICES: Final = 200
_MOST_BYTES: Final = 512 * 1024
"""A page is shorter where devices have much to say: the bus carries a megabyte."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer, and what to do."""

    problem: str
    remedy: str = ""


class ListQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices."""

    after: Annotated[str, Meta(max_length=256, description="The key that the last page ended with")] = ""
    gone: Annotated[bool, Meta(description="The latest that are gone, too")] = False


class ListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of devices, by key."""

    devices: list[View]
    next: str = ""
    quarantined: dict[str, list[str]] = {}
    """By listener: the latest that were not let in."""


class ExplainQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which device: its key, an alias, what people call it, a name such as `mac:...`, or the beginning of a key."""

    key: Annotated[str, Meta(min_length=1, max_length=256)]


class FacetView(msgspec.Struct, frozen=True, kw_only=True):
    """A device as one listener sees it."""

    source: str
    id: str
    state: str
    heard_at: float
    cause: str
    identity: list[str]


class ExplainAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one device, and what each configuration thinks of it."""

    device: View
    facets: list[FacetView]
    judgements: list[Judgement]
    told: Annotated[bool, Meta(description="Whether the bus believes that it is there")]
    demoted: Annotated[list[str], Meta(description="What identifies nobody, since two had it at once")] = []
    rulings: Annotated[list[str], Meta(description="What people say of it, a sentence each")] = []


class RescanQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With which handlers; none means all."""

    handlers: Annotated[list[str], Meta(max_length=64)] = []


class RescanAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which listeners look around now."""

    sources: list[str]


class HealthAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the agent works."""

    site: str
    node: str
    release: str
    epoch: int
    complete: int
    unpublished: int
    devices: int
    memory_mb: float
    sources: list[SourceReport]
    configurations: list[str]
    problems: dict[str, list[str]]
    handlers: list[str]


Q = TypeVar("Q", bound=msgspec.Struct)
Verb = Callable[[bytes], Awaitable[bytes]]


class Api:
    """Answers questions."""

    def __init__(self, agent: Agent, health: Callable[[], HealthAnswer]) -> None:
        self._agent = agent
        self._tracker = agent.tracker
        self._desk = agent.desk
        self._health_now = health

    def verbs(self) -> dict[str, Verb]:
        """Every verb with what answers it."""
        return {
            "list": lambda body: _answered(ListQuestion, body, self._list),
            "explain": lambda body: _answered(ExplainQuestion, body, self._explain),
            "rescan": lambda body: _answered(RescanQuestion, body, self._rescan),
            "health": lambda _: _answered(msgspec.Struct, b"", self._health),
        }

    async def _list(self, question: ListQuestion) -> ListAnswer:
        devices = {device.key: device.view() for device in self._tracker.registry.devices.values()}
        if question.gone:
            devices = {view.key: view for view in self._tracker.teller.departed} | devices
        keys = sorted(key for key in devices if key > question.after)
        page: list[View] = []
        size = 0
        for key in keys[:MOST_DEVICES]:
            size += len(msgspec.json.encode(devices[key]))
            if page and size > _MOST_BYTES:
                break
            page.append(devices[key])
        quarantined = {source: list(gate.waiting) for source, gate in self._tracker.quarantines.items() if gate.waiting}
        return ListAnswer(devices=page, next=page[-1].key if len(page) < len(keys) else "", quarantined=quarantined)

    async def _explain(self, question: ExplainQuestion) -> ExplainAnswer | Problem:
        found = self._find(question.key)
        if isinstance(found, Problem):
            return found
        registry = self._tracker.registry
        facets = [
            FacetView(
                source=one.facet.source,
                id=one.facet.id,
                state=one.state,
                heard_at=one.heard_at,
                cause=one.cause,
                identity=registry.names_of(one),
            )
            for one in found.presences
        ]
        return ExplainAnswer(
            device=found.view(),
            facets=facets,
            judgements=self._desk.judge(found),
            told=found.told is not None,
            demoted=sorted(registry.demoted)[:MOST_DEVICES],
            rulings=registry.rulings.explain(found.names(set())),
        )

    async def _rescan(self, question: RescanQuestion) -> RescanAnswer:
        return RescanAnswer(sources=await self._agent.listeners.scan(question.handlers))

    async def _health(self, _: object) -> HealthAnswer:
        return self._health_now()

    def _find(self, text: str) -> Device | Problem:
        registry = self._tracker.registry
        exact = registry.by_name(text)
        if exact is not None:
            return exact
        found = [device for key, device in registry.devices.items() if key.startswith(text)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(sorted(device.key for device in found)[:5])
            return Problem(problem=f"'{text}' begins several keys: {keys}", remedy="give more of it")
        return Problem(problem=f"this node sees no device '{text}'", remedy="`ashore discovery list` names all")


async def _answered(kind: type[Q], body: bytes, answer: Callable[[Q], Awaitable[msgspec.Struct]]) -> bytes:
    try:
        question = msgspec.json.decode(body or b"{}", type=kind) if kind is not msgspec.Struct else kind()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return msgspec.json.encode(Problem(problem=f"this is no {kind.__name__}: {error}"))
    return msgspec.json.encode(await answer(question))

"""All configurations at once: which of them want a device, what their brokers get, and why the others do not."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ashore.events import Match
from ashore_discovery.configurations.document import Configuration
from ashore_discovery.handler import Handler
from ashore_discovery.matching.filters import evaluate
from ashore_discovery.model import IDENTITY_RANKS, Facet, Offer, Refusal
from ashore_discovery.tracking import identity
from ashore_discovery.tracking.departure import DEFAULT, Departure
from ashore_discovery.tracking.device import Device

AnyHandler = type[Handler[Any, Any]]
_LONGEST_NAME: Final = 40


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that can be used: its handler is known, and its details have been read."""

    configuration: Configuration
    handler: AnyHandler
    details: msgspec.Struct


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration thinks of one device, for people."""

    configuration: str
    matched: bool
    why: str


class ConfigurationDesk:
    """What the tracker asks, answered from the configurations in force."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._wanted: dict[str, Wanted] = {}
        self._facets: dict[str, dict[tuple[str, str], Facet]] = {}
        self._grouping: list[Wanted] = []

    def use(self, wanted: Sequence[Wanted]) -> None:
        """These configurations are in force from now on."""
        self._wanted = {one.configuration.name: one for one in wanted}
        self._grouping = [one for one in wanted if one.handler.groups(one.details)]
        self._facets.clear()

    def departure(self, configuration: str) -> Departure:
        """See `Desk.departure`."""
        found = self._wanted.get(configuration)
        return found.configuration.departure if found else DEFAULT

    def kin(self, device: Device) -> bool:
        """See `Desk.kin`."""
        return bool(self._grouping) and self._note(device)

    def matches(self, device: Device) -> dict[str, Match]:
        """See `Desk.matches`."""
        found: dict[str, Match] = {}
        for name, wanted in self._wanted.items():
            answer = self._answer(wanted, device)
            if isinstance(answer, Offer):
                found[name] = Match(
                    configuration=name,
                    instance=self._instance(wanted.configuration, device),
                    properties=answer.properties,
                    device_nodes=answer.device_nodes,
                    mounts=answer.mounts,
                )
        return found

    def judge(self, device: Device) -> list[Judgement]:
        """What each configuration thinks of the device, and why."""
        judgements: list[Judgement] = []
        for name, wanted in self._wanted.items():
            answer = self._answer(wanted, device)
            matched = isinstance(answer, Offer)
            why = answer.why if isinstance(answer, Refusal) else self._reason(wanted, device)
            judgements.append(Judgement(configuration=name, matched=matched, why=why))
        return judgements

    def _reason(self, wanted: Wanted, device: Device) -> str:
        if wanted.configuration.match is None:
            return f"the handler {wanted.handler.name} offers it, and there is no further filter"
        return evaluate(wanted.configuration.match, device.facts()).why

    def _answer(self, wanted: Wanted, device: Device) -> Offer | Refusal:
        configuration = wanted.configuration
        if not any(fnmatch.fnmatchcase(self._node, pattern) for pattern in configuration.nodes or ["*"]):
            return Refusal(f"it is for the nodes {', '.join(configuration.nodes)}, and this is {self._node}")
        presences = [
            one for one in device.presences if one.facet.handler == wanted.handler.name and one.state != "gone"
        ]
        answer: Offer | Refusal = Refusal(f"the handler {wanted.handler.name} does not see it")
        for presence in presences:
            answer = self._offer(wanted, device.merged(presence))
            if isinstance(answer, Offer):
                break
        if isinstance(answer, Refusal) or configuration.match is None:
            return answer
        verdict = evaluate(configuration.match, device.facts())
        return answer if verdict.holds else Refusal(verdict.why)

    def _offer(self, wanted: Wanted, facet: Facet) -> Offer | Refusal:
        try:
            return wanted.handler.offer(wanted.details, facet, lambda: self._others(wanted))
        except Exception as error:  # noqa: BLE001 - a handler that is broken harms only its own configurations
            return Refusal(f"the handler {wanted.handler.name} fails at it: {error!r}")

    def _others(self, wanted: Wanted) -> Iterable[Facet]:
        return self._facets.get(wanted.handler.name, {}).values()

    def _note(self, device: Device) -> bool:
        """Keep facets at hand that a group may be made of; whether this device has, or had, any."""
        found = False
        for presence in device.presences:
            facet = presence.facet
            kept = self._facets.setdefault(facet.handler, {})
            was = kept.pop((facet.source, facet.id), None)
            fits = presence.state != "gone" and any(
                one.handler.name == facet.handler and one.handler.concerns(one.details, facet) for one in self._grouping
            )
            if fits:
                kept[facet.source, facet.id] = facet
            found = found or fits or was is not None
        return found

    def _instance(self, configuration: Configuration, device: Device) -> str:
        """The name of the device for this configuration: by what the configuration says identifies it."""
        chosen = _chosen(configuration, device)
        place = "" if device.shared else f"@{self._node}"
        return f"{configuration.token[:_LONGEST_NAME]}-{identity.digest(chosen + place)[:10]}"


def _chosen(configuration: Configuration, device: Device) -> str:
    names = device.names(set())
    order: Mapping[str, int] = {kind: index for index, kind in enumerate(configuration.identity or IDENTITY_RANKS)}
    ranked = sorted(
        (name for name in names if identity.kind_of(name) in order), key=lambda one: order[identity.kind_of(one)]
    )
    # Without an order of its own the device's lasting key is the name: facts that are learnt later do not change it.
    return ranked[0] if configuration.identity and ranked else device.key

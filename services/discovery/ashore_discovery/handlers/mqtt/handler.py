"""The handler `mqtt`: devices at brokers, by whatever scheme they announce themselves."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, cast

from ashore_discovery.handler import Context, Handler, Limits, Seen
from ashore_discovery.handlers.globs import fits, texts
from ashore_discovery.handlers.mqtt import topic_map
from ashore_discovery.handlers.mqtt.details import (
    AnyScheme,
    HomeAssistant,
    MqttDetails,
    MqttSettings,
    Own,
    Plan,
    Record,
    Sparkplug,
    plan_of,
)
from ashore_discovery.handlers.mqtt.home_assistant import HomeAssistantScheme
from ashore_discovery.handlers.mqtt.link import Item, Link, Mode
from ashore_discovery.handlers.mqtt.own import OwnScheme
from ashore_discovery.handlers.mqtt.scheme import Scheme
from ashore_discovery.handlers.mqtt.sparkplug import SparkplugScheme
from ashore_discovery.handlers.mqtt.topic_map import TopicMapScheme
from ashore_discovery.model import Facet, Offer, Refusal, Sighting

_WAITING: Final = 256
"""So many sightings wait for the agent, and then the link waits."""


class _Running(NamedTuple):
    link: Link
    task: "asyncio.Task[None]"
    schemes: dict[str, AnyScheme]


class Mqtt(Handler[MqttDetails, Plan]):
    """Devices at MQTT brokers."""

    name = "mqtt"
    summary = "Devices at MQTT brokers: our own births and wills, Home Assistant, Sparkplug B, any topics"
    details_type = MqttDetails
    settings_type = MqttSettings
    shared = True
    probe_timeout = 3.0
    limits = Limits(devices=5000, burst=2000, per_second=10)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._settings = cast(MqttSettings, context.settings)
        self._plan: Plan = {}
        self._planned = asyncio.Event()
        self._running: dict[str, _Running] = {}
        self._modes: dict[str, Mode] = {}
        self._found: asyncio.Queue[Item] = asyncio.Queue(_WAITING)

    @classmethod
    def plan(cls, details: Sequence[MqttDetails]) -> Plan:
        """Which schemes at which brokers. What only chooses among devices is no part of it."""
        return plan_of(list(details))

    def replan(self, plan: Plan) -> bool:
        """Only the links of brokers with other schemes are made anew."""
        self._plan = plan
        self._planned.set()
        return True

    async def run(self, plan: Plan) -> Seen:
        """Say what all links hear."""
        self.replan(plan)
        self.context.spawn(self._arrange())
        while True:
            yield await self._found.get()

    async def scan(self) -> None:
        """Have all brokers send again what they retain."""
        for one in self._running.values():
            one.link.scan()

    async def probe(self, facet: Facet) -> bool | None:
        """Whether the broker, or the device, says that it is there."""
        name = facet.id.partition("/")[0]
        running = self._running.get(name)
        if running is None:
            return None if name in self._plan else False
        return await running.link.probe(facet.id, self.probe_timeout - 0.5)

    async def _arrange(self) -> None:
        """Have exactly the links that are wanted."""
        while True:
            await self._planned.wait()
            self._planned.clear()
            plan = dict(self._plan)
            for name in [name for name, one in self._running.items() if one.schemes != plan.get(name)]:
                await self._stop(name, set(plan.get(name, ())))
            for name in list(self._modes):
                if name not in plan:
                    del self._modes[name]
            for name, forms in plan.items():
                if name not in self._running:
                    self._start(name, forms)
            self._report()

    def _start(self, name: str, forms: dict[str, AnyScheme]) -> None:
        broker = self._settings.brokers.get(name)
        if broker is None:
            known = ", ".join(self._settings.brokers) or "none"
            self._modes[name] = (False, f"there is no broker '{name}' among the settings of mqtt; there are: {known}")
            return
        schemes = [_scheme(name, broker.url, form) for form in forms.values()]
        link = Link(name, broker, schemes, self.context, out=self._found.put, tell=self._tell)
        self._running[name] = _Running(link, self.context.spawn(link.run()), forms)

    async def _stop(self, name: str, kept: set[str]) -> None:
        """End a link; nobody looks any more for what only its other schemes have seen."""
        one = self._running.pop(name)
        one.task.cancel()
        await asyncio.wait([one.task])
        for scheme in one.link.schemes:
            if scheme.label not in kept:
                for known in scheme.ids():
                    await self._found.put(Sighting(id=known, kind="gone", cause="not-looked-for"))

    def _tell(self, name: str, mode: Mode) -> None:
        if name in self._running and self._modes.get(name) != mode:
            self._modes[name] = mode
            self._report()

    def _report(self) -> None:
        troubles = [reason for well, reason in self._modes.values() if not well]
        if troubles:
            self.context.report("degraded", "; ".join(troubles))
        elif self._modes.keys() >= self._plan.keys():
            self.context.report("events", "")

    @classmethod
    def problems(cls, details: MqttDetails) -> Iterable[str]:
        """No scheme at all, and maps that cannot be used."""
        if not details.schemes():
            yield "it names no scheme: give own, home_assistant, sparkplug or maps"
        for one in details.maps:
            yield from topic_map.problems(one)

    @classmethod
    def offer(cls, details: MqttDetails, facet: Facet, others: Callable[[], Iterable[Facet]]) -> Offer | Refusal:
        """A device of one of its schemes, at its broker, that looks as it says."""
        del others
        record = facet.record
        if not isinstance(record, Record):
            return Refusal("it has not been heard of since the agent was started")
        if record.broker != details.broker:
            return Refusal(f"it is at the broker '{record.broker}'")
        if record.scheme not in {one.label for one in details.schemes()}:
            return Refusal(f"it announces itself by {record.scheme}, which the configuration does not name")
        for name, pattern in details.facts.items():
            value = facet.facts.get(name, "")
            if not any(fits(one, pattern) for one in texts(value)):
                return Refusal(f"{name} is '{str(value)[:80]}', not like {pattern}")
        scheme = record.scheme.partition(":")[0]
        return Offer(properties={"MQTT_URL": record.url, "MQTT_SCHEME": scheme, "MQTT_TOPIC": record.topic})


def _scheme(broker: str, url: str, form: AnyScheme) -> Scheme:
    if isinstance(form, Own):
        return OwnScheme(broker, url, form)
    if isinstance(form, HomeAssistant):
        return HomeAssistantScheme(broker, url, form)
    if isinstance(form, Sparkplug):
        return SparkplugScheme(broker, url, form)
    return TopicMapScheme(broker, url, form)

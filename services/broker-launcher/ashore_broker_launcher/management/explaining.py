"""What would become of a configuration that need not exist.

Its problems, what agents would be told, and what would be applied for the devices that are seen now. Whether a device
is wanted the agents decide, and say so on the bus. Of a configuration that they do not have only that much is known:
what its handler does not see it does not want. Nobody here guesses the rest.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from ashore.events import DeviceSeen, Match, handler_token
from ashore_broker_launcher import names
from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.cluster import CONFIGURATION, JsonObject
from ashore_broker_launcher.desired.brokers import World, plan
from ashore_broker_launcher.desired.instances import desired_instance, naming
from ashore_broker_launcher.desired.services import configuration_service, instance_service
from ashore_broker_launcher.model import Configuration, Instance, ObjectError
from ashore_broker_launcher.presence import Sighting
from ashore_broker_launcher.reconciling.parts import Parts

MOST_DEVICES: Final = 50
"""So many are shown with their manifests, those that are wanted first."""
Wanted = Literal["yes", "no", "unknown"]
_ORDER: Final[tuple[Wanted, ...]] = ("yes", "unknown", "no")


class DeviceVerdict(msgspec.Struct, kw_only=True):
    """A device that is seen now, and what would become of it."""

    device: str
    handler: str
    nodes: list[str]
    wanted: Wanted
    why: str
    instance: str = ""
    """The name of its instance, if it were wanted."""
    manifests: list[JsonObject] = []
    """What would be applied then."""
    problems: list[str] = []


class ConfigurationExplanation(msgspec.Struct, kw_only=True):
    """What would become of a configuration."""

    namespace: str
    name: str
    problems: list[str]
    """Why it cannot be applied; a sentence each."""
    warnings: list[str] = []
    handed_out: JsonObject | None = None
    """What agents would be told."""
    devices: list[DeviceVerdict] = []
    more_devices: int = 0
    """So many more are seen, and not shown."""


class Explainer:
    """Knows what is seen, and what exists."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def explain(self, body: JsonObject) -> ConfigurationExplanation:
        """All of it; a configuration with problems is not thought through any further."""
        rules = self._parts.rules
        problems, warnings = checks.problems(body, rules), checks.warnings(body)
        metadata = body["metadata"]
        found = ConfigurationExplanation(
            namespace=metadata["namespace"], name=metadata["name"], problems=problems, warnings=warnings
        )
        if problems:
            return found
        configuration = Configuration.read(body)
        told = checks.told(configuration, rules, None)
        found.problems, found.handed_out = told.problems, told.document
        self._judge(self._applied(configuration) or configuration, found)
        return found

    def _judge(self, configuration: Configuration, found: ConfigurationExplanation) -> None:
        devices: dict[str, list[DeviceSeen]] = {}
        for seen in self._parts.presence.present():
            devices.setdefault(seen.key, []).append(seen)
        verdicts = [self._verdict(configuration, seen) for seen in devices.values()]
        verdicts.sort(key=lambda one: (_ORDER.index(one.wanted), one.device))
        found.devices, found.more_devices = verdicts[:MOST_DEVICES], max(0, len(verdicts) - MOST_DEVICES)
        for verdict in found.devices:
            if verdict.wanted != "no":
                self._think_through(configuration, verdict, devices[verdict.device])

    def _verdict(self, configuration: Configuration, seen: Sequence[DeviceSeen]) -> DeviceVerdict:
        wanted, why = self._is_wanted(configuration, seen)
        return DeviceVerdict(
            device=seen[0].key,
            handler=seen[0].handler,
            nodes=sorted(one.node for one in seen),
            wanted=wanted,
            why=why,
        )

    def _is_wanted(self, configuration: Configuration, seen: Sequence[DeviceSeen]) -> tuple[Wanted, str]:
        if self._applied(configuration) is None:
            return _guess(configuration, seen)
        if self._sightings(configuration, seen[0].key):
            return "yes", "an agent says that this configuration wants it"
        return "no", f"no agent says so: `ashore discovery explain {seen[0].key}` says why"

    def _applied(self, configuration: Configuration) -> Configuration | None:
        """The same one where it is there, just as it is explained, so that what agents say is about this very one."""
        body = self._parts.view.get(CONFIGURATION, configuration.key)
        try:
            found = Configuration.read(body) if body is not None else None
        except ObjectError:
            return None
        return found if found is not None and found.spec == configuration.spec else None

    def _think_through(
        self, configuration: Configuration, verdict: DeviceVerdict, devices: Sequence[DeviceSeen]
    ) -> None:
        parts, nodes = self._parts, self._parts.nodes
        key, own = configuration.key, configuration.metadata
        seen = self._sightings(configuration, verdict.device) or _supposed(configuration, devices)
        name = parts.index.instance_of(key, verdict.device)
        found = naming(own.name, seen, lambda taken: parts.index.device_of((own.namespace, taken)))
        digest = names.digest_of(own.name, name) if name else found.digest
        wanted = desired_instance(
            configuration, seen, digest, usage={}, node_names=nodes.names(), lost_nodes=nodes.lost()
        )
        instance = Instance.read(wanted)
        world = World(now=parts.clock(), ready_nodes=nodes.ready(), allowed_kinds=frozenset(parts.rules.manifest_kinds))
        planned = plan(configuration, instance, world)
        verdict.instance = instance.metadata.name
        verdict.manifests = [wanted, *planned.apply, *_services(configuration, instance)]
        verdict.problems = [one.message for one in planned.problems]

    def _sightings(self, configuration: Configuration, device: str) -> list[Sighting]:
        return self._parts.presence.sightings(names.bus_name(*configuration.key), device)


def _guess(configuration: Configuration, seen: Sequence[DeviceSeen]) -> tuple[Wanted, str]:
    handler = handler_token(configuration.spec.discovery_handler.name)
    by = {facet.partition(":")[0] for one in seen for facet in one.facets} | {one.handler for one in seen}
    if handler not in by:
        return "no", f"the handler {handler} does not see it"
    nodes = set(configuration.spec.nodes)
    if nodes and not nodes & {one.node for one in seen}:
        return "no", f"the configuration is for {', '.join(sorted(nodes))}"
    return "unknown", "agents do not have this configuration: they decide once it is applied"


def _supposed(configuration: Configuration, devices: Sequence[DeviceSeen]) -> list[Sighting]:
    """As if it were wanted; what its handler would say of it is not known."""
    name = names.bus_name(*configuration.key)
    return [Sighting(one, Match(configuration=name, instance=one.key)) for one in devices]


def _services(configuration: Configuration, instance: Instance) -> list[JsonObject]:
    """Made when the first broker runs."""
    spec, found = configuration.spec, []
    if spec.instance_service_spec is not None:
        found.append(instance_service(instance, spec.instance_service_spec))
    if spec.configuration_service_spec is not None:
        found.append(configuration_service(configuration, spec.configuration_service_spec))
    return found

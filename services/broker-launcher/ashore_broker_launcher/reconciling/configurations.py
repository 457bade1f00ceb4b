"""One configuration: it is checked, handed to the agents, given its turn, its service and its status.

One that cannot be used says so in its status and in an event, and what it has already stays as it is: neither its own
brokers nor anybody else's suffer from a slip of the keyboard.
"""

import collections

import structlog

from ashore.bus import BusError
from ashore_broker_launcher import names
from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.cluster import CONFIG_MAP, CONFIGURATION, INSTANCE, POD, SERVICE, JsonObject, Key, NotFound
from ashore_broker_launcher.desired.brokers import (
    Problem,
    configuration_status,
    opening,
    plan_configuration_service,
)
from ashore_broker_launcher.desired.handed_out import HandedOut, references
from ashore_broker_launcher.model import (
    CONFIGURATION_LABEL,
    Configuration,
    ConfigurationSpec,
    DiscoveryHandler,
    Instance,
    Meta_,
)
from ashore_broker_launcher.objects import is_leaving, key_of, label, uid_of
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item
from ashore_broker_launcher.reconciling.reading import read_configuration, read_instance

RETRY_SECONDS = 5.0
"""What it refers to may come: a ConfigMap, say, or the bus."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ConfigurationPass:
    """Looks at a configuration."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._looked_at: dict[Key, object] = {}

    async def look(self, item: Item) -> float | None:
        """See `queue.Pass`."""
        parts, key = self._parts, item.key
        body = parts.view.get(CONFIGURATION, key)
        if body is None or is_leaving(body):
            await self._gone(key)
            return None
        configuration = parts.verdicts.usable(key)
        if configuration is None:
            await self._refuse(body, parts.verdicts.problems(key, body))
            return None
        return await self._keep(configuration, body)

    async def _keep(self, configuration: Configuration, body: JsonObject) -> float | None:
        parts, key, now = self._parts, configuration.key, self._parts.clock()
        told = checks.told(configuration, parts.rules, await self._config_maps(configuration))
        handed, why = await self._hand(key, told)
        self._look_at_its_own(configuration)
        instances = self._instances(body)
        there = [one for one in instances if one.metadata.deletion_timestamp is None]
        for name in parts.turns.decide(configuration, there, now):
            parts.queue.add(Item("instance", (key[0], name)))
        await self._serve(configuration)
        await self._write_status(configuration, body, instances, [], handed=handed, why=why)
        changes_at = opening(configuration.spec.rollout.maintenance_window, now).changes_at
        waits = [] if changes_at is None else [changes_at - now]
        return min([*waits, *([] if handed else [RETRY_SECONDS])], default=None)

    async def _gone(self, key: Key) -> None:
        parts = self._parts
        parts.verdicts.forget(key)
        self._looked_at.pop(key, None)
        parts.turns.forget(key)
        parts.numbers.forget("/".join(key))
        if await parts.handing.give(key, None):
            log.info("configuration taken back", configuration="/".join(key))

    async def _hand(self, key: Key, told: HandedOut) -> tuple[bool, str]:
        """Give it to the agents; whether they have it, and why not."""
        if told.document is None:
            return False, "; ".join([*told.problems, *told.missing])
        try:
            if await self._parts.handing.give(key, told.document):
                log.info("configuration handed to agents", configuration="/".join(key))
        except BusError as error:
            return False, f"the bus cannot be reached: {error}"
        return True, ""

    async def _config_maps(self, configuration: Configuration) -> dict[Key, JsonObject]:
        found: dict[Key, JsonObject] = {}
        for key in sorted(references(configuration)):
            try:
                found[key] = await self._parts.cluster.get(CONFIG_MAP, *key)
            except NotFound:
                continue
        return found

    def _look_at_its_own(self, configuration: Configuration) -> None:
        """Once for each edit: all its devices and instances."""
        key, metadata = configuration.key, configuration.metadata
        state = metadata.uid, metadata.generation, metadata.annotations
        if self._looked_at.get(key) == state:
            return
        self._looked_at[key] = state
        parts = self._parts
        devices = parts.presence.devices(names.bus_name(*key)) | parts.index.devices_of(key)
        for device in sorted(devices):
            parts.queue.add(Item("device", key, device))
            if instance := parts.index.instance_of(key, device):
                parts.queue.add(Item("instance", (key[0], instance)))

    async def _serve(self, configuration: Configuration) -> None:
        """Its service over all brokers."""
        parts, metadata = self._parts, configuration.metadata
        existing = [body for kind, body in parts.view.owned(metadata.uid) if kind == SERVICE]
        if configuration.spec.configuration_service_spec is None and not existing:
            return
        pods = [
            {**body, "kind": POD.name}
            for body in parts.view.all(POD)
            if label(body, CONFIGURATION_LABEL) == metadata.name and key_of(body)[0] == metadata.namespace
        ]
        expected = bool(parts.turns.standing(configuration.key).expecting)
        wanted = plan_configuration_service(configuration, existing, pods, expected=expected)
        for doomed in wanted.delete:
            await parts.delete(SERVICE, doomed.child)
        for body in wanted.apply:
            parts.view.wrote(SERVICE, await parts.cluster.apply(SERVICE, body))

    async def _refuse(self, body: JsonObject, problems: list[str]) -> None:
        readable = read_configuration(body) or _unreadable(body)
        told = [Problem(reason="Invalid", message=problem) for problem in problems]
        why = "it is not valid; what was told before holds"
        await self._write_status(readable, body, self._instances(body), told, handed=False, why=why)
        for problem in problems:
            await self._parts.recorder.record(body, "Warning", "Invalid", problem)

    async def _write_status(
        self,
        configuration: Configuration,
        body: JsonObject,
        instances: list[Instance],
        problems: list[Problem],
        *,
        handed: bool,
        why: str,
    ) -> None:
        parts, standing = self._parts, self._parts.turns.standing(configuration.key)
        self._count(configuration, instances)
        status = configuration_status(
            configuration,
            instances,
            parts.clock(),
            problems=problems,
            handed_out=handed,
            not_handed_out=why,
            progress=list(standing.progress.values()),
            leaves=standing.leaves,
        )
        await parts.write_status(CONFIGURATION, body, status)

    def _instances(self, body: JsonObject) -> list[Instance]:
        owned = [one for kind, one in self._parts.view.owned(uid_of(body)) if kind == INSTANCE]
        return [instance for instance in map(read_instance, owned) if instance is not None]

    def _count(self, configuration: Configuration, instances: list[Instance]) -> None:
        view = self._parts.view
        owned = (view.of_instance(instance.key) for instance in instances)
        pods = [body for found in owned for kind, body in found if kind == POD and not is_leaving(body)]
        nodes = collections.Counter(str(body.get("spec", {}).get("nodeName", "")) for body in pods)
        shared = collections.Counter(instance.spec.shared for instance in instances)
        self._parts.numbers.count("/".join(configuration.key), shared, nodes)


def _unreadable(body: JsonObject) -> Configuration:
    """As much of it as every object has."""
    metadata = body["metadata"]
    own = Meta_(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
    )
    spec = ConfigurationSpec(discovery_handler=DiscoveryHandler(name=""))
    status = body.get("status")
    return Configuration(metadata=own, spec=spec, status=status if isinstance(status, dict) else {})

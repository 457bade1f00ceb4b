"""One device of one configuration: its instance is made, changed, or removed.

A device that nobody tells any more loses its instance only where that is certain: each agent that saw it has said that
it is gone, or has told all that it sees. After a loss of the bus's data, or of an agent, instances stay.
"""

from typing import Final

import structlog

from ashore.events import token_of
from ashore_broker_launcher import names
from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JsonObject, Key
from ashore_broker_launcher.desired.instances import desired_instance, naming
from ashore_broker_launcher.model import DEVICE, Configuration
from ashore_broker_launcher.objects import annotation, is_leaving, key_of, uid_of
from ashore_broker_launcher.presence import Sighting
from ashore_broker_launcher.reconciling.parts import Parts
from ashore_broker_launcher.reconciling.queue import Item
from ashore_broker_launcher.reconciling.together import together
from ashore_broker_launcher.slots import without_nodes

_SPEC: Final = ("configurationName", "cdiName", "capacity", "brokerProperties", "shared", "nodes", "deviceUsage")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class DevicePass:
    """Looks at a device of a configuration."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def look(self, item: Item) -> float | None:
        """See `queue.Pass`."""
        configuration = self._parts.verdicts.usable(item.key)
        if configuration is None:
            # With a configuration its instances go, by their owner references; where it cannot be used, they stay.
            return None
        parts = self._parts
        seen = parts.presence.sightings(names.bus_name(*item.key), item.device)
        existing = self._existing(item.key, item.device)
        if seen:
            await self._keep(configuration, seen, existing)
        elif existing is not None and self._is_gone(existing):
            await self._remove(existing)
        return None

    def _existing(self, key: Key, device: str) -> JsonObject | None:
        name = self._parts.index.instance_of(key, device)
        return self._parts.view.get(INSTANCE, (key[0], name)) if name else None

    async def _keep(self, configuration: Configuration, seen: list[Sighting], existing: JsonObject | None) -> None:
        parts, nodes, lost = self._parts, self._parts.nodes, self._parts.nodes.lost()
        if existing is not None and is_leaving(existing):
            # When it is gone the watch says so, and its successor is made.
            return
        digest = await self._digest(configuration, seen)
        key = configuration.metadata.namespace, names.instance_name(configuration.metadata.name, digest)
        async with parts.desk.lock(key):
            usage = without_nodes(parts.desk.usage(key), lost)
            names_ = nodes.names()
            wanted = desired_instance(configuration, seen, digest, usage=usage, node_names=names_, lost_nodes=lost)
            # While the lock was waited for a slot may have been granted.
            existing = parts.view.get(INSTANCE, key)
            if existing is not None and _same(existing, wanted):
                return
            if existing is None:
                parts.numbers.instance(seen)
            body = await self._write(wanted, existing)
            parts.desk.note(key, uid_of(body), usage)
            parts.view.wrote(INSTANCE, body)
        parts.index.note(body)
        parts.queue.add(Item("instance", key))

    async def _write(self, wanted: JsonObject, existing: JsonObject | None) -> JsonObject:
        """Make it, or replace what is there: nobody else writes instances, and both cost half an apply."""
        cluster, numbers = self._parts.cluster, self._parts.numbers
        if existing is None:
            numbers.writes.labels("create", INSTANCE.name).inc()
            return await cluster.create(INSTANCE, wanted)
        numbers.writes.labels("replace", INSTANCE.name).inc()
        metadata, own = existing["metadata"], wanted["metadata"]
        # What others have added to labels and annotations is theirs.
        merged = {name: {**(metadata.get(name) or {}), **own[name]} for name in ("labels", "annotations")}
        return await cluster.replace(INSTANCE, {**existing, "metadata": {**metadata, **merged}, "spec": wanted["spec"]})

    async def _digest(self, configuration: Configuration, seen: list[Sighting]) -> str:
        """The digest in its name. A name lasts: what was given to the device once is not taken away."""
        own, device, index = configuration.metadata, seen[0].seen.key, self._parts.index
        if name := index.instance_of(configuration.key, device):
            return names.digest_of(own.name, name)
        found = naming(own.name, seen, lambda name: index.device_of((own.namespace, name)))
        # Before anything is waited for: the next device may have the same digest.
        index.give(configuration.key, device, names.instance_name(own.name, found.digest))
        if found.collided:
            about = self._parts.view.get(CONFIGURATION, configuration.key)
            text = f"two devices have the digest of {device}: it gets the longer one {found.digest}"
            await self._parts.recorder.record(about or {}, "Warning", "DigestCollision", text)
        return found.digest

    def _is_gone(self, existing: JsonObject) -> bool:
        """Whether all who saw it have told what they see now, or are gone themselves."""
        parts = self._parts
        saw = existing["spec"].get("nodes") or []
        return all(parts.presence.is_complete(token_of(node)) or not parts.nodes.knows(node) for node in saw)

    async def _remove(self, existing: JsonObject) -> None:
        """The instance goes, and what it owns: the cluster would see to that too, but half a second later."""
        parts, key = self._parts, key_of(existing)
        owned = [(kind, body) for kind, body in parts.view.owned(uid_of(existing)) if not is_leaving(body)]
        await together(*(parts.delete(kind, body) for kind, body in ((INSTANCE, existing), *owned)))
        parts.queue.add(Item("instance", key))
        log.info("instance removed", instance="/".join(key), device=annotation(existing, DEVICE))


def _same(existing: JsonObject, wanted: JsonObject) -> bool:
    """Whether nothing would be different; empty fields may be absent."""
    actual, spec = existing.get("spec", {}), wanted["spec"]
    same_spec = all((actual.get(name) or None) == (spec.get(name) or None) for name in _SPEC)
    return same_spec and annotation(existing, DEVICE) == annotation(wanted, DEVICE)

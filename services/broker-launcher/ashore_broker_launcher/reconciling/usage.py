"""Who uses which slot, kept in the instances themselves: what the slot desk needs of the cluster."""

from collections.abc import Callable, Iterable
from typing import Final

from ashore_broker_launcher.cluster import INSTANCE, Cluster, ClusterError, Conflict, JsonObject, Key
from ashore_broker_launcher.objects import is_leaving, key_of, uid_of
from ashore_broker_launcher.reconciling.view import View
from ashore_broker_launcher.slots import ApplyError, Table

_ATTEMPTS: Final = 3


class UsageOfInstances:
    """See `slots.Instances`."""

    def __init__(self, cluster: Cluster, view: View, changed: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._view = view
        self._changed = changed

    def table(self, key: Key) -> Table | None:
        """See `slots.Instances.table`."""
        body = self._view.get(INSTANCE, key)
        if body is None or is_leaving(body):
            return None
        spec = body.get("spec", {})
        return Table(
            uid=uid_of(body),
            capacity=spec.get("capacity", 1),
            nodes=spec.get("nodes") or [],
            usage=spec.get("deviceUsage") or {},
        )

    def known(self) -> Iterable[Key]:
        """See `slots.Instances.known`."""
        return [key_of(body) for body in self._view.all(INSTANCE)]

    async def apply_usage(self, namespace: str, instance: str, usage: dict[str, str]) -> None:
        """See `slots.Instances.apply_usage`."""
        key = namespace, instance
        body = self._view.get(INSTANCE, key)
        if body is None:
            raise ApplyError(f"there is no instance {instance} any more")
        try:
            self._view.wrote(INSTANCE, await self._replace(key, uid_of(body), body, usage))
        except ClusterError as error:
            raise ApplyError(str(error)) from error
        self._changed(key)

    async def _replace(self, key: Key, uid: str, body: JsonObject, usage: dict[str, str]) -> JsonObject:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._cluster.replace(INSTANCE, {**body, "spec": {**body["spec"], "deviceUsage": usage}})
            except Conflict:
                # Its status, or something else of it, is newer than what is in view.
                body = await self._cluster.get(INSTANCE, *key)
                if attempt == _ATTEMPTS or uid_of(body) != uid:
                    raise
        raise AssertionError

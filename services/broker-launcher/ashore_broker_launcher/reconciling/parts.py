"""What every pass needs: the cluster and the view of it, what agents see, what was told, and where to put more work."""

from collections.abc import Callable
from typing import Final

from ashore.bus import Bus
from ashore.events import token_of
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.cluster import (
    CONFIGURATION,
    INSTANCE,
    JOB,
    NODE,
    POD,
    SERVICE,
    Cluster,
    JsonObject,
    Key,
    Kind,
    NotFound,
)
from ashore_broker_launcher.model import CONTROLLER, CONTROLLER_LABEL
from ashore_broker_launcher.objects import key_of, says, uid_of
from ashore_broker_launcher.presence import Presence
from ashore_broker_launcher.reconciling.handing import Handing
from ashore_broker_launcher.reconciling.index import DeviceIndex
from ashore_broker_launcher.reconciling.ledger import Ledger
from ashore_broker_launcher.reconciling.nodes import Nodes
from ashore_broker_launcher.reconciling.numbers import Numbers
from ashore_broker_launcher.reconciling.queue import Item, WorkQueue
from ashore_broker_launcher.reconciling.recorder import Recorder
from ashore_broker_launcher.reconciling.turns import Turns
from ashore_broker_launcher.reconciling.usage import UsageOfInstances
from ashore_broker_launcher.reconciling.verdicts import Verdicts
from ashore_broker_launcher.reconciling.view import View
from ashore_broker_launcher.slots import Desk

OURS: Final = f"{CONTROLLER_LABEL}={CONTROLLER}"
ALWAYS: Final = (CONFIGURATION, INSTANCE, POD, JOB, SERVICE, NODE)
"""What must have been read before anything can be decided."""
GATHER_SECONDS: Final = 0.2
GATHERED_PER_SECOND: Final = 2000


class Parts:
    """Put together once, for all passes."""

    def __init__(
        self,
        *,
        site: str,
        namespace: str,
        bus: Bus,
        cluster: Cluster,
        view: View,
        queue: WorkQueue,
        recorder: Recorder,
        numbers: Numbers,
        rules: Rules,
        clock: Callable[[], float],
    ) -> None:
        self.site = site
        self.namespace = namespace
        self.bus = bus
        self.cluster = cluster
        self.view = view
        self.queue = queue
        self.recorder = recorder
        self.numbers = numbers
        self.rules = rules
        self.clock = clock
        self.presence = Presence()
        self.index = DeviceIndex()
        self.nodes = Nodes(view)
        self.ledger = Ledger(site, bus, clock)
        self.handing = Handing(site, bus, clock)
        self.turns = Turns()
        self.verdicts = Verdicts(view, rules)
        self.desk = Desk(
            UsageOfInstances(cluster, view, lambda key: queue.add(Item("instance", key))),
            lambda node: self.nodes.names().get(token_of(node), node),
        )

    def look_soon(self, configuration: Key) -> None:
        """Look at a configuration once for all of its instances that change together; the more it has, the later."""
        count = len(self.turns.standing(configuration).progress)
        self.queue.add(Item("configuration", configuration), GATHER_SECONDS + count / GATHERED_PER_SECOND)

    async def delete(self, kind: Kind, body: JsonObject) -> None:
        """Delete an object; what follows sees it as leaving."""
        await self.cluster.delete(kind, *key_of(body), uid=uid_of(body))
        self.view.removed(kind, body)
        self.numbers.writes.labels("delete", kind.name).inc()

    async def write_status(self, kind: Kind, body: JsonObject, status: JsonObject) -> None:
        """Have an object say this, unless it does; one that is gone needs to say nothing."""
        if says(body.get("status"), status):
            return
        metadata = {name: body["metadata"][name] for name in ("name", "namespace")}
        wanted = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "status": status}
        try:
            self.view.wrote(kind, await self.cluster.apply_status(kind, wanted))
        except NotFound:
            return
        self.numbers.writes.labels("status", kind.name).inc()

    def follow(self, kind: Kind) -> None:
        """Have in view what was made of a kind, as soon as it has been read."""
        self.view.follow(kind, namespace=self.namespace, labels=OURS)

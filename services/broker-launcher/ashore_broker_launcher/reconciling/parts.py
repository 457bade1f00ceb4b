"""What every pass needs: the cluster and the view of it, what agents see, what was told, and where to put more work."""

from collections.abc import Callable

from ashore.bus import Bus
from ashore_broker_launcher.cluster import Cluster
from ashore_broker_launcher.presence import Presence
from ashore_broker_launcher.reconciling.handing import Handing
from ashore_broker_launcher.reconciling.index import DeviceIndex
from ashore_broker_launcher.reconciling.latency import Latency
from ashore_broker_launcher.reconciling.ledger import Ledger
from ashore_broker_launcher.reconciling.nodes import Nodes
from ashore_broker_launcher.reconciling.queue import WorkQueue
from ashore_broker_launcher.reconciling.recorder import Recorder
from ashore_broker_launcher.reconciling.view import View


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
        latency: Latency,
        allowed_kinds: frozenset[str],
        clock: Callable[[], float],
    ) -> None:
        self.site = site
        self.namespace = namespace
        self.bus = bus
        self.cluster = cluster
        self.view = view
        self.queue = queue
        self.recorder = recorder
        self.latency = latency
        self.allowed_kinds = allowed_kinds
        self.clock = clock
        self.presence = Presence()
        self.index = DeviceIndex()
        self.nodes = Nodes(view)
        self.ledger = Ledger(bus, clock)
        self.handing = Handing(site, bus, clock)

"""Waits until the cluster serves the definitions, and says why it does not."""

import asyncio
from typing import Final

import structlog

from ashore_broker_launcher.cluster import Cluster, ClusterError
from ashore_broker_launcher.crds.install import ensure

_RETRY_SECONDS: Final = 5.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Definitions:
    """The definitions as this launcher needs them."""

    def __init__(self, cluster: Cluster, *, install: bool) -> None:
        self._cluster = cluster
        self._install = install
        self._served = False
        self._told = ""

    async def wait(self) -> None:
        """Return once they are served, however long that takes."""
        while not self._served:
            try:
                await ensure(self._cluster, install=self._install)
            except ClusterError as error:
                if str(error) != self._told:
                    self._told = str(error)
                    log.warning("the cluster is not ready for the launcher", reason=self._told)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._served = True

    async def check(self) -> None:
        """Raise ClusterError as long as they are not served: for readiness."""
        if not self._served:
            raise ClusterError(self._told or "the cluster has not been asked yet")

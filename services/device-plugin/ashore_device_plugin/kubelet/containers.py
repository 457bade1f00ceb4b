"""Which containers have which devices: `v1.PodResourcesLister`."""

from pathlib import Path
from typing import Final

import structlog

from ashore.grpc import CallError, MessageError
from ashore_device_plugin.kubelet.calls import Line, ask
from ashore_device_plugin.kubelet.messages import EMPTY, read_containers

LARGEST: Final = 16 * 1024 * 1024
"""As much as the kubelet itself allows its clients to read."""
_LIST: Final = "/v1.PodResourcesLister/List"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Containers:
    """What the kubelet says of containers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line: Line | None = None
        self._said = ""

    async def used(self) -> set[tuple[str, str]] | None:
        """Every resource and id that a container has; None where the kubelet does not say."""
        if self._line is None:
            self._line = Line(self._path)
        try:
            found = read_containers(await ask(self._line, _LIST, EMPTY, largest=LARGEST))
        except (CallError, MessageError) as error:
            self.close()
            if str(error) != self._said:
                log.warning("the kubelet does not tell its containers", socket=str(self._path), reason=str(error))
            self._said = str(error)
            return None
        self._said = ""
        return found

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()
            self._line = None

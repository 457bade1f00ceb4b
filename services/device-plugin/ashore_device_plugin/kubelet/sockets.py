"""All endpoints: each is served first and registered then, with every kubelet that starts, and all of them at once."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from ashore.grpc import CallError
from ashore_device_plugin.kubelet.calls import Line, ask
from ashore_device_plugin.kubelet.calm import Calm
from ashore_device_plugin.kubelet.endpoint import NAMES, Endpoint, Offering
from ashore_device_plugin.kubelet.messages import write_registration
from ashore_device_plugin.kubelet.watching import Kubelet
from ashore_device_plugin.names import Owner

AT_ONCE: Final = 128
"""So many registrations are under way at a time: the kubelet asks back within each, and waits 10 s for an answer."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
_REGISTER: Final = "/v1beta1.Registration/Register"
_LARGEST: Final = 4096

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class AnotherPluginError(Exception):
    """Another device plugin of ours serves in the same folder."""


class Sockets:
    """The sockets in the kubelet's folder."""

    def __init__(self, folder: Path, kubelet: Kubelet, offering: Offering) -> None:
        self._folder = folder.absolute()
        self._kubelet = kubelet
        self._offering = offering
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._calm = Calm()
        self._line: Line | None = None
        self._line_life = 0
        kubelet.listeners.append(self._wake)

    def clean(self) -> None:
        """Remove what an earlier run has left; raise AnotherPluginError where somebody answers there."""
        for path in self._folder.glob(NAMES):
            if _answers(path):
                raise AnotherPluginError(f"another device plugin serves {path}: end it, one is enough for a node")
            path.unlink(missing_ok=True)

    def owners(self) -> dict[str, Owner]:
        """What is offered, by resource."""
        return {resource: endpoint.owner for resource, endpoint in self._endpoints.items()}

    def offer(self, owner: Owner) -> None:
        """Offer a resource, or tell of its offers if that is done already."""
        endpoint = self._endpoints.get(owner.resource)
        if endpoint is not None and endpoint.owner == owner:
            self._calm.soon(endpoint.changed)
            return
        before = self.end(owner.resource)
        endpoint = self._endpoints[owner.resource] = Endpoint(owner, self._offering, self._folder)
        self._tasks[endpoint] = asyncio.create_task(self._keep(endpoint, before), name=f"serve {owner.resource}")

    def end(self, resource: str) -> "asyncio.Task[None] | None":
        """Offer it no more; the answer is the task that says so to the kubelet."""
        endpoint = self._endpoints.pop(resource, None)
        if endpoint is None:
            return None
        endpoint.end()
        return self._tasks.get(endpoint)

    def unregistered(self) -> dict[str, str]:
        """Resources that the kubelet does not know yet, and why."""
        return {name: one.problem for name, one in self._endpoints.items() if not one.registered}

    async def close(self) -> None:
        """Serve no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._line is not None:
            self._line.close()

    def _wake(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.wake.set()

    async def _keep(self, endpoint: Endpoint, before: "asyncio.Task[None] | None") -> None:
        """Serve and register it with every kubelet, until it is gone."""
        try:
            if before is not None:
                await asyncio.wait([before])
            pause: float = FIRST_PAUSE
            while not endpoint.gone:
                endpoint.wake.clear()
                with self._calm.disturbed():
                    begun = await self._begin(endpoint)
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if begun or not self._kubelet.life else pause):
                        await endpoint.wake.wait()
                pause = FIRST_PAUSE if begun else min(2 * pause, LONGEST_PAUSE)
                endpoint.registered = False
                await endpoint.close()
        finally:
            endpoint.registered = False
            self._tasks.pop(endpoint, None)
            await endpoint.close()

    async def _begin(self, endpoint: Endpoint) -> bool:
        """Serve and register it; whether that is done."""
        life = self._kubelet.life
        if not life or endpoint.gone:
            return False
        try:
            # The kubelet asks back before it answers. In a burst most are served before they may register: beside a
            # kubelet that writes file after file, ext4 takes 0.4 ms of CPU for a new socket, and 0.03 ms otherwise.
            await endpoint.serve()
            async with self._room:
                if endpoint.gone or life != self._kubelet.life:
                    return False
                body = write_registration(endpoint.path.name, endpoint.owner.resource)
                await ask(self._kubelets(life), _REGISTER, body, largest=_LARGEST)
        except (OSError, CallError) as error:
            if str(error) != endpoint.problem:
                log.warning("not registered", resource=endpoint.owner.resource, reason=str(error))
            endpoint.problem = str(error)
            return False
        endpoint.registered, endpoint.problem = True, ""
        return True

    def _kubelets(self, life: int) -> Line:
        """The connection to the kubelet of this life."""
        if self._line is None or self._line_life != life:
            if self._line is not None:
                self._line.close()
            self._line, self._line_life = Line(self._kubelet.socket), life
        return self._line


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, suppress(OSError):
        asking.settimeout(1.0)
        asking.connect(str(path))
        return True
    return False

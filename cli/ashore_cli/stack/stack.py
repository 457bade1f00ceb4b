"""The whole stack on one machine, for the length of a block."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO, Final, Self
from urllib.parse import urlsplit

from ashore.bus.nats import connect
from ashore.bus.server import EmbeddedServer, ServerFailed
from ashore.client import Client, ClientError, Context
from ashore.client.context import BusEntry, ContextFile, ServiceEntry, write
from ashore.files import private_directory
from ashore.healthcheck import ask
from ashore.tls import client_context
from ashore_cli.stack.child import Child, stop_orphan
from ashore_cli.stack.happenings import AlreadyRunning, Happening, StackError, Tell, ignore
from ashore_cli.stack.layout import ADMIN_TOKEN, AUTHORITY, Layout
from ashore_cli.stack.ports import Ports, check_address
from ashore_cli.stack.prepare import prepare
from ashore_cli.stack.services import PROCESSES, SERVICES, Place, Service

__all__ = ["AlreadyRunning", "Stack", "StackError"]

ALL: Final = "*"
"""In `settings`: for every service."""
_WATCH_SECONDS: Final = 0.5


class Stack:
    """NATS and the services on this machine: `async with Stack(folder) as stack`.

    Raises AlreadyRunning, PortsTaken or StackError, each with what to do. Within the block a part that dies is started
    again; at its end everything is stopped in order, and all that was acknowledged is on disk. `settings` are further
    environment variables by service; with `kubernetes` workloads are started in the cluster that kubectl would use.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Ports | Callable[[], Ports] | None = None,
        address: str = "127.0.0.1",
        tls: bool = False,
        kubernetes: bool = False,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        tell: Tell = ignore,
    ) -> None:
        self.layout = Layout(folder.resolve())
        self._ports = ports or Ports()
        self._address = address
        self._tls = tls
        self._kubernetes = kubernetes
        self._settings = settings or {}
        self._tell = tell
        self._children: dict[str, Child] = {}
        self._cleanup = AsyncExitStack()
        self._nats: EmbeddedServer | None = None

    async def __aenter__(self) -> Self:
        """Start everything, or nothing."""
        try:
            await self._start()
        except BaseException:
            await self._cleanup.aclose()
            raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Stop everything."""
        await self._cleanup.aclose()

    @property
    def context(self) -> Context:
        """Where everything is, for clients."""
        return Context.load({}, data_dir=self.layout.path)

    def pid(self, name: str) -> int:
        """The process of `nats` or of a service; 0 while it is away."""
        if name != "nats":
            return self._children[name].pid
        try:
            return self._nats.pid if self._nats else 0
        except ServerFailed:
            return 0

    def kill(self) -> None:
        """Stop all services at once, where waiting for them takes too long."""
        for child in self._children.values():
            child.kill()

    async def _start(self) -> None:
        await asyncio.to_thread(self._claim)
        # Before there are certificates for it, which would go on naming it.
        await asyncio.to_thread(check_address, self._address)
        await asyncio.to_thread(self._prepare)
        self._tell(Happening("keys", "ready"))
        ports = self._ports if isinstance(self._ports, Ports) else self._ports()
        ports.check(self._address)
        nats_url = await self._start_nats(ports)
        place = Place(self.layout, ports, self._address, nats_url, self._tls, self._kubernetes)
        self._write_context(place)
        client = await self._cleanup.enter_async_context(Client(self.context))
        children = [self._child(service, place, client) for service in PROCESSES]
        self._children = {child.name: child for child in children}
        self._cleanup.push_async_callback(self._stop_children)
        await self._start_children()

    def _prepare(self) -> None:
        prepare(self.layout, lambda what: self._tell(Happening("keys", "starting", what)), [self._address])

    def _claim(self) -> None:
        """Take the data folder for ourselves, and stop what a killed predecessor has left behind."""
        private_directory(self.layout.path)
        private_directory(self.layout.lock.parent)
        self._cleanup.callback(_locked(self.layout).close)
        for service in PROCESSES:
            stop_orphan(self.layout.pid(service.name), service.module, f"ASHORE_DATA_DIR={self.layout.path}")
        # The server would stop its own, but only after its ports have been found taken.
        stop_orphan(self.layout.nats / "nats-server.pid", str(self.layout.nats / "nats-server.conf"))

    async def _start_nats(self, ports: Ports) -> str:
        self._tell(Happening("nats", "starting"))
        self._nats = EmbeddedServer(
            self.layout.nats,
            port=ports.nats,
            monitor_port=ports.monitor,
            mqtt_port=ports.mqtt,
            certificate=self.layout.certificate("nats") if self._tls else None,
        )
        server = await self._cleanup.enter_async_context(self._nats)
        self._cleanup.callback(self._tell, Happening("nats", "stopping"))
        tls = client_context(self.layout.authority.read_text()) if self._tls else None
        bus = await connect(server.url, name="admin", seed_file=str(self.layout.seed("admin")), tls=tls)
        try:
            await bus.declare()
        finally:
            await bus.close()
        self._tell(Happening("nats", "ready", server.url))
        watcher = asyncio.create_task(self._watch_nats(server), name="tell-of-nats")
        self._cleanup.callback(watcher.cancel)
        return server.url

    async def _watch_nats(self, server: EmbeddedServer) -> None:
        """Tell of a restart; the server looks after itself."""
        known = server.pid
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            with suppress(ServerFailed):
                if server.pid != known:
                    known = server.pid
                    self._tell(Happening("nats", "back"))

    def _child(self, service: Service, place: Place, client: Client) -> Child:
        extra = {**self._settings.get(ALL, {}), **self._settings.get(service.name, {})}
        return Child(
            service.name,
            service.module,
            url=service.url(place),
            environment={**service.environment(place, os.environ), **extra},
            log=self.layout.log(service.name),
            pid_file=self.layout.pid(service.name),
            is_ready=partial(_agent_is_ready, service.url(place))
            if service.is_agent
            else partial(_is_ready, client, service.name),
            tell=self._tell,
        )

    async def _start_children(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children.values():
                    group.create_task(child.start(), name=f"start-{child.name}")
        except* StackError as failed:
            # One sentence is enough: what keeps one service from starting mostly keeps the others, too.
            first = failed.exceptions[0]
        else:
            return
        raise first

    async def _stop_children(self) -> None:
        await asyncio.gather(*(child.stop() for child in self._children.values()))

    def _write_context(self, place: Place) -> None:
        services = {
            service.name: ServiceEntry(url=place.url(service.name), token_file=ADMIN_TOKEN) for service in SERVICES
        }
        seed = self.layout.seed("cli").relative_to(self.layout.path)
        bus = BusEntry(url=place.nats_url, seed_file=str(seed))
        content = ContextFile(services=services, nats=bus, ca_file=AUTHORITY if self._tls else "")
        write(self.layout.context, content)


async def _is_ready(client: Client, service: str) -> bool:
    try:
        return (await client.connection(service).readiness()).ready
    except ClientError:
        return False


async def _agent_is_ready(url: str) -> bool:
    """An agent has no client: whoever wants to know something asks it over the bus."""
    try:
        status, _ = await asyncio.to_thread(ask, urlsplit(f"{url}/readyz"))
    except (OSError, ValueError):
        return False
    return status == "200"


def _locked(layout: Layout) -> IO[str]:
    lock = layout.lock.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise AlreadyRunning(
            f"ashore runs already with the data folder {layout.path} (process {owner})",
            remedy="use that one, stop it with Ctrl-C, or choose another folder: `--data FOLDER --port-offset 1000`",
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock

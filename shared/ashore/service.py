"""How every service runs: settings, logs, bus, HTTP, background tasks, signals, drain.

A service gives `run` its name, its settings and a function that builds its App; all that is the same for every
service happens here. It starts and serves while NATS is away. At SIGTERM it takes no more connections, finishes what
is under way, stops its tasks, lets the App close what it opened, leaves the bus and exits with 0. Exit codes: 2 for
settings that cannot be used, 1 for whatever else keeps it from running.
"""

import asyncio
import importlib.metadata
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog
import uvloop

from ashore.bus import Bus, BusError, BusUnavailable
from ashore.config import Settings, SettingsError
from ashore.files import FilesError
from ashore.http.api import Application, api
from ashore.http.auth import Auth, TokensError, admin_token
from ashore.http.health import Check, Health, operations
from ashore.http.jobs import Direct
from ashore.http.limits import Limits
from ashore.http.routes import Route
from ashore.http.server import Server, bind, tls_context
from ashore.memory import settle
from ashore.starting import EXIT_FAILED, EXIT_SETTINGS, begin, tell
from ashore.supervise import Supervisor
from ashore.telemetry import Metrics
from ashore.tls import TlsError, client_context

if TYPE_CHECKING:
    # Only services for devices carry CBOR, so this module must not import the endpoint.
    from ashore.http.fdo import FdoHandler

S = TypeVar("S", bound=Settings)

_DECLARE_PAUSE: Final = 2.0
_CLOSE_SECONDS: Final = 5.0
_MOST_FILES: Final = 65_536

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class StartError(Exception):
    """The service cannot start; the text says why, and what to do."""


@contextmanager
def explained(*errors: type[Exception]) -> Iterator[None]:
    """Tell what keeps a service from starting in its one sentence, without a traceback."""
    try:
        yield
    except errors as error:
        raise StartError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class Context(Generic[S]):
    """What a service is given to build itself from."""

    settings: S
    bus: Bus
    replica: str
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger


@dataclass(frozen=True, kw_only=True)
class App:
    """What a service consists of; `problems` maps its errors to HTTP statuses."""

    fdo: "FdoHandler | None" = None
    routes: Sequence[Route] = ()
    tasks: Sequence[Callable[[], Awaitable[None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    problems: Mapping[type[Exception], int] = field(default_factory=dict)


Build = Callable[[Context[S]], AbstractAsyncContextManager[App]]


def run(name: str, settings_type: type[S], build: Build[S]) -> int:
    """Run a service until it is told to stop; the answer is the process's exit code."""
    settings = begin(name, settings_type)
    if settings is None:
        return EXIT_SETTINGS
    _allow_many_connections()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Service(name, settings, build).serve())
    except asyncio.CancelledError:
        log.info("stopped before it had started")
    except SettingsError as error:
        tell(name, error)
        return EXIT_SETTINGS
    except (StartError, FilesError, TokensError) as error:
        log.error(str(error))  # noqa: TRY400 - a traceback would hide the sentence that says what to do
        return EXIT_FAILED
    except Exception:
        log.exception("the service failed")
        return EXIT_FAILED
    return 0


class _Service(Generic[S]):
    def __init__(self, name: str, settings: S, build: Build[S]) -> None:
        self._name = name
        self._settings = settings
        self._build = build
        self._metrics = Metrics()
        self._http: Server | None = None
        self._main: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Start everything, serve, and stop everything in the reverse order."""
        self._listen_to_signals()
        settings = self._settings
        listener = _bind(settings)
        async with _bus(self._name, settings) as bus, self._build(self._context(bus)) as app:
            supervisor = Supervisor(self._metrics)
            application = self._application(app, bus, supervisor)
            self._http = _server(application, settings, lambda: self._announce(listener))
            supervisor.start(lambda: _declare(bus), "declare streams")
            for task in app.tasks:
                supervisor.start(task)
            settle()
            try:
                await self._http.serve(listener)
            finally:
                _notify("STOPPING=1")
                await supervisor.stop()
        log.info("stopped")

    def _context(self, bus: Bus) -> Context[S]:
        own_log = log.bind(replica=self._settings.replica)
        return Context(
            settings=self._settings, bus=bus, replica=self._settings.replica, metrics=self._metrics, log=own_log
        )

    def _application(self, app: App, bus: Bus, supervisor: Supervisor) -> Application:
        health = Health({"bus": bus.check, "tasks": supervisor.check, **app.checks})
        problems: dict[type[Exception], int] = {BusUnavailable: 503, **app.problems}
        management = api(
            [*operations(health, self._metrics), *app.routes],
            auth=_auth(self._settings),
            title=f"ashore {self._name}",
            version=importlib.metadata.version("ashore"),
            problems=problems,
        )
        fdo = _fdo_endpoint(app.fdo, self._settings, self._metrics) if app.fdo else None
        return Application(api=management, fdo=fdo)

    def _listen_to_signals(self) -> None:
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)

    def _stop(self) -> None:
        """First signal: drain. Second: do not wait any longer. Before the server runs: give up starting."""
        if self._http is not None:
            log.info("stopping")
            self._http.stop()
        elif self._main is not None:
            self._main.cancel()

    def _announce(self, listener: socket.socket) -> None:
        address = listener.getsockname()
        scheme = "https" if self._settings.tls_certificate else "http"
        log.info("listening", url=f"{scheme}://{address[0]}:{address[1]}", replica=self._settings.replica)
        _notify("READY=1")


@asynccontextmanager
async def _bus(name: str, settings: Settings) -> AsyncIterator[Bus]:
    bus = await _connect(name, settings)
    try:
        yield bus
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await bus.close()
        except (TimeoutError, BusError):
            log.warning("the bus did not say goodbye")


async def _connect(name: str, settings: Settings) -> Bus:
    """Join the bus; `memory:` is a bus within this process, for trials and tests."""
    if settings.nats_url == "memory:":
        from ashore.bus.memory import MemoryBus  # noqa: PLC0415 - not needed where there is NATS

        return MemoryBus()
    from ashore.bus.nats import connect  # noqa: PLC0415 - 6 MB that the bus in memory does without

    if settings.plain_buses():
        log.warning("NATS is asked in plain text, which others on the way can read: begin ASHORE_NATS_URL with tls://")
    seed = settings.nats_seed.reveal() if settings.nats_seed else None
    try:
        tls = client_context(settings.nats_ca) if settings.nats_ca else None
    except TlsError as error:
        raise StartError(f"ASHORE_NATS_CA cannot be used: {error}") from error
    return await connect(settings.nats_url, name=name, seed=seed, replicas=settings.nats_replicas, tls=tls)


async def _declare(bus: Bus) -> None:
    """Declare the streams as soon as NATS is there; until then events wait in the outbox."""
    told = ""
    while True:
        try:
            await bus.declare()
        except BusError as error:
            if str(error) != told:
                told = str(error)
                log.warning("waiting for the bus", reason=told)
            await asyncio.sleep(_DECLARE_PAUSE)
        else:
            return


def _bind(settings: Settings) -> socket.socket:
    try:
        return bind(settings.host, settings.port)
    except OSError as error:
        place = f"{settings.host}:{settings.port}"
        raise StartError(f"cannot listen on {place} ({error.strerror}): set ASHORE_HOST or ASHORE_PORT") from error


def _server(application: Application, settings: Settings, started: Callable[[], None]) -> Server:
    try:
        context = tls_context(settings.tls_certificate, settings.tls_key) if settings.tls_certificate else None
    except OSError as error:
        # ssl.SSLError is an OSError as well.
        raise StartError(f"the TLS certificate or key cannot be used: {error}") from error
    return Server(application, context=context, drain_seconds=settings.drain_seconds, started=started)


def _auth(settings: Settings) -> Auth:
    if settings.auth == "off":
        log.warning("the management API asks for no token: ASHORE_AUTH is off")
        return Auth([], enabled=False)
    admin = settings.admin_token.reveal() if settings.admin_token else admin_token(settings.data_dir)
    return Auth.of(admin, settings.tokens.reveal() if settings.tokens else "")


def _fdo_endpoint(handle: "FdoHandler", settings: Settings, metrics: Metrics) -> Direct:
    from ashore.http.fdo import FdoEndpoint  # noqa: PLC0415 - see the import for typing above

    limits = Limits(rate=settings.rate_limit, burst=settings.rate_burst, trusted_proxies=settings.trusted_proxies)
    return FdoEndpoint(handle, limits=limits, metrics=metrics)


def _allow_many_connections() -> None:
    """Many systems allow 1,024 open files until one asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _notify(state: str) -> None:
    """Tell systemd, where it started this process with Type=notify (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)

"""The connection to NATS, which is made again for ever.

nats-py can reconnect by itself, but not at the first connect, nor after the server has sent it an error; then it stays
closed. So each `Connection` here lives once, and `Link` makes the next one: the same way whatever has happened. Who
waits on a connection hears of its end at once instead of running into a timeout.

What JetStream is stands in the modules beside this one.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from ashore.bus import BusRefused, BusUnavailable, NoResponder, NotPermitted
from ashore.bus.nats.secretive import SecretiveClient

_NO_RESPONDERS = "503"
_PING_SECONDS = 10
_RETRY_SECONDS = 1
_PATIENCE_SECONDS = 0.2
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')
_log = structlog.get_logger()


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is, and who we are there."""

    servers: tuple[str, ...]
    name: str
    inbox_prefix: str
    seed_file: str | None = None
    seed: str | None = None
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Options(name={self.name!r})"  # A seed and passwords in URLs stay out of it.


class Connection:
    """One connection, from its making to its end."""

    def __init__(self, client: Client, inbox_prefix: str) -> None:
        self.client = client
        self.closed = asyncio.Event()
        self._inbox = f"{inbox_prefix}.{token_hex(8)}"
        self._count = 0
        self._waiting: dict[str, tuple[str, asyncio.Future[Msg]]] = {}
        self._listeners: dict[str, asyncio.Queue[Msg | None]] = {}

    @property
    def version(self) -> str:
        """The server's version: `2.15.1`."""
        found = self.client.connected_server_version
        return f"{found.major}.{found.minor}.{found.patch}"

    async def start(self) -> None:
        """Listen for the answers to our requests."""
        await self.client.subscribe(f"{self._inbox}.*", cb=self._answered)

    def inbox(self) -> str:
        """Make a subject to `listen` to, which nobody else may."""
        # One token deeper than the answers to requests, which would otherwise get a copy of everything.
        self._count += 1
        return f"{self._inbox}.listen.{self._count}"

    async def publish(
        self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send, and do not wait for anything."""
        try:
            await self.client.publish(subject, body, reply=reply, headers=dict(headers) if headers else None)
        except nats.errors.Error as error:
            raise BusUnavailable(f"cannot send to {subject}: {_text(error)}") from error

    async def ping(self) -> None:
        """Wait until the server has seen all that was sent."""
        try:
            # nats-py writes a ping past all that waits to be written; what waited is on its way before the second.
            await self.client.flush()
            await self.client.flush()
        except (nats.errors.Error, TimeoutError) as error:
            raise BusUnavailable(f"the server does not answer a ping: {_text(error)}") from error

    async def request(
        self, subject: str, body: bytes, *, seconds: float, headers: Mapping[str, str] | None = None
    ) -> Msg:
        """Send and wait for the one answer. BusUnavailable: whether it arrived is unknown."""
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._count += 1
        inbox = f"{self._inbox}.{self._count}"
        self._waiting[inbox] = (subject, answer)
        try:
            await self.client.publish(subject, body, reply=inbox, headers=dict(headers) if headers else None)
            async with asyncio.timeout(seconds):
                message = await answer
        except TimeoutError as error:
            raise BusUnavailable(f"no answer from {subject} within {seconds:g} s") from error
        except nats.errors.MaxPayloadError as error:
            raise BusRefused(f"{len(body)} bytes are more than the server takes for {subject}") from error
        except nats.errors.Error as error:
            raise BusUnavailable(f"cannot send to {subject}: {_text(error)}") from error
        finally:
            del self._waiting[inbox]
            if answer.done() and not answer.cancelled():
                answer.exception()  # Marks it as seen, where sending failed as well.
        if status(message) == _NO_RESPONDERS:
            raise NoResponder(f"nobody answers on {subject}")
        return message

    @asynccontextmanager
    async def listen(self, subject: str, group: str = "") -> AsyncIterator["asyncio.Queue[Msg | None]"]:
        """Put what arrives on the subject into a queue; None when the connection has ended.

        Of those who listen in the same group one gets each message, whichever it is.
        """
        queue: asyncio.Queue[Msg | None] = asyncio.Queue()
        self._listeners[subject] = queue

        async def arrived(message: Msg) -> None:
            queue.put_nowait(message)

        try:
            subscription = await self.client.subscribe(subject, queue=group, cb=arrived)
        except nats.errors.Error as error:
            del self._listeners[subject]
            raise BusUnavailable(f"cannot listen to {subject}: {_text(error)}") from error
        try:
            yield queue
        finally:
            del self._listeners[subject]
            if not self.client.is_closed:
                await subscription.unsubscribe()

    async def error(self, error: Exception) -> None:
        """Tell whoever waits for it that the server has refused, since it sends no answer then."""
        violation = _VIOLATION.search(str(error))
        if violation is None:
            return
        verb, subject = violation.groups()
        _log.error("bus permission refused", verb=verb, subject=subject)
        refusal = NotPermitted(f"this NATS user may not publish to {subject}; an administrator must grant it")
        for asked, answer in self._waiting.values():
            # nats-py hands the server's text on in lower case.
            if asked.lower() == subject and not answer.done():
                answer.set_exception(refusal)

    async def ended(self) -> None:
        """Tell all who wait that nothing more will come."""
        self.closed.set()
        for subject, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BusUnavailable(f"the connection ended before {subject} answered"))
        for queue in self._listeners.values():
            queue.put_nowait(None)

    async def _answered(self, message: Msg) -> None:
        _, answer = self._waiting.get(message.subject, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(message)


class Link:
    """Keeps a connection; makes it again whenever it ends."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._servers: Sequence[str] = options.servers
        self._current: Connection | None = None
        self._ready = asyncio.Event()
        self._said = ""
        self._task = asyncio.create_task(self._keep(), name="bus-link")

    async def connection(self, patience: float | None = None) -> Connection:
        """Return the connection; wait for it this many seconds, or for ever, and then raise BusUnavailable."""
        try:
            async with asyncio.timeout(patience):
                await self._ready.wait()
        except TimeoutError as error:
            raise BusUnavailable(
                f"NATS cannot be reached at {self.address}: {self._said or 'not yet tried'}"
            ) from error
        if self._current is None:
            raise BusUnavailable("this bus is closed")
        return self._current

    @property
    def address(self) -> str:
        """The servers, without what may be secret in a URL."""
        return ", ".join(server.rpartition("@")[2].rpartition("://")[2] for server in self._options.servers)

    async def close(self) -> None:
        """Send what is waiting to be sent, and end."""
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_PATIENCE_SECONDS)
        connection, self._current = self._current, None
        self._ready.set()
        if connection is not None:
            await connection.client.close()

    async def _keep(self) -> None:
        # nats-py and its timeouts swallow cancellations. One that was asked for is still counted by the task.
        task = asyncio.current_task()
        while task is None or not task.cancelling():
            try:
                connection = await self._open()
            except Exception as error:  # noqa: BLE001 - a bad seed file or certificate may be mended while we try
                await self._say(error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._current, self._said = connection, ""
            self._ready.set()
            _log.info("bus connected", server=self.address, version=connection.version)
            await connection.closed.wait()
            self._ready.clear()
            self._current = None
            _log.warning("bus connection lost", server=self.address)

    async def _open(self) -> Connection:
        client = SecretiveClient()
        connection = Connection(client, self._options.inbox_prefix)

        async def failed(error: Exception) -> None:
            await self._say(error)
            await connection.error(error)

        try:
            await self._connect(client, failed, connection.ended)
            await connection.start()
        except BaseException:
            # nats-py stumbles over its own half-made transport here, and that must not hide why we are leaving.
            with suppress(Exception):
                await client.close()
            raise
        # The other servers of a cluster are learnt from the first one, and outlive it.
        self._servers = list(dict.fromkeys([*self._options.servers, *client.learnt()]))
        return connection

    async def _connect(
        self, client: Client, failed: Callable[[Exception], Awaitable[None]], ended: Callable[[], Awaitable[None]]
    ) -> None:
        await client.connect(
            servers=list(self._servers),
            name=self._options.name,
            inbox_prefix=self._options.inbox_prefix,
            nkeys_seed=self._options.seed_file,
            nkeys_seed_str=self._options.seed,
            tls=self._options.tls,
            error_cb=failed,
            closed_cb=ended,
            # A connection lives once, and is not tried for ever: the next one, after a failure too, is `_keep`'s work.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=_RETRY_SECONDS,
            ping_interval=_PING_SECONDS,
        )

    async def _say(self, error: Exception) -> None:
        # An unreachable server fails every second, and one line of it is enough.
        text = _text(error)
        if isinstance(error, nats.errors.NoServersError):
            return  # Why not was said just before.
        if text != self._said and not _VIOLATION.search(text):
            self._said = text
            _log.warning("bus trouble", server=self.address, error=text)


def status(message: Msg) -> str | None:
    """Return the status line of a message that the server itself has sent; None for everything else."""
    return message.headers.get("Status") if message.headers else None


def _text(error: Exception) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__

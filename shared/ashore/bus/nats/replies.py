"""Requests between replicas, and the answers: plain NATS, nothing is stored."""

import asyncio
from typing import Self

import structlog
from nats.aio.msg import Msg

from ashore.bus import BusError, BusUnavailable, RequestFailed, Responder
from ashore.bus.nats.calls import PATIENCE_SECONDS
from ashore.bus.nats.link import Connection, Link

# The names of the NATS service protocol, which other clients understand too.
_ERROR = "Nats-Service-Error"
_ERROR_CODE = "Nats-Service-Error-Code"
_AT_ONCE = 64
_RETRY_SECONDS = 1
_log = structlog.get_logger()


async def request(link: Link, subject: str, body: bytes, seconds: float) -> bytes:
    """See `Bus.request`."""
    connection = await link.connection(min(seconds, PATIENCE_SECONDS))
    message = await connection.request(subject, body, seconds=seconds)
    error = (message.headers or {}).get(_ERROR)
    if error is not None:
        raise RequestFailed(f"{subject}: {error}")
    return message.data


class Server:
    """Serves one subject, on this connection and those after it; of several in one group one gets each request."""

    def __init__(self, link: Link, subject: str, handler: Responder, group: str = "") -> None:
        self._link = link
        self._subject = subject
        self._handler = handler
        self._group = group
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._answering: set[asyncio.Task[None]] = set()
        self.ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"serve-{subject}")

    async def close(self) -> None:
        """Serve no more, and break off what is not answered yet."""
        tasks = [self._task, *self._answering]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Serve for the length of a block."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Serve no more."""
        await self.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen(await self._link.connection())
            except BusError as error:
                _log.warning("serving interrupted", subject=self._subject, error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, connection: Connection) -> None:
        async with connection.listen(self._subject, self._group) as queue:
            # A server that has answered this ping knows of the subscription.
            await connection.ping()
            self.ready.set()
            while (message := await queue.get()) is not None:
                await self._slots.acquire()
                task = asyncio.create_task(self._answer(connection, message), name=f"answer-{self._subject}")
                self._answering.add(task)
                task.add_done_callback(self._answered)
        raise BusUnavailable("the connection ended")

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        self._slots.release()

    async def _answer(self, connection: Connection, message: Msg) -> None:
        headers = None
        try:
            body = await self._handler(message.data)
        except Exception as error:  # noqa: BLE001 - it is logged here, and told to the one who asked
            _log.exception("request failed", subject=self._subject)
            body, headers = b"", {_ERROR: f"{type(error).__name__}: the log there says more", _ERROR_CODE: "500"}
        try:
            await connection.publish(message.reply, body, headers=headers)
        except BusError as error:
            _log.warning("answer not sent", subject=self._subject, error=str(error))

"""Work for a durable consumer: several events at a time, each acknowledged, tried again, or parked."""

import asyncio
from contextlib import aclosing, suppress
from functools import partial

import msgspec
import structlog
from nats.aio.msg import Msg

from ashore import events
from ashore.bus import BusError, Handler, Redelivery
from ashore.bus.delivery import Again, Delivery, Outcome, Parked, attempt
from ashore.bus.nats import jetstream, pull
from ashore.bus.nats.link import Link

_ACK_WAIT_SECONDS = 60
# Events that wait for their next attempt count as pending; a bound that many of them reach would stop all others.
_MAX_ACK_PENDING = 50_000
_RETRY_SECONDS = 1
_PATIENCE_SECONDS = 5
_log = structlog.get_logger()


class Worker:
    """Consumes the events of one name, for one service.

    Each name has its own consumer on the server. So a name that a service takes up later starts at the first event
    kept, none waits for another, and a user's permissions say exactly what it may read.
    """

    def __init__(self, link: Link, durable: str, name: str, handler: Handler, policy: Redelivery) -> None:
        self._link = link
        self._durable = durable
        self._name = name
        self._handler = handler
        self._policy = policy
        self._stream = events.stream_of([name]).name
        self._consumer = f"{durable}-{name}"
        self._tasks: set[asyncio.Task[None]] = set()
        self._said = ""

    async def run(self) -> None:
        """Work until cancelled, whatever happens to the connection."""
        try:
            while True:
                try:
                    await self._work()
                except BusError as error:
                    if str(error) != self._said:
                        _log.warning("consumer interrupted", consumer=self._consumer, error=str(error))
                    self._said = str(error)
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        connection = await self._link.connection()
        await pull.make(connection, self._stream, self._consumer, self._settings())
        self._said = ""
        async with aclosing(pull.messages(connection, self._stream, self._consumer, self._room)) as messages:
            async for message in messages:
                # Not bound to this connection: a handler at work outlives it, and acknowledges on the next one.
                task = asyncio.create_task(self._handle(message), name=f"handle-{self._consumer}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _settings(self) -> jetstream.JSON:
        return {
            "durable_name": self._consumer,
            "filter_subject": f"{self._name}.>",
            "ack_policy": "explicit",
            "ack_wait": _ACK_WAIT_SECONDS * jetstream.NANOSECONDS,
            "max_ack_pending": _MAX_ACK_PENDING,
            # How often is for us to count: the server would only drop the event, and park nothing.
            "max_deliver": -1,
        }

    async def _room(self) -> int:
        while len(self._tasks) >= self._policy.concurrency:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return self._policy.concurrency - len(self._tasks)

    async def _handle(self, message: Msg) -> None:
        try:
            still_here = partial(self._hint, message, b"+WPI")
            outcome = await attempt(self._delivery(message), self._handler, self._policy, still_here)
            await self._answer(message, outcome)
        except asyncio.CancelledError:
            # We are leaving; another replica shall have it at once, and not after the acknowledgement is overdue.
            await self._hint(message, b"-NAK")
            raise
        except BusError as error:
            _log.warning("event comes again", consumer=self._consumer, subject=message.subject, error=str(error))
        except Exception:  # noqa: BLE001 - it is logged, and must not end the others
            _log.exception("event comes again", consumer=self._consumer, subject=message.subject)

    def _delivery(self, message: Msg) -> Delivery:
        position = pull.Position.of(message)
        return Delivery(
            durable=self._durable,
            name=self._name,
            stream=self._stream,
            sequence=position.sequence,
            attempt=position.delivered,
            body=message.data,
        )

    async def _answer(self, message: Msg, outcome: Outcome) -> None:
        match outcome:
            case Again(delay):
                wish = msgspec.json.encode({"delay": int(delay * jetstream.NANOSECONDS)})
                await self._say(message, b"-NAK " + wish)
            case Parked(subject, body, identity):
                connection = await self._link.connection(_PATIENCE_SECONDS)
                headers = {"Nats-Msg-Id": identity}
                await jetstream.store(connection, subject, body, headers, seconds=_PATIENCE_SECONDS)
                await self._say(message, b"+TERM")
            case _:
                await self._say(message, b"+ACK")

    async def _hint(self, message: Msg, word: bytes) -> None:
        # If it is not heard, the server finds out by itself when the acknowledgement is overdue.
        with suppress(BusError):
            connection = await self._link.connection(0)
            await connection.publish(message.reply, word)

    async def _say(self, message: Msg, word: bytes) -> None:
        connection = await self._link.connection(_PATIENCE_SECONDS)
        await connection.publish(message.reply, word)

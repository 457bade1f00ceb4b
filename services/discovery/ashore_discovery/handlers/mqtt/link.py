"""The connection to one broker: made, watched, and made again after a pause.

What is lost is told as lost, so devices are unknown meanwhile. After each connection the broker sends what it retains;
when nothing retained has come for a moment, all of it was there, and that is a sweep. A queue that overflows means that
something was missed: subscribing again brings all that is retained once more.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import aiomqtt

from ashore_discovery.handler import Context, HandlerError
from ashore_discovery.handlers.mqtt.client import Incoming, opened
from ashore_discovery.handlers.mqtt.details import Broker
from ashore_discovery.handlers.mqtt.scheme import Heard, Message, Scheme
from ashore_discovery.model import Lost, Sighting, Swept

FIRST_PAUSE: Final = 0.25
STEADY_SECONDS: Final = 10.0
_LONGEST_SETTLING: Final = 30.0
_AT_ONCE: Final = 64
_REFUSED: Final = 0x80
_COMPLAIN_SECONDS: Final = 10.0
_T = TypeVar("_T")
_TROUBLES: Final = (aiomqtt.MqttError, HandlerError, OSError, ValueError)

Item = Sighting | Swept | Lost
Mode = tuple[bool, str]


class Link:
    """One broker."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        schemes: Sequence[Scheme],
        context: Context,
        *,
        out: Callable[[Item], Awaitable[None]],
        tell: Callable[[str, Mode], None],
    ) -> None:
        self.name, self.broker, self.schemes = name, broker, schemes
        self._context, self._out, self._tell = context, out, tell
        self._client: aiomqtt.Client | None = None
        self._changed = asyncio.Event()
        """Something was heard; for whoever waits for an answer."""
        self._up_at = 0.0
        self._scan_now = asyncio.Event()
        self._topics: dict[str, bool] = {}
        """Topics of single devices that are wanted from now on, or not any more."""
        self._questions: deque[tuple[str, bytes]] = deque(maxlen=1000)
        self._wished = asyncio.Event()
        self._retained_at = 0.0
        self._complained_at = 0.0
        self._refused: list[str] = []

    async def run(self) -> None:
        """Be connected, without end."""
        pause = FIRST_PAUSE
        while True:
            started = self._context.clock()
            reason = await self._once()
            if self._context.clock() - started > STEADY_SECONDS:
                pause = FIRST_PAUSE
            self._tell(self.name, (False, f"broker '{self.name}' ({self.broker.url}): {reason}"))
            for scheme in self.schemes:
                scheme.doubt()
            await self._out(Lost(within=f"{self.name}/", cause="broker-lost"))
            # Agents that have lost the same broker do not come back in step.
            await asyncio.sleep(pause * (0.75 + secrets.randbelow(500) / 1000))
            pause = min(2 * pause, self.broker.longest_pause_seconds)

    def scan(self) -> None:
        """Have the broker send all that it retains."""
        self._scan_now.set()

    async def probe(self, id: str, seconds: float) -> bool | None:  # noqa: A002 - a sighting's own word
        """Whether the device is there, as the broker says, or the device itself where it can be asked."""
        scheme = next((one for one in self.schemes if one.owns(id)), None)
        if self._client is None or scheme is None:
            return None if scheme else False
        answer = scheme.holds(id, self._context.clock())
        questions = [] if answer else scheme.question(id, self._context.clock())
        if not questions:
            return answer
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._publish(questions)
                while not (answer := scheme.holds(id, self._context.clock())):
                    self._changed.clear()
                    await self._changed.wait()
        # It may have been the link that did not answer.
        return bool(answer) if self._client is not None else None

    async def _once(self) -> str:
        """One connection; the answer is why it has ended."""
        try:
            async with opened(self.broker, self._context) as (client, incoming):
                self._client, self._up_at = client, self._context.clock()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(client, incoming))
                    group.create_task(self._write(client))
                    group.create_task(self._settle(client, incoming))
        except (*_TROUBLES, ExceptionGroup) as caught:
            error: Exception = caught
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            if not isinstance(error, _TROUBLES):
                raise
            return str(error) or type(error).__name__
        finally:
            self._client = None
            self._changed.set()
        return "it has ended"

    async def _read(self, client: aiomqtt.Client, incoming: Incoming) -> None:
        async for found in client.messages:
            at = incoming.times.popleft()
            payload = found.payload if isinstance(found.payload, bytes) else b""
            message = Message(str(found.topic), payload, found.retain, at)
            if found.retain:
                self._retained_at = self._context.clock()
            for scheme in self.schemes:
                heard = scheme.hear(message)
                if heard is not None:
                    await self._act(heard)
            self._changed.set()
            if incoming.overflowed or incoming.too_large:
                self._catch_up(incoming)

    async def _act(self, heard: Heard) -> None:
        for item in heard.items:
            await self._out(item)
        if heard.rejected:
            self._context.dropped(f"broker '{self.name}': {heard.rejected}")
            self._complain(heard.rejected)
        # Waiting here for the broker's answers would keep the messages waiting that come before them.
        self._topics |= dict.fromkeys(heard.listen, True) | dict.fromkeys(heard.forget, False)
        self._questions.extend(heard.publish)
        if self._topics or self._questions:
            self._wished.set()

    async def _write(self, client: aiomqtt.Client) -> None:
        while True:
            await self._wished.wait()
            self._wished.clear()
            topics, self._topics = self._topics, {}
            for part in _parts([topic for topic, wanted in topics.items() if wanted and self._usable(topic)]):
                await client.subscribe([(topic, 0) for topic in part])
            for part in _parts([topic for topic, wanted in topics.items() if not wanted and self._usable(topic)]):
                await client.unsubscribe(part)
            while self._questions:
                await self._publish([self._questions.popleft()])

    async def _publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        for topic, payload in messages:
            client = self._client
            if client is not None and self._usable(topic):
                await self._context.pace()
                with suppress(aiomqtt.MqttError, ValueError):
                    await client.publish(topic, payload)

    async def _settle(self, client: aiomqtt.Client, incoming: Incoming) -> None:
        while True:
            self._scan_now.clear()
            begun = self._context.clock()
            await self._subscribe(client)
            self._tell(self.name, (not self._refused, "; ".join(self._refused)))
            await self._until_quiet(incoming)
            early = self._context.clock() - self._up_at < self.broker.return_seconds
            # Others may be on their way back to the broker as we were, so nobody is missing yet.
            await self._out(Swept(begun=0.0 if early else begun, within=f"{self.name}/"))
            for seconds in sorted({self.broker.return_seconds, *self._silences()}):
                try:
                    async with asyncio.timeout(max(0.0, begun + seconds - self._context.clock())):
                        await self._scan_now.wait()
                        break
                except TimeoutError:
                    await self._out(Swept(begun=begun, within=f"{self.name}/"))
            await self._scan_now.wait()

    def _silences(self) -> list[float]:
        return [one for one in (scheme.silence() for scheme in self.schemes) if one is not None]

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        self._refused = []
        wanted: list[tuple[str, int]] = [(one, self.broker.qos) for scheme in self.schemes for one in scheme.filters()]
        wanted += [(one, 0) for scheme in self.schemes for one in scheme.more() if self._usable(one)]
        for part in _parts(wanted):
            answers: Iterable[object] = await client.subscribe(part)
            for (topic, _), answer in zip(part, answers, strict=False):
                if (answer if isinstance(answer, int) else getattr(answer, "value", 0)) >= _REFUSED:
                    self._refused.append(f"broker '{self.name}' refuses the topic {topic}")

    async def _until_quiet(self, incoming: Incoming) -> None:
        """Wait until all that is retained has come."""
        self._retained_at = started = self._context.clock()
        settle = self.broker.settle_seconds
        while (now := self._context.clock()) - self._retained_at < settle or not incoming.empty():
            if now - started > max(_LONGEST_SETTLING, settle):
                break
            await asyncio.sleep(min(0.05, settle))

    def _catch_up(self, incoming: Incoming) -> None:
        if incoming.too_large:
            self._complain(f"{incoming.too_large} messages are larger than {self.broker.largest} bytes")
            incoming.too_large = 0
        if incoming.overflowed and incoming.empty():
            incoming.overflowed = False
            self._complain(f"more than {self.broker.queue} messages waited, so some are lost; looking again")
            for scheme in self.schemes:
                scheme.doubt()
            self._scan_now.set()

    def _usable(self, topic: str) -> bool:
        return self.broker.spaces or not any(one.isspace() for one in topic)

    def _complain(self, reason: str) -> None:
        """One line now and then: whoever sends rubbish sends much of it."""
        now = self._context.clock()
        if now - self._complained_at > _COMPLAIN_SECONDS:
            self._complained_at = now
            self._context.log.warning("message cannot be used", broker=self.name, reason=reason[:300])


def _parts(items: list[_T]) -> Iterator[list[_T]]:
    """As many as one packet shall have."""
    for index in range(0, len(items), _AT_ONCE):
        yield items[index : index + _AT_ONCE]

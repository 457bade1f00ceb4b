"""`python -m tests.discovery.whole FOLDER JSON`: a whole agent with a bus of its own, in the namespace where this runs.

JSON is `{"configurations": [...], "handlers": {...}}`, as in a node's file. What the bus is told is printed, a line of
JSON each: `{"at": ..., "what": "appeared", "key": ..., "cause": ..., "state": ..., "facts": ...}`; once it listens,
`{"what": "health"}`, and with each heartbeat `{"what": "alive", "devices": ..., "quarantined": ..., "mode": ...}`.
"""

import asyncio
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ashore.bus.server import EmbeddedServer
from ashore.events import AgentAlive, DeviceSeen, Event
from tests.bus_kit import join
from tests.contract.discovery.agents import agent, hearing


def tell(what: str, **more: object) -> None:
    sys.stdout.write(msgspec.json.encode({"at": time.time(), "what": what, **more}).decode() + "\n")
    sys.stdout.flush()


def say(event: Event) -> None:
    if isinstance(event, DeviceSeen):
        fields: dict[str, Any] = {"key": event.key, "cause": event.cause, "state": event.state, "facts": event.facts}
        tell(event.change, facets=event.facets, matches=[one.configuration for one in event.matches], **fields)
    elif isinstance(event, AgentAlive):
        handlers = [msgspec.to_builtins(one) for one in event.handlers]
        tell("alive", devices=event.devices, epoch=event.epoch, handlers=handlers)


async def main(folder: Path, order: dict[str, Any]) -> None:
    this = asyncio.current_task()
    assert this is not None
    # Otherwise its bus would outlive it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with EmbeddedServer(folder / "nats", port=0, monitor_port=0) as server:
        bus = await join(server, "admin")
        await bus.declare()
        async with (
            hearing(bus) as ear,
            agent(server, folder, *order["configurations"], handlers=order.get("handlers")),
        ):
            tell("health")
            told = 0
            while True:
                for event in ear.events[told:]:
                    say(event)
                told = len(ear.events)
                await asyncio.sleep(0.005)


if __name__ == "__main__":
    # Standard output is for what is told.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with suppress(asyncio.CancelledError):
        asyncio.run(main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2])))

"""The bus, as commands use it: joined for the length of a block, its own log lines on the terminal only when bad."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ashore.bus import BusUnavailable
from ashore.bus.nats import NatsBus, connect
from ashore.client import Context, client_tls, shown


@asynccontextmanager
async def joined(
    context: Context, *, user: str = "cli", seed: str | None = None, replicas: int = 1, talkative: bool = False
) -> AsyncIterator[NatsBus]:
    """The bus of a context, as one of its users. Talkative: say on the terminal when the connection is lost."""
    _quieten(logging.WARNING if talkative else logging.CRITICAL)
    if seed is None and context.nats.seed is not None:
        seed = context.nats.seed.reveal()
    # Where the server speaks plain text, and its URL does not ask for more, this is not used.
    tls = client_tls(context.nats.ca_file) if context.nats.ca_file else None
    bus = await connect(context.nats.url, name=user, seed=seed, replicas=replicas, tls=tls)
    try:
        yield bus
    finally:
        await bus.close()


async def checked(bus: NatsBus, context: Context) -> None:
    """Raise BusUnavailable, with the address, where the bus cannot be used."""
    try:
        await bus.check()
    except BusUnavailable as error:
        raise BusUnavailable(f"the bus at {shown(context.nats.url)} cannot be used: {error}") from error


def _quieten(level: int) -> None:
    """Libraries log to the standard output by default, where the command's answer belongs."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            # By default tracebacks are drawn with rich, and that shows local variables: seeds and tokens among them.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )

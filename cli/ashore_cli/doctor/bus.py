"""The bus: is it there, is it new enough, whose certificate has it, has it the streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ashore.bus import BusError, BusUnavailable, versions
from ashore.bus.nats import NatsBus
from ashore.client import Context, client_tls, shown
from ashore_cli.doctor import secrecy
from ashore_cli.doctor.finding import Finding, bad, well
from ashore_cli.errors import words_of_bus
from ashore_cli.joining import joined

_SECONDS: Final = 3.0
_PORT: Final = 4222
_ENOUGH: Final = 1000
_START: Final = "start it (`ashore up`), or say where it is: --nats-url or ASHORE_NATS_URL"


class Greeting(msgspec.Struct):
    """What a NATS server says to whoever connects."""

    version: str = ""
    jetstream: bool = False


async def examine(context: Context) -> AsyncIterator[Finding]:
    """The server, then what we may do there."""
    url = context.nats.url.split(",")[0].strip()
    try:
        greeting = await _greeting(url)
        versions.refuse_old_version(greeting.version)
    except ConnectionRefusedError:
        yield bad("bus", f"{shown(url)} cannot be reached: nothing listens there", _START, unreachable=True)
        return
    except (OSError, ValueError) as error:
        yield bad("bus", f"{shown(url)} cannot be reached: {error or 'no answer'}", _START, unreachable=True)
        return
    except BusError as error:
        yield bad("bus", str(error), "use NATS 2.12 or later, with JetStream")
        return
    yield well("bus", f"nats-server {greeting.version} at {shown(url)}")
    if url.startswith("tls:"):
        tls = client_tls(context.nats.ca_file)
        met = await asyncio.to_thread(secrecy.examine, "bus", url, tls, "ASHORE_NATS_CA_FILE")
        if met is not None:
            yield met
            if met.unreachable:
                return
    async for finding in _streams(context):
        yield finding


async def _streams(context: Context) -> AsyncIterator[Finding]:
    try:
        async with joined(context) as bus:
            await bus.check()
            letters = await _letters(bus)
    except BusUnavailable as error:
        text, remedy = words_of_bus(str(error), "run `ashore streams declare`, and check ASHORE_NATS_SEED_FILE")
        yield bad("streams", text, remedy)
    except BusError as error:
        yield bad("streams", str(error), "check ASHORE_NATS_SEED_FILE: it is the NKey seed of the user `cli`")
    else:
        yield well("streams", "all there")
        yield letters


async def _letters(bus: NatsBus) -> Finding:
    count = 0
    async with aclosing(bus.letters()) as found:
        async for _ in found:
            count += 1
            if count == _ENOUGH:
                break
    if not count:
        return well("dead letters", "none")
    number = f"{count} or more" if count == _ENOUGH else str(count)
    remedy = "see why: `ashore streams letters list`; then `retry --all`, or `drop` what is no loss"
    return bad("dead letters", f"{number} {'event' if count == 1 else 'events'} could not be handled", remedy)


async def _greeting(url: str) -> Greeting:
    parts = urlsplit(url)
    async with asyncio.timeout(_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORT)
        try:
            line = await reader.readline()
        finally:
            writer.close()
    if not line.startswith(b"INFO "):
        raise ValueError("it is no NATS server")
    try:
        return msgspec.json.decode(line.removeprefix(b"INFO "), type=Greeting)
    except msgspec.MsgspecError as error:
        raise ValueError("it is no NATS server") from error

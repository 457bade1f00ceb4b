"""The services: are they there, and whose certificates; can they work, know our token, agree on the time; who waits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from ashore.client import Client, ClientError, Readiness, Unreachable, client_tls, shown
from ashore.client.connection import collect
from ashore.client.context import LAUNCHER
from ashore_cli.doctor import launcher, secrecy
from ashore_cli.doctor.finding import Finding, bad, well
from ashore_cli.output import counted, short

_ASKED: Final = {"rendezvous": "/rules", LAUNCHER: "/launcher"}
"""What is asked of a service to see whether it knows our token."""
_LOOKED_AT: Final = 1000
_SKEW: Final = timedelta(seconds=30)


async def examine(client: Client) -> AsyncIterator[Finding]:
    """Every service in turn, and the owner's waiting room."""
    for name in client.context.services:
        async for finding in _service(client, name):
            yield finding
    try:
        waiting = await client.owner.waiting()
    except ClientError:
        # It was told above.
        return
    if waiting:
        words = f"{counted(len(waiting), 'device')} {'waits' if len(waiting) == 1 else 'wait'}"
        yield bad("waiting room", words, "see what each needs: `ashore owner waiting`")
    else:
        yield well("waiting room", "nobody waits")
    async for finding in _registrations(client):
        yield finding


async def _registrations(client: Client) -> AsyncIterator[Finding]:
    """Devices that nobody can find, since the owner could not register them; it goes on trying by itself."""
    owned, _ = await collect(
        lambda size, cursor: client.owner.devices(state="owned", limit=size, cursor=cursor), _LOOKED_AT
    )
    failed = [one for one in owned if one.registration_error]
    if failed:
        words = f"{counted(len(failed), 'device')} could not be registered, {failed[0].serial or failed[0].guid} say"
        remedy = f"see to the rendezvous, then `ashore owner register {short(failed[0].guid)}`"
        yield bad("registrations", f"{words}: {failed[0].registration_error}", remedy)


async def _service(client: Client, name: str) -> AsyncIterator[Finding]:
    connection = client.connection(name)
    if connection.url.startswith("https:"):
        tls = client_tls(client.context.ca_file)
        met = await asyncio.to_thread(secrecy.examine, name, connection.url, tls, "ASHORE_CA_FILE")
        if met is not None:
            yield met
            if met.unreachable:
                return
    asked = datetime.now(UTC)
    try:
        readiness = await connection.readiness()
    except ClientError as error:
        if name == LAUNCHER and launcher.is_none_meant(client.context, error):
            yield launcher.none(client.context)
            return
        yield bad(name, error.detail, error.remedy, unreachable=isinstance(error, Unreachable))
        return
    yield _ready(name, connection.url, readiness)
    for finding in _clock(name, readiness, asked):
        yield finding
    try:
        await connection.get(_ASKED.get(name, "/keys"), object)
    except ClientError as error:
        yield bad(name, error.detail, error.remedy)


def _ready(name: str, url: str, readiness: Readiness) -> Finding:
    missing = {part: check for part, check in readiness.checks.items() if not check.ready}
    if not missing:
        return well(name, f"ready at {shown(url)} ({', '.join(readiness.checks)})")
    reasons = "; ".join(f"{part}: {check.reason}" for part, check in missing.items())
    remedies = [check.remedy for check in missing.values() if check.remedy]
    return bad(name, f"not ready: {reasons}", "; ".join(remedies) or "read its log")


def _clock(name: str, readiness: Readiness, asked: datetime) -> Iterator[Finding]:
    """A skew of minutes breaks certificates and expiries; a service that does not tell the time is let be."""
    if readiness.at is None:
        return
    skew = readiness.at - asked
    if abs(skew) > _SKEW:
        yield bad(name, f"its clock is {skew.total_seconds():+.0f} s from ours", "let NTP set both clocks")

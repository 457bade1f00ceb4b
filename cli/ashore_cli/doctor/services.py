"""The services: are they there, can they work, do they know our token, do their clocks agree, does anybody wait."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from ashore.client import Client, ClientError, Readiness, Unreachable
from ashore_cli.doctor.finding import Finding, bad, well

_SKEW: Final = timedelta(seconds=30)
_ENOUGH: Final = timedelta(days=30)
_SECONDS: Final = 3.0


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
        yield bad("waiting room", f"{len(waiting)} devices wait", "see what each needs: `ashore owner waiting`")
    else:
        yield well("waiting room", "nobody waits")


async def _service(client: Client, name: str) -> AsyncIterator[Finding]:
    connection = client.connection(name)
    asked = datetime.now(UTC)
    try:
        readiness = await connection.readiness()
    except ClientError as error:
        yield bad(name, error.detail, error.remedy, unreachable=isinstance(error, Unreachable))
        return
    yield _ready(name, connection.url, readiness)
    for finding in _clock(name, readiness, asked):
        yield finding
    if connection.url.startswith("https:"):
        yield await asyncio.to_thread(_certificate, name, connection.url, client)
    try:
        await connection.get("/keys" if name != "rendezvous" else "/rules", object)
    except ClientError as error:
        yield bad(name, error.detail, error.remedy)


def _ready(name: str, url: str, readiness: Readiness) -> Finding:
    missing = {part: check for part, check in readiness.checks.items() if not check.ready}
    if not missing:
        return well(name, f"ready at {url} ({', '.join(readiness.checks)})")
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


def _certificate(name: str, url: str, client: Client) -> Finding:
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=str(client.context.ca_file) if client.context.ca_file else None)
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as secure,
        ):
            certificate = secure.getpeercert() or {}
    except OSError as error:
        return bad(name, f"TLS fails: {error}", "set ASHORE_CA_FILE, or give the service another certificate")
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate.get("notAfter"))), UTC)
    if end < datetime.now(UTC) + _ENOUGH:
        return bad(name, f"its TLS certificate ends at {end:%Y-%m-%d}", "renew it, and restart the service")
    return well(name, f"TLS certificate until {end:%Y-%m-%d}")

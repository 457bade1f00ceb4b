"""The smallest service: what test_service runs as a process."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import ashore.lean  # noqa: F401 - first, because what it keeps out must not be imported before
from ashore.config import Settings
from ashore.http.fdo import FdoReply, FdoRequest
from ashore.http.routes import Request, Route
from ashore.keys import FileKeyStore
from ashore.service import App, Context, run
from ashore.sessions import Sealer


async def echo(message: FdoRequest) -> FdoReply:
    return FdoReply(message.number + 1, message.body, token="t")


async def slow(_request: Request) -> dict[str, bool]:
    await asyncio.sleep(0.5)
    return {"finished": True}


@asynccontextmanager
async def build(context: Context[Settings]) -> AsyncIterator[App]:
    """Make keys as a service does, and say when all is closed."""
    keys = FileKeyStore(context.settings.data_dir / "keys")
    keys.signer("owner", "p256")
    Sealer(keys.session_key())
    manner = os.environ.get("TINY")
    if manner == "fail":
        raise RuntimeError("the harbour is frozen")
    if manner == "wait":
        context.log.info("building")
        await asyncio.sleep(60)

    async def task() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            context.log.info("task stopped")

    yield App(
        fdo=echo,
        routes=[
            Route("GET", "/api/v1/slow", slow, "Slow", scope="read"),
            Route("GET", "/api/v1/open", slow, "Slow, and open"),
        ],
        tasks=[task],
    )
    context.log.info("closed")


if __name__ == "__main__":
    sys.exit(run("tiny", Settings, build))

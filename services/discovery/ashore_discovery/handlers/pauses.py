"""Pauses between two looks around, which end at once when somebody wants one now."""

import asyncio
from contextlib import suppress


async def rest(seconds: float, woken: asyncio.Event) -> bool:
    """Wait so long, or until `woken` is set; whether it was."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await woken.wait()
    return False

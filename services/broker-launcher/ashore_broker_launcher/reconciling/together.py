"""Several things at once, of which each is done whatever becomes of the others."""

import asyncio
from collections.abc import Awaitable


async def together(*work: Awaitable[None]) -> None:
    """Do all of it; then raise the first error, as itself and not as a group, since callers look at its kind."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome

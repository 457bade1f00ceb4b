"""A cluster and a bus that stop for ever at the n-th thing they are asked: as if the launcher were killed there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

_WRITES: Final = ("create", "apply", "apply_status", "delete", "publish", "get", "kind", "log", "replace")


class Scythe:
    """Counts what is asked, and stops at one call: before it has an effect, or after it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.struck = asyncio.Event()
        self.calls = 0
        self._at = at
        self._after = after

    def over(self, target: Any) -> Any:
        """The same thing, but with a scythe over it."""
        return _Mown(target, self)

    async def pass_(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Do it, or stop."""
        self.calls += 1
        if self.struck.is_set():
            await asyncio.Event().wait()
        if self.calls == self._at and not self._after:
            await self._stop()
        answer = await call()
        if self.calls == self._at and self._after:
            await self._stop()
        return answer

    async def _stop(self) -> None:
        self.struck.set()
        await asyncio.Event().wait()


class _Mown:
    def __init__(self, target: Any, scythe: Scythe) -> None:
        self._target = target
        self._scythe = scythe

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in _WRITES:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._scythe.pass_(lambda: found(*args, **kwargs))

        return call

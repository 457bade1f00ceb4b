"""What operators and orchestrators ask: is it alive, is it ready, what are its numbers.

`/healthz` says that the event loop turns and nothing more, since a restart does not mend a database. `/readyz` runs
the service's checks and names what is missing and the remedy. All of it is open, as probes and scrapers carry no
tokens, so nothing here may show a secret.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Final

import msgspec
import structlog
from starlette.responses import Response

from ashore.http.routes import Request, Route
from ashore.telemetry import METRICS_TYPE, Metrics

Check = Callable[[], Awaitable[None]]
TIMEOUT: Final = 2.0
KEPT_SECONDS: Final = 1.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing the service needs."""

    ready: bool
    reason: str = ""
    remedy: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """Whether the service can do its work."""

    ready: bool
    checks: dict[str, CheckResult]


class Health:
    """Runs checks at once and keeps their results for a second, so that asking often costs nothing."""

    def __init__(self, checks: Mapping[str, Check], timeout: float = TIMEOUT) -> None:
        self._checks = checks
        self._timeout = timeout
        self._kept: Readiness | None = None
        self._kept_until = 0.0
        self._running = asyncio.Lock()

    async def readiness(self) -> Readiness:
        """The state of everything that the service needs."""
        async with self._running:
            if self._kept is None or time.monotonic() >= self._kept_until:
                results = await asyncio.gather(*map(self._run, self._checks.values()))
                self._keep(
                    Readiness(all(result.ready for result in results), dict(zip(self._checks, results, strict=True)))
                )
            return self._kept or Readiness(ready=False, checks={})

    def _keep(self, readiness: Readiness) -> None:
        if self._kept is None or self._kept.ready != readiness.ready:
            missing = {name: check.reason for name, check in readiness.checks.items() if not check.ready}
            log.info("ready" if readiness.ready else "not ready", **({"missing": missing} if missing else {}))
        self._kept = readiness
        self._kept_until = time.monotonic() + KEPT_SECONDS

    async def _run(self, check: Check) -> CheckResult:
        try:
            async with asyncio.timeout(self._timeout):
                await check()
        except TimeoutError:
            return CheckResult(ready=False, reason=f"no answer within {self._timeout:g} seconds")
        except Exception as error:  # noqa: BLE001 - whatever a check raises is its result
            return CheckResult(ready=False, reason=str(error) or type(error).__name__, remedy=_remedy(error))
        return CheckResult(ready=True)


def operations(health: Health, metrics: Metrics) -> list[Route]:
    """The routes `/healthz`, `/readyz` and `/metrics`."""

    async def healthz(_request: Request) -> Response:
        return Response(b'{"alive":true}', media_type="application/json")

    async def readyz(_request: Request) -> Response:
        readiness = await health.readiness()
        status = 200 if readiness.ready else 503
        # The time, so that whoever asks can compare clocks.
        headers = {"content-type": "application/json", "date": formatdate(usegmt=True)}
        return Response(msgspec.json.encode(readiness), status, headers)

    async def numbers(_request: Request) -> Response:
        return Response(await metrics.collect(), headers={"content-type": METRICS_TYPE})

    tags = ["operations"]
    return [
        Route("GET", "/healthz", healthz, summary="Is the process alive?", tags=tags),
        Route("GET", "/readyz", readyz, summary="Can the service do its work?", response=Readiness, tags=tags),
        Route("GET", "/metrics", numbers, summary="Prometheus metrics", response=str, tags=tags),
    ]


def _remedy(error: Exception) -> str:
    return str(getattr(error, "remedy", ""))

"""Health, readiness and metrics of a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.health import Health, operations
from ashore.telemetry import Metrics
from tests.contract.http_kit import Running, request, running


class HarbourError(Exception):
    remedy = "light the lamp"


class Sea:
    """What the service depends on, in the state that a test wishes."""

    rough = False
    endless = False
    asked = 0

    async def check(self) -> None:
        self.asked += 1
        if self.endless:
            await asyncio.sleep(60)
        if self.rough:
            raise HarbourError("no harbour in sight")


async def calm() -> None:
    return None


@pytest.fixture
def sea() -> Sea:
    return Sea()


@pytest.fixture
async def site(sea: Sea) -> AsyncIterator[Running]:
    routes = operations(Health({"sea": sea.check, "sky": calm}, timeout=0.1), Metrics())
    async with running(Application(api=api(routes, auth=Auth.of("x"), title="harbour", version="1"))) as site:
        yield site


async def test_a_service_that_has_what_it_needs_is_ready(site: Running) -> None:
    answer = await site.ask(request("GET", "/readyz"))
    assert (answer.status, answer.json()) == (
        200,
        {"ready": True, "checks": {"sea": {"ready": True}, "sky": {"ready": True}}},
    )


async def test_readiness_names_what_is_missing_and_the_remedy(site: Running, sea: Sea) -> None:
    sea.rough = True
    answer = await site.ask(request("GET", "/readyz"))
    assert answer.status == 503
    assert answer.json() == {
        "ready": False,
        "checks": {
            "sea": {"ready": False, "reason": "no harbour in sight", "remedy": "light the lamp"},
            "sky": {"ready": True},
        },
    }


async def test_a_service_without_what_it_needs_is_alive(site: Running, sea: Sea) -> None:
    sea.rough = True
    answer = await site.ask(request("GET", "/healthz"))
    assert (answer.status, answer.json()) == (200, {"alive": True})


async def test_a_check_that_does_not_answer_is_not_waited_for(site: Running, sea: Sea) -> None:
    sea.endless = True
    answer = await site.ask(request("GET", "/readyz"))
    assert answer.json()["checks"]["sea"]["reason"] == "no answer within 0.1 seconds"


async def test_asking_often_does_not_check_often(site: Running, sea: Sea) -> None:
    await asyncio.gather(*(site.ask(request("GET", "/readyz")) for _ in range(20)))
    assert sea.asked == 1


async def test_metrics_are_prometheus_text(site: Running) -> None:
    answer = await site.ask(request("GET", "/metrics"))
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"ashore_outbox_depth 0.0" in answer.body


async def test_without_devices_there_is_nothing_below_fdo(site: Running) -> None:
    assert (await site.ask(request("POST", "/fdo/101/msg/60", b"\x80"))).status == 404

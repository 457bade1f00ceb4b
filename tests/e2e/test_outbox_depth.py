"""How many events wait, as a scraper sees it: services as processes, and a NATS server that goes and comes back."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ashore import bundles
from ashore.cose import KeySigner
from ashore.fdo import voucher as vouchers
from tests import fdo_kit
from tests.bus_kit import join
from tests.conftest import ServerFactory
from tests.contract.manufacturer_kit import Newcomer
from tests.e2e.processes import Service
from tests.e2e.test_factory_to_rendezvous import ask

pytestmark = pytest.mark.e2e


async def gauges(client: httpx.AsyncClient, service: Service) -> tuple[float, float]:
    """How many wait, and for how long the oldest has."""
    text = (await client.get(f"{service.url}/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(lines["ashore_outbox_depth"]), float(lines["ashore_outbox_oldest_seconds"])


async def until(client: httpx.AsyncClient, service: Service, fits: Callable[[tuple[float, float]], bool]) -> None:
    async with asyncio.timeout(60):
        while not fits(await gauges(client, service)):  # noqa: ASYNC110 - it happens in other processes
            await asyncio.sleep(0.2)


async def initialise(client: httpx.AsyncClient, url: str) -> None:
    newcomer = Newcomer()
    first = await ask(client, url, 10, newcomer.app_start())
    assert (await ask(client, url, 12, newcomer.set_hmac(first), first.token)).number == 13


async def test_the_manufacturer_shows_what_waits_for_the_bus(tmp_path: Path, make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    admin = await join(server, "admin")
    await admin.declare()
    await admin.close()
    seed = server.seed_file("manufacturer")
    with Service("ashore_manufacturer", data_dir=tmp_path, nats_url=server.url, nats_seed_file=seed) as made:
        async with httpx.AsyncClient() as client:
            await initialise(client, made.url)
            await until(client, made, lambda seen: seen == (0, 0))
            server.stop()
            await initialise(client, made.url)
            await initialise(client, made.url)
            await until(client, made, lambda seen: seen[0] == 2 and seen[1] > 1)
            server.start()
            await until(client, made, lambda seen: seen == (0, 0))


async def test_the_owner_shows_what_waits_for_the_bus(tmp_path: Path, make_nats_server: ServerFactory) -> None:
    server = make_nats_server()
    server.start()
    admin = await join(server, "admin")
    await admin.declare()
    await admin.close()
    server.stop()
    seed = server.seed_file("owner")
    with Service("ashore_owner", data_dir=tmp_path, nats_url=server.url, nats_seed_file=seed) as owner:
        async with httpx.AsyncClient(headers=authorization(tmp_path)) as client:
            keys = (await client.get(f"{owner.url}/api/v1/keys")).json()
            answer = await client.post(f"{owner.url}/api/v1/vouchers", content=sold_to(keys))
            assert [one["verdict"] for one in answer.json()["items"]] == ["imported"]
            await until(client, owner, lambda seen: seen[0] == 1 and seen[1] > 1)
            server.start()
            await until(client, owner, lambda seen: seen == (0, 0))


def authorization(folder: Path) -> dict[str, str]:
    return {"authorization": f"Bearer {(folder / 'admin-token').read_text().strip()}"}


def sold_to(keys: list[dict[str, str]]) -> bytes:
    """A voucher, in PEM, that was sold to whoever has these keys."""
    _, voucher = fdo_kit.initialise()
    seller = fdo_kit.signer("manufacturer", "p256")
    buyer = bundles.of_kind(bundles.read("".join(key["pem"] for key in keys).encode()), seller.public_key)
    assert buyer is not None
    public = fdo_kit.encode_public_key(buyer, voucher.header.public_key.encoding)
    assert isinstance(seller, KeySigner)
    return vouchers.to_pem(vouchers.extend(voucher, seller, public)).encode()

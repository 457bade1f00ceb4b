"""From the factory floor to the rendezvous: both services as processes, a real NATS server between them."""

import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ashore import bundles
from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from ashore.cose import KeySigner
from ashore.events import Event, VoucherExtended, open_event
from ashore.fdo import to1
from ashore.fdo.messages import AcceptOwner, HelloAck, HelloRVAck, RVRedirect, To0Hello
from ashore.fdo.voucher import Voucher
from ashore.http.fdo import FdoReply
from tests import fdo_kit
from tests.contract.manufacturer_kit import Newcomer
from tests.contract.rendezvous_kit import owner_sign
from tests.e2e.processes import Service

pytestmark = pytest.mark.e2e
OWNER = fdo_kit.signer("owner", "p256")


async def ask(client: httpx.AsyncClient, url: str, number: int, body: bytes, token: str | None = None) -> FdoReply:
    headers = {"content-type": "application/cbor"} | ({"authorization": token} if token else {})
    answer = await client.post(f"{url}/fdo/101/msg/{number}", content=body, headers=headers)
    return FdoReply(int(answer.headers["message-type"]), answer.content, answer.headers.get("authorization"))


class Floor:
    """A manufacturer and two replicas of the rendezvous behind round robin."""

    def __init__(self, stack: ExitStack, folder: Path, server: EmbeddedServer) -> None:
        buyer = folder / "owner.pem"
        buyer.write_text(bundles.to_pem(OWNER.public_key))
        common = {"nats_url": server.url, "data_dir": folder}
        self.manufacturer = stack.enter_context(
            Service(
                "ashore_manufacturer",
                **common,
                nats_seed_file=server.seed_file("manufacturer"),
                sell_to=buyer,
                rendezvous_urls="http://127.0.0.1:8040",
            )
        )
        self.token = (folder / "admin-token").read_text().strip()
        trusted = folder / "manufacturer.pem"
        trusted.write_text("".join(key["pem"] for key in self.get(self.manufacturer, "keys")))
        self.replicas = [
            stack.enter_context(
                Service(
                    "ashore_rendezvous",
                    **common,
                    nats_seed_file=server.seed_file("rendezvous"),
                    trusted_keys=trusted,
                )
            )
            for _ in range(2)
        ]
        self._turns = itertools.cycle(self.replicas)

    def get(self, service: Service, path: str) -> list[dict[str, str]]:
        answer = httpx.get(f"{service.url}/api/v1/{path}", headers={"authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, str]] = answer.json()
        return found

    async def initialise(self, client: httpx.AsyncClient, newcomer: Newcomer) -> None:
        url = self.manufacturer.url
        first = await ask(client, url, 10, newcomer.app_start())
        assert (await ask(client, url, 12, newcomer.set_hmac(first), first.token)).number == 13

    async def register(self, client: httpx.AsyncClient, voucher: Voucher, owner: KeySigner) -> int:
        first = await ask(client, next(self._turns).url, 20, To0Hello().encode())
        body = owner_sign(HelloAck.decode(first.body), voucher, owner).encode()
        last = await ask(client, next(self._turns).url, 22, body, first.token)
        return AcceptOwner.decode(last.body).wait_seconds

    async def redirect(self, client: httpx.AsyncClient, newcomer: Newcomer) -> list[object]:
        assert newcomer.credential is not None
        guid, signer = newcomer.credential.guid, KeySigner(newcomer.key)
        first = await ask(client, next(self._turns).url, 30, to1.hello_rv(guid, signer).encode())
        body = to1.prove_to_rv(HelloRVAck.decode(first.body), guid, signer).encode()
        last = await ask(client, next(self._turns).url, 32, body, first.token)
        return list(to1.read_redirect(RVRedirect.decode(last.body)))


@pytest.fixture
def floor(tmp_path: Path, nats_server: EmbeddedServer, nats_bus: NatsBus) -> Iterator[Floor]:
    with ExitStack() as stack:
        yield Floor(stack, tmp_path, nats_server)


async def facts(bus: NatsBus, count: int) -> AsyncIterator[Event]:
    numbers = itertools.count(1)
    async for _, envelope in bus.follow([">"], replay=True):
        yield open_event(envelope)
        if next(numbers) == count:
            return


async def test_a_device_is_made_sold_registered_and_redirected(floor: Floor, nats_bus: NatsBus) -> None:
    newcomer = Newcomer(serial="FLOOR-1")
    async with httpx.AsyncClient() as client:
        await floor.initialise(client, newcomer)
        issued, extended = [fact async for fact in facts(nats_bus, 2)]
        assert isinstance(extended, VoucherExtended)
        assert (issued.name, extended.serial) == ("voucher-issued", "FLOOR-1")
        voucher = Voucher.decode(base64.b64decode(extended.voucher))
        assert await floor.register(client, voucher, OWNER) == 3600
        assert await floor.redirect(client, newcomer) == fdo_kit.ADDRESSES
    told = [fact async for fact in facts(nats_bus, 4)]
    assert [fact.name for fact in told[2:]] == ["owner-registered", "device-redirected"]
    for replica in floor.replicas:
        page = floor.get(replica, "registrations")
        assert [one["guid"] for one in page["items"]] == [voucher.guid.hex()]
        assert replica.stop() == 0
    assert floor.manufacturer.stop() == 0

"""The owner's management API, through its ASGI application, on SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from ashore import bundles
from ashore.bus.memory import MemoryBus
from ashore.certificates import DeviceAuthority
from ashore.fdo import voucher as vouchers
from ashore.fdo.errors import VoucherError
from ashore.fdo.messages import Done
from ashore.fdo.types import To2Address, Transport, fingerprint
from ashore.fdo.voucher import Voucher
from ashore.http.api import api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoReply
from ashore.sql import CursorInvalid, Database, StorageUnavailable, ValueImpossible
from ashore_owner.api import Api
from ashore_owner.api_profiles import ProfilesApi
from ashore_owner.to0 import Registrar
from ashore_owner.waiting import WaitingRoom
from tests import fdo_kit as kit
from tests.contract.owner_world import NOW, Client, Refused, World
from tests.contract.sql_fixtures import fresh_url


class Office(World):
    """An owner service as an operator sees it."""

    def __init__(self, database: Database, bus: MemoryBus) -> None:
        super().__init__(database, bus)
        signers = {fingerprint(self.owner.public_key): self.owner}
        address = To2Address(None, "owner.example", 8042, Transport.HTTP)
        registrar = Registrar(database, signers, [address], wait_seconds=3600, parallel=2)
        routes = [
            *Api(self.store, self.queries, self.catalogue, registrar, signers).routes(),
            *ProfilesApi(self.documents, self.catalogue).routes(),
        ]
        problems = {CursorInvalid: 422, ValueImpossible: 422, StorageUnavailable: 503}
        app = api(routes, auth=Auth.of("secret", ""), title="owner", version="1", problems=problems)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://owner/api/v1",
            headers={"authorization": "Bearer secret"},
        )


@pytest.fixture(params=["sqlite", "postgresql"])
async def office(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Office]:
    async with fresh_url(request.param, tmp_path) as url:
        database = await Database.open(url, "ashore_owner:migrations")
        office = Office(database, MemoryBus())
        await office.catalogue.seed(NOW)
        yield office
        await office.http.aclose()
        await database.close()


async def test_each_voucher_of_a_bundle_gets_its_own_verdict(office: Office) -> None:
    good, other = kit.owned()[1], kit.owned()[1]
    foreign = kit.sell(kit.owned()[1], office.owner, kit.signer("stranger", "p256"))
    false = other.entries[0]
    broken = Voucher(good.header_bytes, good.header, other.hmac, good.chain, (false,))
    bundle = "\n".join(vouchers.to_pem(one) for one in (good, good, foreign, broken))
    items = (await office.http.post("/vouchers", content=bundle)).json()["items"]
    assert [item["verdict"] for item in items] == ["imported", "known", "refused", "refused"]
    assert "another key" in items[2]["reason"]
    assert "not valid" in items[3]["reason"] or "follow" in items[3]["reason"]
    assert [device["guid"] for device in (await office.http.get("/devices")).json()["items"]] == [good.guid.hex()]


def named(serial: str) -> Voucher:
    """A voucher sold to the owner, as our manufacturer makes it: the device's certificate names its serial number."""
    born = datetime(2026, 1, 1, tzinfo=UTC)
    authority = DeviceAuthority.create(kit.private_key("p256"), "device CA", born)
    _, voucher = kit.initialise(certify=lambda key: authority.issue(key, subject=serial, now=born))
    return kit.sell(voucher, kit.signer("manufacturer", "p256"), kit.signer("owner 0", "p256"))


async def serial_of(office: Office, voucher: Voucher) -> str:
    answer = await office.http.get(f"/devices/{voucher.guid.hex()}")
    return str(answer.json()["serial"])


async def handed_in(office: Office, voucher: Voucher, **query: str) -> tuple[str, str, str]:
    answer = await office.http.post("/vouchers", content=voucher.encode(), params=query)
    assert answer.status_code == 200, answer.text
    [item] = answer.json()["items"]
    return item["verdict"], item["serial"], item["reason"]


async def test_an_upload_may_name_the_serial_number(office: Office) -> None:
    voucher, other = kit.owned()[1], kit.owned()[1]
    assert await handed_in(office, voucher, serial="SN 7\u0007") == ("imported", "SN 7", "")
    assert await serial_of(office, voucher) == "SN 7"
    assert await handed_in(office, voucher) == ("known", "SN 7", "")
    verdict, serial, reason = await handed_in(office, voucher, serial="SN 8")
    assert (verdict, serial, "forget the device first" in reason) == ("known", "SN 7", True)
    found = (await office.http.get("/devices", params={"search": "SN"})).json()["items"]
    assert [one["guid"] for one in found] == [voucher.guid.hex()]
    bundle = vouchers.to_pem(voucher) + vouchers.to_pem(other)
    answer = await office.http.post("/vouchers", content=bundle, params={"serial": "SN 9"})
    assert (answer.status_code, answer.json()["remedy"]) == (400, "Send them one by one.")
    assert (await office.http.post("/vouchers", content=b"", params={"serial": "x" * 256})).status_code == 422


async def test_without_that_the_certificate_of_the_device_names_it(office: Office) -> None:
    assert await handed_in(office, voucher := named("CAM-7")) == ("imported", "CAM-7", "")
    assert await serial_of(office, voucher) == "CAM-7"
    assert await handed_in(office, named("CAM-8"), serial="MINE") == ("imported", "MINE", "")


async def test_without_both_the_model_stands_for_it(office: Office) -> None:
    assert await handed_in(office, kit.owned()[1]) == ("imported", "gotest", "")


async def test_a_device_that_comes_back_keeps_its_serial_number(office: Office) -> None:
    _, voucher = await office.adopt()
    buyer = kit.signer("buyer", "p256")
    sold = kit.sell(voucher, office.owner, buyer)
    await office.store.sell(voucher.guid.hex(), sold)
    assert await handed_in(office, kit.sell(sold, buyer, office.owner)) == ("imported", "SN-1", "")


async def test_one_voucher_in_cbor_is_imported(office: Office) -> None:
    _, voucher, _ = kit.owned()
    answer = await office.http.post("/vouchers", content=voucher.encode())
    assert answer.json()["items"][0]["verdict"] == "imported"
    exported = await office.http.get(f"/vouchers/{voucher.guid.hex()}/pem")
    assert vouchers.read(exported.content) == [voucher]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----", b"\x80" * 70_000])
async def test_what_is_no_voucher_is_told_so(office: Office, body: bytes) -> None:
    answer = await office.http.post("/vouchers", content=body)
    assert answer.status_code == 400
    assert answer.json()["remedy"]


async def test_without_a_token_nothing_is_shown(office: Office) -> None:
    for method, path in (("GET", "/devices"), ("POST", "/vouchers"), ("PUT", "/rules"), ("GET", "/keys")):
        answer = await office.http.request(method, path, headers={"authorization": ""})
        assert answer.status_code == 401


async def test_a_device_shows_what_its_profile_did(office: Office) -> None:
    device, voucher = await office.adopt()
    new = await Client(device, office.replica()).onboard()
    shown = (await office.http.get(f"/devices/{new}")).json()
    assert (shown["state"], shown["serial"], shown["replaces"]) == ("onboarded", "SN-1", voucher.guid.hex())
    steps = shown["onboardings"][0]["steps"]
    assert steps[-1]["description"] == "run script hello.sh"
    assert steps[-1]["stdout"] == "Welcome\n"


async def test_a_device_is_sold_on_and_its_voucher_stays(office: Office) -> None:
    _, voucher = await office.adopt()
    buyer = kit.signer("buyer", "p256")
    path = f"/vouchers/{voucher.guid.hex()}"
    sold = await office.http.post(f"{path}/extend", json={"owner_key": bundles.to_pem(buyer.public_key)})
    extended = vouchers.read(sold.content)[0]
    vouchers.verify(extended)
    assert extended.owner_key == buyer.public_key
    assert vouchers.read((await office.http.get(f"{path}/pem")).content) == [extended]
    again = await office.http.post(f"{path}/extend", json={"owner_key": bundles.to_pem(buyer.public_key)})
    assert again.status_code == 409


async def test_of_two_sales_at_once_only_one_is_made(office: Office) -> None:
    _, voucher = await office.adopt()
    path = f"/vouchers/{voucher.guid.hex()}"
    buyers = [bundles.to_pem(kit.signer(name, "p256").public_key) for name in ("buyer", "other buyer")]
    sales = await asyncio.gather(*(office.http.post(f"{path}/extend", json={"owner_key": buyer}) for buyer in buyers))
    assert sorted(sale.status_code for sale in sales) == [200, 409]
    made = next(sale for sale in sales if sale.status_code == 200)
    assert (await office.http.get(f"{path}/pem")).content == made.content


async def test_a_device_that_is_sold_while_it_comes_ashore_is_the_buyers(office: Office) -> None:
    device, voucher = await office.adopt()
    buyer = kit.signer("buyer", "p256")

    class Sold(Client):
        async def send(self, number: int, body: bytes) -> FdoReply:
            if number == Done.number:
                await office.store.sell(voucher.guid.hex(), kit.sell(voucher, office.owner, buyer))
            return await super().send(number, body)

    exchange = office.replica()
    with pytest.raises(Refused, match="sold"):
        await Sold(device, exchange).onboard()
    await exchange.drain()
    shown = (await office.http.get(f"/devices/{voucher.guid.hex()}")).json()
    assert (shown["state"], shown["replaced_by"]) == ("failed", None)
    assert shown["sold_to"] == fingerprint(buyer.public_key)


async def test_a_device_that_is_bought_back_is_ours_again(office: Office) -> None:
    device, voucher = await office.adopt()
    buyer = kit.signer("buyer", "p256")
    sold = kit.sell(voucher, office.owner, buyer)
    await office.store.sell(voucher.guid.hex(), sold)
    assert await office.store.candidate(voucher.guid.hex()) is None
    back = kit.sell(sold, buyer, office.owner)
    answer = await office.http.post("/vouchers", content=vouchers.to_pem(back))
    assert answer.json()["items"][0]["verdict"] == "imported"
    assert await Client(device, office.replica()).onboard()


async def test_an_older_voucher_does_not_replace_a_newer_one(office: Office) -> None:
    _, voucher = await office.adopt()
    longer = kit.sell(
        kit.sell(voucher, office.owner, kit.signer("buyer", "p256")), kit.signer("buyer", "p256"), office.owner
    )
    assert (await office.http.post("/vouchers", content=longer.encode())).json()["items"][0]["verdict"] == "imported"
    assert (await office.http.post("/vouchers", content=voucher.encode())).json()["items"][0]["verdict"] == "known"
    assert await office.store.voucher(voucher.guid.hex()) == longer


@pytest.mark.parametrize("key", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
async def test_a_buyer_without_a_key_is_refused(office: Office, key: str) -> None:
    _, voucher = await office.adopt()
    answer = await office.http.post(f"/vouchers/{voucher.guid.hex()}/extend", json={"owner_key": key})
    assert answer.status_code == 400


async def test_a_buyer_with_another_kind_of_key_is_refused(office: Office) -> None:
    _, voucher = await office.adopt()
    pem = bundles.to_pem(kit.signer("buyer", "p384").public_key)
    answer = await office.http.post(f"/vouchers/{voucher.guid.hex()}/extend", json={"owner_key": pem})
    assert answer.status_code == 400
    assert "SECP256R1" in answer.json()["detail"]


async def test_unknown_devices_are_answered_with_a_remedy(office: Office) -> None:
    for method, path in (("GET", ""), ("GET", "/pem"), ("DELETE", ""), ("POST", "/register")):
        answer = await office.http.request(method, f"/vouchers/{'0' * 32}{path}")
        assert answer.status_code == 404
        assert "ashore voucher import" in answer.json()["remedy"]


async def test_devices_are_found_by_how_serial_or_guid_begin_and_by_state(office: Office) -> None:
    for number in range(3):
        voucher = kit.owned()[1]
        await office.store.add(voucher, serial=f"PUMP-{number}", origin="upload", now=NOW + number)
    guid = voucher.guid.hex()

    async def found(**query: str) -> list[str]:
        items = (await office.http.get("/devices", params=query)).json()["items"]
        return [item["serial"] for item in items]

    assert await found() == ["PUMP-2", "PUMP-1", "PUMP-0"]
    assert await found(search="PUMP") == ["PUMP-0", "PUMP-1", "PUMP-2"]
    assert await found(search=guid[:12]) == ["PUMP-2"]
    assert await found(search="%") == []
    assert await found(state="onboarded") == []
    assert (await office.http.get("/devices", params={"state": "lost"})).status_code == 422


async def test_devices_are_paged_without_gaps(office: Office) -> None:
    for number in range(5):
        await office.store.add(kit.owned()[1], serial=f"S-{number}", origin="upload", now=NOW)
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await office.http.get("/devices", params=query)).json()
        seen += [item["serial"] for item in page["items"]]
        cursor = page.get("next")
        if cursor is None:
            break
    assert sorted(seen) == [f"S-{number}" for number in range(5)]
    assert (await office.http.get("/devices", params={"cursor": "nonsense"})).status_code == 422


async def test_a_profile_is_kept_chosen_and_protected_while_a_rule_names_it(office: Office) -> None:
    profile = {"name": "kiosk", "steps": [{"step": "run_command", "arguments": ["true"]}]}
    assert (await office.http.put("/profiles/kiosk", json=profile)).status_code == 200
    assert (await office.http.put("/rules", json=[{"profile": "kiosk", "serial": "K-*"}])).status_code == 200
    assert (await office.http.delete("/profiles/kiosk")).status_code == 409
    _, voucher = await office.adopt()
    chosen = await office.http.put(f"/devices/{voucher.guid.hex()}/profile", json={"profile": "kiosk"})
    assert chosen.status_code == 204
    assert (await office.http.get(f"/devices/{voucher.guid.hex()}")).json()["profile"] == "kiosk"
    await office.http.put("/rules", json=[])
    assert (await office.http.delete("/profiles/kiosk")).status_code == 204
    assert (await office.http.get("/profiles")).json() == ["hello"]


@pytest.mark.parametrize(
    "profile",
    [
        {"name": "Bad Name"},
        {"name": "kiosk", "steps": [{"step": "fly"}]},
        {"name": "kiosk", "steps": [{"step": "run_command", "arguments": []}]},
        {"name": "kiosk", "variables": {"lower": "x"}},
        {"name": "kiosk", "surprise": 1},
        {"name": "other"},
    ],
)
async def test_a_profile_that_cannot_work_is_refused(office: Office, profile: dict[str, object]) -> None:
    assert (await office.http.put("/profiles/kiosk", json=profile)).status_code in {400, 422}


async def test_rules_and_devices_name_only_profiles_that_are_there(office: Office) -> None:
    assert (await office.http.put("/rules", json=[{"profile": "missing"}])).status_code == 404
    _, voucher = await office.adopt()
    answer = await office.http.put(f"/devices/{voucher.guid.hex()}/profile", json={"profile": "missing"})
    assert answer.status_code == 404


async def test_resources_are_kept_and_sent(office: Office) -> None:
    content = bytes(range(256)) * 400
    assert (await office.http.put("/resources/firmware.bin", content=content)).status_code == 204
    assert (await office.http.get("/resources")).json() == ["firmware.bin"]
    assert (await office.http.delete("/resources/firmware.bin")).status_code == 204
    assert (await office.http.delete("/resources/firmware.bin")).status_code == 404


async def test_who_waits_is_shown_with_a_remedy(office: Office) -> None:
    await WaitingRoom(office.store, lambda: office.time).refused("0" * 32, VoucherError("it belongs to another key"))
    assert (await office.http.get("/waiting")).json() == [
        {
            "guid": "0" * 32,
            "reason": "it belongs to another key",
            "remedy": "Its voucher belongs to another key: have it extended to one of this owner's keys.",
            "first_seen": "2027-01-15T08:00:00.000Z",
            "last_seen": "2027-01-15T08:00:00.000Z",
            "times": 1,
        }
    ]


async def test_the_owners_keys_are_a_bundle_for_its_sellers(office: Office) -> None:
    keys = (await office.http.get("/keys")).json()
    assert [key["fingerprint"] for key in keys] == [fingerprint(office.owner.public_key)]
    assert bundles.read(keys[0]["pem"].encode()) == [office.owner.public_key]


@pytest.mark.parametrize(
    "path",
    [
        "/devices?search=%00",
        "/devices/%00",
        f"/devices/{'a' * 4000}",
        "/vouchers/%00/pem",
        "/profiles/%00",
        f"/profiles/{'a' * 4000}",
        "/onboardings/%00/files/0",
        "/onboardings/x/files/99999999999",
        f"/onboardings/x/files/{'9' * 30}",
        "/devices?search=x&cursor=WyJcdTAwMDAiLCAiXHUwMDAwIl0",
    ],
)
async def test_an_address_that_names_nothing_is_told_so_by_either_database(office: Office, path: str) -> None:
    answer = await office.http.get(path)
    assert answer.status_code in (200, 404, 422), answer.text
    assert answer.status_code != 200 or answer.json()["items"] == []


@pytest.mark.parametrize("name", ["%00", "a" * 151])
async def test_a_resource_has_a_name_that_steps_can_say(office: Office, name: str) -> None:
    assert (await office.http.put(f"/resources/{name}", content=b"x")).status_code == 422
    assert (await office.http.delete(f"/resources/{name}")).status_code == 404


async def test_a_profile_that_cannot_be_is_not_chosen(office: Office) -> None:
    _, voucher = await office.adopt()
    for name in ("\0", "a" * 4000):
        answer = await office.http.put(f"/devices/{voucher.guid.hex()}/profile", json={"profile": name})
        assert answer.status_code in (404, 422)


async def test_a_voucher_that_says_too_much_is_refused_and_the_others_are_taken(office: Office) -> None:
    owned = [kit.owned()[1] for _ in range(2)]
    header = msgspec.structs.replace(owned[0].header, device_info="x" * 5000)
    wordy = replace(owned[0], header=header, header_bytes=header.encode(), entries=())
    wordy = kit.sell(wordy, kit.signer("manufacturer", "p256"), office.owner)
    answer = await office.http.post("/vouchers", content="".join(map(vouchers.to_pem, (wordy, owned[1]))))
    assert [item["verdict"] for item in answer.json()["items"]] == ["refused", "imported"]

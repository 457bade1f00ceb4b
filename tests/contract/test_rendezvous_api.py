"""The rendezvous' management API, and its settings."""

from pathlib import Path

import pytest

from ashore import bundles
from ashore.fdo.types import fingerprint
from ashore.service import StartError
from ashore_rendezvous.app import read_trusted
from ashore_rendezvous.config import RendezvousSettings
from tests import fdo_kit
from tests.contract.rendezvous_kit import MANUFACTURER, Rendezvous, made

__all__ = ["made"]


async def test_a_registration_is_shown(made: Rendezvous) -> None:
    _, voucher, owner = fdo_kit.owned(sales=2)
    await made.accepted(voucher, owner)
    answer = await made.http.get(f"/registrations/{voucher.guid.hex().upper()}")
    assert answer.json() == {
        "guid": voucher.guid.hex(),
        "owner_key": fingerprint(owner.public_key),
        "manufacturer_key": MANUFACTURER,
        "sales": 2,
        "addresses": ["http://owner.example:8042"],
        "registered_at": "2027-01-15T08:00:00Z",
        "expires_at": "2027-01-15T09:00:00Z",
    }


async def test_registrations_are_paged(made: Rendezvous) -> None:
    vouchers = [fdo_kit.owned()[1:] for _ in range(5)]
    for voucher, owner in vouchers:
        await made.accepted(voucher, owner)
    found, cursor = [], ""
    while cursor is not None:
        page = (await made.http.get("/registrations", params={"limit": 2, "cursor": cursor})).json()
        found += [one["guid"] for one in page["items"]]
        cursor = page["next"]
    assert found == sorted(voucher.guid.hex() for voucher, _ in vouchers)


async def test_an_operator_ends_a_registration(made: Rendezvous) -> None:
    device, voucher, owner = fdo_kit.owned()
    await made.accepted(voucher, owner)
    path = f"/registrations/{voucher.guid.hex()}"
    assert (await made.http.delete(path)).status_code == 204
    assert (await made.greet(device)).number == 255
    for answer in (await made.http.delete(path), await made.http.get(path)):
        assert answer.status_code == 404
        assert answer.json()["remedy"]


async def test_rules_are_set_listed_and_taken_back(made: Rendezvous) -> None:
    guid = "00112233-4455-6677-8899-AABBCCDDEEFF"
    put = await made.http.put(f"/rules/voucher/{guid}", json={"verdict": "allow", "comment": "trial"})
    rule = put.json()
    assert rule == {
        "kind": "voucher",
        "id": "00112233445566778899aabbccddeeff",
        "verdict": "allow",
        "comment": "trial",
        "set_by": "admin",
        "set_at": "2027-01-15T08:00:00Z",
    }
    await made.http.put(f"/rules/owner/{'a' * 64}", json={"verdict": "deny"})
    page = (await made.http.get("/rules")).json()
    assert [one["kind"] for one in page["items"]] == ["owner", "voucher"]
    assert (page["items"][1], page["next"], page["trusted_keys"]) == (rule, None, [MANUFACTURER])
    first = (await made.http.get("/rules", params={"limit": 1})).json()
    assert (await made.http.get("/rules", params={"cursor": first["next"]})).json()["items"] == [rule]
    assert (await made.http.delete(f"/rules/voucher/{guid}")).status_code == 204
    assert (await made.http.delete(f"/rules/voucher/{guid}")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rules/owner/nonsense", 422),
        (f"/rules/owner/{'a' * 32}", 422),
        (f"/rules/voucher/{'a' * 64}", 422),
        (f"/rules/voucher/{'>' * 32}", 422),
        (f"/rules/device/{'a' * 32}", 404),
    ],
)
async def test_a_rule_about_nobody_is_refused(made: Rendezvous, path: str, status: int) -> None:
    answer = await made.http.put(path, json={"verdict": "allow"})
    assert (answer.status_code, bool(answer.json()["remedy"])) == (status, True)


@pytest.mark.parametrize("body", [{}, {"verdict": "perhaps"}, {"verdict": "allow", "until": "noon"}])
async def test_a_rule_says_allow_or_deny(made: Rendezvous, body: dict[str, str]) -> None:
    assert (await made.http.put(f"/rules/owner/{'a' * 64}", json=body)).status_code == 422


@pytest.mark.parametrize("path", ["/registrations", "/rules"])
async def test_everything_needs_a_token(made: Rendezvous, path: str) -> None:
    assert (await made.http.get(path, headers={"Authorization": ""})).status_code == 401


def test_trusted_keys_are_read_from_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    keys = [fdo_kit.signer("manufacturer", kind).public_key for kind in ("p256", "p384")]
    path.write_text("".join(map(bundles.to_pem, keys)))
    assert read_trusted(path) == set(map(fingerprint, keys))
    path.write_text("nothing")
    for bad in (path, tmp_path / "missing"):
        with pytest.raises(StartError, match="ASHORE_TRUSTED_KEYS"):
            read_trusted(bad)


def test_the_shortest_time_is_not_more_than_the_longest() -> None:
    assert "ASHORE_MIN_WAIT_SECONDS" in str(list(RendezvousSettings(min_wait_seconds=9, max_wait_seconds=8).check()))

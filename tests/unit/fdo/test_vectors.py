"""Real bytes of go-fdo-client and of linux-client, and what our services answered (`tests/vectors/record.py`).

Everything is read and written back to the byte; whatever can be proven with the keys in a recording is proven.
"""

import itertools
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from ashore import cbor
from ashore.certificates import requested_key
from ashore.fdo import di, eat, kex, to0, to1, to2, voucher
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength
from ashore.fdo.codec import Message, convert
from ashore.fdo.messages import (
    MESSAGES,
    START,
    AppStart,
    DeviceServiceInfoReady,
    Done,
    Done2,
    ErrorMessage,
    GetOVNextEntry,
    HelloAck,
    HelloDevice,
    HelloRV,
    HelloRVAck,
    OVNextEntry,
    OwnerSign,
    ProveDevice,
    ProveOVHdr,
    ProveToRV,
    RVRedirect,
    SetCredentials,
    SetHmac,
    SetupDevice,
    admit,
)
from ashore.fdo.types import Hash, PublicKey, key_types
from ashore.fdo.voucher import Voucher
from tests import fdo_kit as kit

FOLDER = Path(__file__).parents[2] / "vectors"
RUNS = sorted(path.name for path in FOLDER.iterdir() if (path / "voucher.cbor").exists())
GO_RUNS = [name for name in RUNS if name.startswith("go-")]
M = TypeVar("M", bound=Message)


class Session(NamedTuple):
    """What the owner knew of a TO2."""

    keys: SessionKeys
    hello: to2.Hello


class Run:
    """One recording."""

    def __init__(self, name: str) -> None:
        self._folder = FOLDER / name
        self.name = name

    def __getitem__(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def first(self, kind: type[M]) -> M:
        """The first message of a kind."""
        (path,) = (path for path in self.bodies() if path.stem.split("_")[0] == str(kind.number) and _order(path) == 1)
        return kind.decode(path.read_bytes())

    def bodies(self) -> list[Path]:
        """The plain bodies, in the order in which they were said."""
        paths = [path for path in self._folder.glob("[0-9]*.cbor") if ".encrypted" not in path.name]
        # Within 68 and 69, question and answer alternate.
        return sorted(paths, key=lambda path: (_number(path) // 2 * 2, _order(path), _number(path)))

    def encrypted(self) -> list[Path]:
        """Bodies as the device sent them."""
        return sorted(self._folder.glob("*.encrypted.cbor"))

    @property
    def voucher(self) -> Voucher:
        """As the owner had it."""
        return Voucher.decode(self["voucher.cbor"])

    @property
    def session(self) -> Session:
        """The keys of TO2."""
        match cbor.loads(self["session.cbor"]):
            case [int(suite), bytes(sek), bytes(svk), bytes(hello)]:
                return Session(SessionKeys(CipherSuite(suite), sek, svk), to2.unpack_hello(hello))
        raise AssertionError("session.cbor is not what record.py writes")


def _number(path: Path) -> int:
    return int(path.name.split("_")[0])


def _order(path: Path) -> int:
    last = path.stem.rpartition("_")[2]
    return int(last) if last.isdigit() else 1


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


def test_there_are_recordings_of_both_clients() -> None:
    assert {name.split("-")[0] for name in RUNS} == {"go", "c"}


def test_each_message_is_read_and_written_back_to_the_byte(run: Run) -> None:
    for path in run.bodies():
        body = path.read_bytes()
        assert MESSAGES[_number(path)].decode(body).encode() == body, path.name


def test_each_message_is_there_and_may_follow_the_one_before(run: Run) -> None:
    kinds = [MESSAGES[_number(path)] for path in run.bodies()]
    assert {kind.number for kind in kinds} == set(MESSAGES) - {255}
    for before, kind in itertools.pairwise(kinds):
        admit(START if START in kind.after else before.number, kind, encrypted=kind.encrypted)


def test_the_manufacturer_reads_who_the_device_is(run: Run) -> None:
    info = di.read_info(run.first(AppStart))
    device = requested_key(info.csr)
    assert info.key_type in key_types(device)
    assert device == run.voucher.device_key
    assert di.read_header(run.first(SetCredentials).header) == run.voucher.header
    assert run.first(SetHmac).hmac == run.voucher.hmac


def test_the_vouchers_hold(run: Run) -> None:
    for name in ("voucher.cbor", "voucher_after.cbor"):
        found = Voucher.decode(run[name])
        voucher.verify(found)
        assert found.encode() == run[name]
        assert voucher.read(voucher.to_pem(found).encode()) == [found]


def test_the_registration_and_its_blob_are_the_owners(run: Run) -> None:
    message = run.first(OwnerSign)
    registration = to0.accept_owner(message, run.first(HelloAck).nonce)
    assert registration.voucher == run.voucher
    assert to0.read_addresses(run.first(RVRedirect).sign1) == registration.addresses
    run.first(RVRedirect).sign1.verify(run.voucher.owner_key)


def test_the_device_proves_itself_to_the_rendezvous(run: Run) -> None:
    hello, ack = run.first(HelloRV), run.first(HelloRVAck)
    device = run.voucher.device_key
    to1.check_sig_info(hello.sig_info, device)
    eat.check(run.first(ProveToRV).sign1, device, hello.guid, ack.nonce)


def test_the_owner_proves_itself_to_the_device(run: Run) -> None:
    proof = run.first(ProveOVHdr).sign1
    proof.verify(run.voucher.owner_key)
    assert convert(proof.unprotected[to2.CUPH_OWNER_KEY], PublicKey).key() == run.voucher.owner_key
    match cbor.loads(proof.payload):
        case [bytes(header), 1, hmac, bytes(nonce), _, bytes(_), hello_hash, int(_)]:
            assert header == run.voucher.header_bytes
            assert convert(hmac, Hash) == run.voucher.hmac
            assert nonce == run.first(HelloDevice).nonce
            assert convert(hello_hash, Hash).matches(run["60_hello_device.cbor"])
            return
    raise AssertionError("message 61 is not as FDO has it")


def test_the_entry_is_signed_by_the_manufacturer(run: Run) -> None:
    found = run.voucher
    assert run.first(GetOVNextEntry).entry == 0
    entry = run.first(OVNextEntry).sign1
    manufacturer = found.header.public_key.key()
    seed = voucher.entry_seed(found)
    assert voucher.verify_entry(entry, 0, manufacturer, seed, found.header, found.hash_type) == found.owner_key


def test_both_sides_derive_the_same_keys(run: Run) -> None:
    hello, owner = run.session.hello, kit.signer("owner", "p256")
    device = run.voucher.device_key
    match eat.check(run.first(ProveDevice).sign1, device, hello.guid, hello.nonce_prove_dv):
        case [bytes(xb)]:
            shared = kex.owner_finish(hello.kex_suite, hello.secret, xb, owner)
            keys = kex.derive(hello.cipher_suite, shared, SvkLength.GO)
            assert (keys.sek, keys.svk) == (run.session.keys.sek, run.session.keys.svk)
            return
    raise AssertionError("message 64 has no key exchange")


def test_what_the_device_encrypted_is_decrypted(run: Run) -> None:
    for path in run.encrypted():
        plain = run[path.name.replace(".encrypted", "")]
        assert run.session.keys.decrypt(path.read_bytes()) == plain


def test_the_new_credential_is_signed_by_its_owner_and_confirmed(run: Run) -> None:
    setup = run.first(SetupDevice).sign1
    after = Voucher.decode(run["voucher_after.cbor"])
    setup.verify(after.owner_key)
    proof = run.first(ProveDevice).sign1
    nonce = proof.unprotected[eat.UNPROTECTED_NONCE]
    match cbor.loads(setup.payload):
        case [rv_info, bytes(guid), bytes(given), owner]:
            assert (rv_info, guid) == (after.header.rv_info, after.guid)
            assert (given, convert(owner, PublicKey)) == (nonce, after.header.public_key)
            assert run.first(DeviceServiceInfoReady).hmac == after.hmac
            assert run.first(Done).nonce == run.session.hello.nonce_prove_dv
            assert run.first(Done2).nonce == nonce
            return
    raise AssertionError("message 65 is not as FDO has it")


@pytest.mark.parametrize("name", GO_RUNS)
def test_the_devices_secret_makes_its_macs(name: str) -> None:
    run = Run(name)
    secret = run["hmac_secret.bin"]
    for found in (run.voucher, Voucher.decode(run["voucher_after.cbor"])):
        assert found.hmac.authenticates(secret, found.header_bytes)


def test_an_error_of_the_c_client_is_read_and_written_back() -> None:
    body = (FOLDER / "c-p256-gcm-error" / "255_error_message.cbor").read_bytes()
    error = ErrorMessage.decode(body)
    assert (error.code, error.previous) == (100, 69)
    assert error.encode() == body


def test_a_signature_that_lacks_a_zero_byte_is_among_them() -> None:
    proof = Run("c-p256-gcm-short-signature").first(ProveDevice)
    assert len(proof.sign1.signature) == 63


def test_a_coordinate_that_lacks_a_zero_byte_is_among_them() -> None:
    claims = cbor.loads(Run("c-p256-gcm-short-coordinate").first(ProveDevice).sign1.payload)
    assert isinstance(claims, dict)
    (xb,) = claims[eat.FDO]
    assert len(xb) == 2 + 32 + 2 + 32 + 2 + 16 - 1

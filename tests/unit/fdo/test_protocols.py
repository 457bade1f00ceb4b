"""All four protocols, both sides, in memory: what fits must work, what was tampered with must not."""

import os
from dataclasses import replace

import pytest

from ashore import cbor, cose
from ashore.fdo import to0, to1, to2, to2_device
from ashore.fdo import voucher as vouchers
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.codec import plain
from ashore.fdo.errors import (
    CredentialReuseError,
    FdoError,
    GuidError,
    InvalidMessageError,
    MessageBodyError,
    OwnerSignError,
    SignatureError,
    VoucherError,
)
from ashore.fdo.kex import KexSuite
from ashore.fdo.types import HashType, KeyEncoding, encode_public_key
from ashore.fdo.voucher import Voucher
from tests import fdo_kit as kit


def finish(shake: kit.Handshake) -> Voucher | None:
    session, _ = to2.owner_ready(shake.setup.message, shake.owner, None)
    voucher, reply = to2.done2(to2_device.done(shake.joined), session)
    to2_device.finish(reply, shake.joined)
    return voucher


@pytest.mark.parametrize("owner_kind", kit.KINDS)
@pytest.mark.parametrize("device_kind", kit.KINDS)
def test_every_pair_of_device_and_owner_keys_onboards(device_kind: str, owner_kind: str) -> None:
    device, voucher, owner = kit.owned(device_kind, owner_kind)
    vouchers.verify(voucher)
    shake = kit.handshake(device, voucher, owner, kex=kit.KEX[owner_kind], cipher=CipherSuite.A256GCM)
    renewed = finish(shake)
    assert renewed is not None
    assert renewed.guid == shake.setup.credential.guid != device.credential.guid
    assert renewed.hmac.authenticates(device.credential.hmac_secret, renewed.header_bytes)


@pytest.mark.parametrize("encoding", list(KeyEncoding))
@pytest.mark.parametrize("kind", kit.KINDS)
def test_every_encoding_of_public_keys_onboards(kind: str, encoding: KeyEncoding) -> None:
    device, voucher, owner = kit.owned(kind, encoding=encoding, sales=2)
    assert voucher.header.public_key.encoding is encoding
    assert finish(kit.handshake(device, voucher, owner, kex=kit.KEX[kind])) is not None


@pytest.mark.parametrize("cipher", list(CipherSuite))
@pytest.mark.parametrize("kex", list(KexSuite))
def test_every_key_exchange_goes_with_every_cipher(kex: KexSuite, cipher: CipherSuite) -> None:
    kinds = {KexSuite.ECDH256: "p256", KexSuite.ECDH384: "p384"}
    kind = kinds.get(kex) or ("rsa2048" if kex in {KexSuite.DHKEXID14, KexSuite.ASYMKEX2048} else "rsa3072")
    device, voucher, owner = kit.owned("p256", kind)
    assert finish(kit.handshake(device, voucher, owner, kex=kex, cipher=cipher)) is not None


def test_the_hash_is_strong_only_where_both_keys_are() -> None:
    assert kit.owned("p384", "p384")[1].hash_type is HashType.SHA384
    assert kit.owned("p384", "p256")[1].hash_type is HashType.SHA256
    assert kit.owned("p384", "rsa3072")[1].hash_type is HashType.SHA384
    assert kit.owned("p256", "p384")[1].hash_type is HashType.SHA256


def test_a_credential_is_reused_when_nothing_changes() -> None:
    device, voucher, owner = kit.owned()
    same = to2.Replacement(voucher.guid, voucher.header.rv_info, voucher.owner_public_key)
    shake = kit.handshake(device, voucher, owner, replacement=same)
    assert shake.owner.reuse
    assert shake.setup.reuse
    assert shake.setup.credential == device.credential
    assert finish(shake) is None


def test_a_device_may_refuse_to_reuse_its_credential() -> None:
    device, voucher, owner = kit.owned()
    same = to2.Replacement(voucher.guid, voucher.header.rv_info, voucher.owner_public_key)
    shake = kit.handshake(device, voucher, owner, replacement=same)
    payload = [kit.RV_INFO, voucher.guid, shake.joined.nonce_setup_dv, voucher.owner_public_key.array()]
    message = to2.SetupDevice(cose.sign1(owner, cbor.dumps(payload)))
    with pytest.raises(CredentialReuseError):
        to2_device.accept_setup(message, shake.joined, device.credential, 1300, allow_reuse=False)


def test_a_renewed_device_is_sold_and_onboards_again() -> None:
    device, voucher, owner = kit.owned()
    shake = kit.handshake(device, voucher, owner)
    renewed = finish(shake)
    assert renewed is not None
    buyer = kit.signer("second owner", "p256")
    resold = kit.sell(renewed, owner, buyer)
    vouchers.verify(resold)
    again = kit.handshake(kit.Device(device.signer, shake.setup.credential), resold, buyer)
    assert finish(again) is not None


def test_a_new_credential_without_an_hmac_is_refused() -> None:
    device, voucher, owner = kit.owned()
    shake = kit.handshake(device, voucher, owner)
    with pytest.raises(InvalidMessageError, match="no HMAC"):
        to2.owner_ready(to2.DeviceServiceInfoReady(None, 1300), shake.owner, None)


def test_a_wrong_nonce_in_done_is_refused() -> None:
    device, voucher, owner = kit.owned()
    shake = kit.handshake(device, voucher, owner)
    with pytest.raises(InvalidMessageError):
        to2.done2(to2.Done(os.urandom(16)), shake.owner)
    with pytest.raises(InvalidMessageError):
        to2_device.finish(to2.Done2(os.urandom(16)), shake.joined)


# Vouchers that lie.


def swapped_chain(voucher: Voucher) -> Voucher:
    other = kit.initialise()[1]
    return replace(voucher, chain=other.chain)


def cut_chain(voucher: Voucher) -> Voucher:
    return replace(voucher, chain=voucher.chain[:1])


def other_header(voucher: Voucher) -> Voucher:
    other = kit.initialise()[1]
    return replace(voucher, header=other.header, header_bytes=other.header_bytes, chain=other.chain)


def other_hmac(voucher: Voucher) -> Voucher:
    return replace(voucher, hmac=kit.initialise()[1].hmac)


def bad_entry_signature(voucher: Voucher) -> Voucher:
    entry = voucher.entries[0]
    altered = bytes([entry.signature[0] ^ 1]) + entry.signature[1:]
    return replace(
        voucher, entries=(cose.Sign1(entry.protected, entry.unprotected, entry.payload, altered), *voucher.entries[1:])
    )


def missing_entry(voucher: Voucher) -> Voucher:
    return replace(voucher, entries=voucher.entries[1:])


def swapped_entries(voucher: Voucher) -> Voucher:
    return replace(voucher, entries=voucher.entries[::-1])


def stolen(voucher: Voucher) -> Voucher:
    """A stranger appends himself without the owner's key."""
    thief = kit.signer("thief", "p256")
    public = encode_public_key(thief.public_key, KeyEncoding.X509)
    genuine = voucher.payload(1)
    payload = vouchers.EntryPayload(genuine.previous_hash, genuine.header_hash, None, public)
    forged = cose.sign1(thief, cbor.dumps(plain(payload)))
    return replace(voucher, entries=(*voucher.entries, forged))


LIES = [
    swapped_chain,
    cut_chain,
    other_header,
    other_hmac,
    bad_entry_signature,
    missing_entry,
    swapped_entries,
    stolen,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_voucher_that_lies_is_refused_by_the_owner_and_the_rendezvous(lie) -> None:
    _, voucher, owner = kit.owned(sales=2)
    vouchers.verify(voucher)
    false = Voucher.decode(lie(voucher).encode())
    with pytest.raises(VoucherError):
        vouchers.verify(false)
    nonce = os.urandom(16)
    with pytest.raises(FdoError):
        to0.accept_owner(kit.register(false, owner, nonce), nonce)


@pytest.mark.parametrize("lie", [other_header, other_hmac, bad_entry_signature, missing_entry, swapped_entries, stolen])
def test_a_voucher_that_lies_is_refused_by_the_device(lie) -> None:
    device, voucher, owner = kit.owned(sales=2)
    false = lie(voucher)
    impostor = kit.signer("thief", "p256") if lie is stolen else owner
    with pytest.raises(FdoError):
        kit.handshake(device, false, impostor)


@pytest.mark.parametrize("chain_hash", [None])
def test_a_voucher_without_a_chain_hash_is_refused_and_not_a_crash(chain_hash) -> None:
    _, voucher = kit.initialise()
    header = vouchers.VoucherHeader(101, voucher.guid, kit.RV_INFO, "x", voucher.header.public_key, chain_hash)
    with pytest.raises(VoucherError, match="no hash"):
        vouchers.verify(replace(voucher, header=header, header_bytes=header.encode()))


def test_only_the_present_owner_extends_a_voucher() -> None:
    _, voucher, _ = kit.owned()
    with pytest.raises(VoucherError, match="only that key can extend it"):
        kit.sell(voucher, kit.signer("manufacturer", "p256"), kit.signer("thief", "p256"))


def test_a_voucher_is_not_extended_to_a_key_of_another_kind() -> None:
    _, voucher, owner = kit.owned()
    with pytest.raises(VoucherError, match="another kind"):
        kit.sell(voucher, owner, kit.signer("buyer", "p384"))


def test_vouchers_survive_cbor_and_pem() -> None:
    _, voucher, _ = kit.owned(sales=3)
    assert Voucher.decode(voucher.encode()) == voucher
    pem = vouchers.to_pem(voucher)
    assert vouchers.read((pem + "\n" + pem).encode()) == [voucher, voucher]


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\xff", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"]
)
def test_what_is_no_voucher_is_told_so(data: bytes) -> None:
    with pytest.raises(VoucherError):
        vouchers.read(data)


@pytest.mark.parametrize("filling", [" ", "A", "-----BEGIN OWNERSHIP VOUCHER-----"])
def test_a_long_text_that_only_begins_like_a_voucher_is_read_once_and_no_more(filling: str) -> None:
    with pytest.raises(VoucherError, match="no block"):
        vouchers.read(f"-----BEGIN OWNERSHIP VOUCHER-----\n{filling * 100_000}".encode())


# TO0 and TO1.


def test_a_registration_is_proven_and_leads_the_device() -> None:
    device, voucher, owner = kit.owned()
    nonce = os.urandom(16)
    message = to0.OwnerSign.decode(kit.register(voucher, owner, nonce).encode())
    registration = to0.accept_owner(message, nonce)
    assert registration.wait_seconds == 3600
    hello = to1.hello_rv(device.credential.guid, device.signer)
    key = registration.voucher.device_key
    ack = to1.hello_rv_ack(hello, os.urandom(16), key)
    proof = to1.prove_to_rv(ack, device.credential.guid, device.signer)
    redirect = to1.redirect(proof, device.credential.guid, ack.nonce, key, registration.to1d)
    assert to1.read_redirect(redirect) == kit.ADDRESSES
    finish(kit.handshake(device, voucher, owner, to1d=redirect.sign1))


def test_a_blob_signed_by_a_stranger_is_refused() -> None:
    _, voucher, _ = kit.owned()
    nonce = os.urandom(16)
    with pytest.raises(OwnerSignError, match="not signed by the voucher's owner"):
        to0.accept_owner(kit.register(voucher, kit.signer("thief", "p256"), nonce), nonce)


def test_a_blob_signed_by_a_stranger_is_refused_by_the_device() -> None:
    device, voucher, owner = kit.owned()
    blob = kit.register(voucher, kit.signer("thief", "p256"), os.urandom(16)).to1d
    with pytest.raises(SignatureError, match="blob"):
        kit.handshake(device, voucher, owner, to1d=blob)


def test_a_blob_for_another_voucher_is_refused() -> None:
    _, voucher, owner = kit.owned()
    nonce = os.urandom(16)
    first, second = kit.register(voucher, owner, nonce), kit.register(kit.owned()[1], owner, nonce)
    with pytest.raises(OwnerSignError, match="another voucher"):
        to0.accept_owner(to0.OwnerSign(first.to0d, second.to1d), nonce)


def test_a_registration_with_an_old_nonce_is_refused() -> None:
    _, voucher, owner = kit.owned()
    with pytest.raises(InvalidMessageError, match="nonce"):
        to0.accept_owner(kit.register(voucher, owner, os.urandom(16)), os.urandom(16))


def test_a_voucher_that_was_never_sold_cannot_be_registered() -> None:
    _, voucher = kit.initialise()
    nonce = os.urandom(16)
    with pytest.raises(OwnerSignError, match="extended"):
        to0.accept_owner(kit.register(voucher, kit.signer("manufacturer", "p256"), nonce), nonce)


def test_a_stranger_is_not_told_where_the_owner_is() -> None:
    device, voucher, owner = kit.owned()
    stranger = kit.owned()[0]
    ack = to1.HelloRVAck(os.urandom(16), to1.SigInfo(-7, b""))
    proof = to1.prove_to_rv(ack, device.credential.guid, stranger.signer)
    blob = kit.register(voucher, owner, os.urandom(16)).to1d
    with pytest.raises(SignatureError):
        to1.redirect(proof, device.credential.guid, ack.nonce, voucher.device_key, blob)


def test_a_proof_about_another_guid_or_nonce_is_refused() -> None:
    device, voucher, owner = kit.owned()
    blob = kit.register(voucher, owner, os.urandom(16)).to1d
    ack = to1.HelloRVAck(os.urandom(16), to1.SigInfo(-7, b""))
    proof = to1.prove_to_rv(ack, os.urandom(16), device.signer)
    with pytest.raises(GuidError):
        to1.redirect(proof, device.credential.guid, ack.nonce, voucher.device_key, blob)
    proof = to1.prove_to_rv(ack, device.credential.guid, device.signer)
    with pytest.raises(InvalidMessageError):
        to1.redirect(proof, device.credential.guid, os.urandom(16), voucher.device_key, blob)


def test_a_device_that_announces_another_signature_is_refused() -> None:
    device, voucher, _ = kit.owned()
    hello = to1.HelloRV(device.credential.guid, to1.SigInfo(-35, b""))
    with pytest.raises(InvalidMessageError, match="-35"):
        to1.hello_rv_ack(hello, os.urandom(16), voucher.device_key)


# TO2.


@pytest.mark.parametrize("index", [1, 2, 255])
def test_an_entry_that_does_not_exist_is_refused_and_not_a_crash(index: int) -> None:
    _, voucher, _ = kit.owned()
    with pytest.raises(InvalidMessageError, match="does not exist"):
        to2.ov_next_entry(to2.GetOVNextEntry(index), voucher)


def test_a_negative_entry_is_refused() -> None:
    with pytest.raises(MessageBodyError):
        to2.GetOVNextEntry.decode(cbor.dumps([-1]))


def test_a_key_exchange_that_does_not_suit_the_owner_is_refused() -> None:
    device, voucher, owner = kit.owned()
    with pytest.raises(InvalidMessageError, match="ECDH384"):
        kit.handshake(device, voucher, owner, kex=KexSuite.ECDH384)


def test_a_voucher_that_was_never_sold_does_not_onboard() -> None:
    device, voucher = kit.initialise()
    with pytest.raises(VoucherError, match="not been extended"):
        kit.handshake(device, voucher, kit.signer("manufacturer", "p256"))


def test_a_stranger_does_not_pass_for_the_device() -> None:
    device, voucher, owner = kit.owned()
    stranger = kit.Device(kit.owned()[0].signer, device.credential)
    with pytest.raises(SignatureError):
        kit.handshake(stranger, voucher, owner)


def test_a_device_does_not_accept_setup_signed_by_a_stranger() -> None:
    device, voucher, owner = kit.owned()
    shake = kit.handshake(device, voucher, owner)
    payload = [kit.RV_INFO, os.urandom(16), shake.joined.nonce_setup_dv, voucher.owner_public_key.array()]
    message = to2.SetupDevice(cose.sign1(kit.signer("thief", "p256"), cbor.dumps(payload)))
    with pytest.raises(SignatureError, match="message 65"):
        to2_device.accept_setup(message, shake.joined, device.credential, 1300, allow_reuse=True)

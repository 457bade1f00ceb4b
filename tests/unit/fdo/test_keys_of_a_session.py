"""Key exchange, key derivation and encrypted messages."""

import contextlib
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from ashore import cbor
from ashore.fdo import kex
from ashore.fdo.ciphers import CipherSuite, SessionKeys, SvkLength
from ashore.fdo.errors import FdoError, InvalidMessageError, MessageBodyError, SignatureError
from ashore.fdo.kex import KexSuite, Shared
from ashore.fdo.kex_groups import PRIMES
from tests import fdo_kit as kit

SHARED = Shared(b"\x07" * 32, b"context")


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_the_derivation_is_that_of_sp_800_108(suite: CipherSuite) -> None:
    keys = kex.derive(suite, SHARED, SvkLength.GO)
    size = len(keys.sek) + len(keys.svk)
    fixed = b"FIDO-KDF\x00AutomaticOnboardTunnelcontext" + (size * 8).to_bytes(2, "big")
    algorithm = hashes.SHA256() if suite.facts.prf == "sha256" else hashes.SHA384()
    oracle = KBKDFHMAC(algorithm, Mode.CounterMode, size, 1, 2, CounterLocation.BeforeFixed, None, None, fixed)
    assert oracle.derive(SHARED.secret) == keys.sek + keys.svk


@pytest.mark.parametrize("suite", [CipherSuite.COSEAES128CTR, CipherSuite.COSEAES256CBC])
def test_the_two_lengths_of_the_mac_key_give_keys_that_differ(suite: CipherSuite) -> None:
    go, java = (kex.derive(suite, SHARED, length) for length in SvkLength)
    assert len(java.svk) == 2 * len(go.svk)
    assert go.sek != java.sek


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_an_altered_message_is_never_decrypted(suite: CipherSuite) -> None:
    keys = kex.derive(suite, SHARED, SvkLength.GO)
    body = keys.encrypt(b"\x80", os.urandom(keys.iv_size))
    assert keys.decrypt(body) == b"\x80"
    for position in range(len(body)):
        altered = bytearray(body)
        altered[position] ^= 1
        with pytest.raises((SignatureError, MessageBodyError)):
            keys.decrypt(bytes(altered))


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_a_message_that_is_cut_or_has_more_behind_it_is_never_decrypted(suite: CipherSuite) -> None:
    keys = kex.derive(suite, SHARED, SvkLength.GO)
    body = keys.encrypt(b"\x80", os.urandom(keys.iv_size))
    for wrong in [*(body[:size] for size in range(len(body))), body + b"\x00"]:
        with pytest.raises((SignatureError, MessageBodyError)):
            keys.decrypt(wrong)


def test_a_header_with_more_in_it_than_the_vector_is_read() -> None:
    keys = kex.derive(CipherSuite.A128GCM, SHARED, SvkLength.GO)
    tag = cbor.loads(keys.encrypt(b"\x80", bytes(12)))
    protected, unprotected, ciphertext = tag.value
    assert keys.decrypt(cbor.dumps(cbor.Tag(16, [protected, {**unprotected, 6: b"more"}, ciphertext]))) == b"\x80"


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("other", list(CipherSuite))
def test_a_message_of_another_suite_is_refused(suite: CipherSuite, other: CipherSuite) -> None:
    if suite is other:
        return
    keys, others = (kex.derive(which, SHARED, SvkLength.GO) for which in (suite, other))
    with pytest.raises(SignatureError):
        keys.decrypt(others.encrypt(b"\x80", os.urandom(others.iv_size)))


def test_session_keys_do_not_show_themselves() -> None:
    keys = SessionKeys(CipherSuite.A128GCM, b"secret-secret-se", b"")
    assert "secret" not in repr(keys)


@given(st.binary(max_size=300))
def test_a_hostile_parameter_is_an_error_and_not_a_crash(parameter: bytes) -> None:
    signer = kit.signer("owner 0", "rsa2048")
    for suite in (KexSuite.ECDH256, KexSuite.ECDH384, KexSuite.ASYMKEX2048):
        _, secret = kex.owner_start(suite, kit.ENTROPY)
        with pytest.raises(FdoError):
            kex.owner_finish(suite, secret, parameter, signer)
    _, secret = kex.owner_start(KexSuite.DHKEXID14, kit.ENTROPY)
    # Almost any number is a member of the group; those that are not must be told so.
    with contextlib.suppress(FdoError):
        assert len(kex.owner_finish(KexSuite.DHKEXID14, secret, parameter, signer).secret) == 256


def test_trivial_diffie_hellman_values_are_refused() -> None:
    modulus = PRIMES[2048]
    _, secret = kex.owner_start(KexSuite.DHKEXID14, kit.ENTROPY)
    for value in (0, 1, modulus - 1, modulus, modulus + 2):
        public = value.to_bytes(257, "big")
        with pytest.raises(InvalidMessageError):
            kex.owner_finish(KexSuite.DHKEXID14, secret, public, kit.signer("owner 0", "rsa2048"))


def test_the_owners_random_never_begins_with_zero() -> None:
    """The C client would trim it and derive other keys."""

    class Zeros:
        def __init__(self) -> None:
            self.calls = 0

        def random(self, size: int) -> bytes:
            self.calls += 1
            return bytes(size) if self.calls < 3 else b"\x01" * size

        def ec_key(self, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
            return ec.generate_private_key(curve)

    xa, secret = kex.owner_start(KexSuite.ECDH256, Zeros())
    assert secret.random[0] == 1
    assert len(xa) == 86


def test_the_primes_are_those_of_rfc_3526() -> None:
    for bits, prime in PRIMES.items():
        assert prime.bit_length() == bits
        assert pow(2, (prime - 1) // 2, prime) == 1
        assert f"{prime:X}".startswith("FFFFFFFFFFFFFFFFC90FDAA22168C234")

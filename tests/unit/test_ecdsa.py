"""Both ways to ECDSA: each reads what the other wrote, and both refuse the same."""

from itertools import product

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from ashore import ecdsa

CURVES = (ec.SECP256R1(), ec.SECP384R1())
KEYS = {curve.name: ec.generate_private_key(curve) for curve in CURVES}
ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}
WAYS = (False, True)

pytestmark = pytest.mark.skipif(not ecdsa.FAST, reason="there is no wheel of awscrt for this machine")


@pytest.mark.parametrize(("curve", "signs", "reads"), list(product(KEYS, WAYS, WAYS)))
def test_what_one_signs_the_other_verifies(curve: str, signs: bool, reads: bool) -> None:
    key = KEYS[curve]
    signature = ecdsa.signer(key, fast=signs)(b"what is signed")
    assert ecdsa.verifies(key.public_key(), signature, b"what is signed", fast=reads)
    assert not ecdsa.verifies(key.public_key(), signature, b"something else", fast=reads)
    stranger = ec.generate_private_key(key.curve).public_key()
    assert not ecdsa.verifies(stranger, signature, b"what is signed", fast=reads)


@pytest.mark.parametrize(("curve", "fast"), list(product(KEYS, WAYS)))
def test_numbers_that_no_signature_has_verify_nothing(curve: str, fast: bool) -> None:
    order = ORDERS[curve]
    odd = (0, 1, order, order + 1, (1 << order.bit_length()) - 1)
    for r, s in product(odd, odd):
        assert not ecdsa.verifies(KEYS[curve].public_key(), encode_dss_signature(r, s), b"data", fast=fast)


@given(st.sampled_from(sorted(KEYS)), st.binary(max_size=120))
def test_no_bytes_of_a_stranger_verify_or_crash(curve: str, signature: bytes) -> None:
    for fast in WAYS:
        assert not ecdsa.verifies(KEYS[curve].public_key(), signature, b"data", fast=fast)


@given(st.sampled_from(sorted(KEYS)), st.binary(max_size=300), st.integers(0, 10_000), st.integers(1, 255))
def test_both_judge_a_damaged_signature_alike(curve: str, data: bytes, place: int, change: int) -> None:
    key = KEYS[curve]
    signature = bytearray(ecdsa.signer(key)(data))
    signature[place % len(signature)] ^= change
    verdicts = {ecdsa.verifies(key.public_key(), bytes(signature), data, fast=fast) for fast in WAYS}
    assert verdicts == {False}

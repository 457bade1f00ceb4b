"""Sign1 and COSE_Key, with the sloppiness of real clients."""

import pytest

from ashore import cbor, cose
from tests import fdo_kit as kit


@pytest.mark.parametrize("kind", kit.KINDS)
def test_a_signature_verifies_and_an_altered_payload_does_not(kind: str) -> None:
    signer = kit.signer("owner 0", kind)
    signed = cose.Sign1.of(cbor.loads(cose.sign1(signer, b"payload").encode()))
    signed.verify(signer.public_key)
    with pytest.raises(cose.CoseError):
        cose.Sign1(signed.protected, {}, b"Payload", signed.signature).verify(signer.public_key)


@pytest.mark.parametrize("kind", ["p256", "p384"])
def test_a_signature_without_its_leading_zeros_is_accepted(kind: str) -> None:
    """The C client drops them from r and from s: about one signature in a hundred."""
    signer = kit.signer("owner 0", kind)
    width = 32 if kind == "p256" else 48
    found = set()
    for number in range(5000):
        signed = cose.sign1(signer, b"%d" % number)
        r, s = signed.signature[:width], signed.signature[width:]
        if r[0] and s[0]:
            continue
        short = cose.Sign1(signed.protected, {}, signed.payload, r.lstrip(b"\0") + s.lstrip(b"\0"))
        short.verify(signer.public_key)
        with pytest.raises(cose.CoseError):
            cose.Sign1(short.protected, {}, b"other", short.signature).verify(signer.public_key)
        found.add("r" if not r[0] else "s")
        if found == {"r", "s"}:
            return
    pytest.fail("no short signature came up")


@pytest.mark.parametrize("size", [0, 1, 59, 65, 96, 1000])
def test_a_signature_of_a_wrong_length_is_refused_and_not_a_crash(size: int) -> None:
    signer = kit.signer("owner 0", "p256")
    signed = cose.sign1(signer, b"payload")
    with pytest.raises(cose.CoseError, match="64 bytes"):
        cose.Sign1(signed.protected, {}, b"payload", b"\x01" * size).verify(signer.public_key)


def test_an_algorithm_that_does_not_suit_the_key_is_refused() -> None:
    weak, strong = kit.signer("owner 0", "p256"), kit.signer("owner 0", "p384")
    with pytest.raises(cose.CoseError, match="does not suit"):
        cose.sign1(weak, b"payload").verify(strong.public_key)


@pytest.mark.parametrize("value", [[], "x", cbor.Tag(17, [b"", {}, b"", b""]), cbor.Tag(18, [b"", {}, None, b""])])
def test_what_is_no_sign1_is_refused(value: object) -> None:
    with pytest.raises(cose.CoseError):
        cose.Sign1.of(value)


@pytest.mark.parametrize("kind", kit.KINDS)
def test_a_cose_key_comes_back(kind: str) -> None:
    key = kit.signer("owner 0", kind).public_key
    assert cose.decode_key(cbor.loads(cbor.dumps(cose.encode_key(key)))) == key


def test_a_cose_key_with_a_short_coordinate_is_read() -> None:
    """The Go library writes coordinates without their leading zeros."""
    while True:
        key = kit.private_key("p256").public_key()
        labels = cose.encode_key(key)
        x, y = labels[-2], labels[-3]
        if not x[0] or not y[0]:
            break
    short = labels | {-2: x.lstrip(b"\0"), -3: y.lstrip(b"\0")}
    assert cose.decode_key(short) == key


def test_a_cose_key_without_its_type_is_read() -> None:
    labels = cose.encode_key(kit.signer("owner 0", "p384").public_key)
    del labels[1]
    assert cose.decode_key(labels) == kit.signer("owner 0", "p384").public_key


@pytest.mark.parametrize("labels", [{}, {1: 2, -1: 1, -2: b"\x01" * 32, -3: b"\x01" * 32}, {1: 4, -1: b"k"}, [1]])
def test_what_is_no_key_is_refused(labels: object) -> None:
    with pytest.raises(cose.CoseError):
        cose.decode_key(labels)

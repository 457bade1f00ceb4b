"""The encrypted messages of TO2 (FDO 1.1, section 4.4) and the keys that they use.

AES-GCM and AES-CCM make one COSE_Encrypt0. AES-CTR and AES-CBC make a COSE_Encrypt0 inside a COSE_Mac0
(encrypt-then-MAC); the two big implementations disagree about the length of that MAC key, hence `SvkLength`.
"""

from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from ashore import cbor, cose
from ashore.fdo.errors import MessageBodyError, SignatureError
from ashore.fdo.types import HashType, mac

IV: Final = 5
"""Header label of the initialisation vector."""
_BLOCK_BITS: Final = 128


class SvkLength(StrEnum):
    """How long the MAC key of a CTR or CBC suite is; peers that differ cannot talk in those suites."""

    GO = "go"
    """16 and 32 bytes: go-fdo."""
    JAVA = "java"
    """32 and 64 bytes: pri-fidoiot."""


class CipherSuite(IntEnum):
    """`CipherSuiteId` (section 4.4), from the COSE registry or FDO's private range."""

    A128GCM = 1
    A192GCM = 2
    A256GCM = 3
    AES_CCM_16_128_128 = 30
    AES_CCM_16_128_256 = 31
    AES_CCM_64_128_128 = 32
    AES_CCM_64_128_256 = 33
    COSEAES128CBC = -17760703
    COSEAES128CTR = -17760704
    COSEAES256CBC = -17760705
    COSEAES256CTR = -17760706

    @property
    def facts(self) -> "Facts":
        """Key sizes and algorithms of the suite."""
        return _FACTS[self]


class Facts(NamedTuple):
    """What a suite consists of; sizes in bytes."""

    mode: str
    key: int
    iv: int
    inner: int
    """The COSE algorithm that stands in the Encrypt0."""
    prf: str = "sha256"
    """The hash of the key derivation (section 3.6.4)."""
    mac: HashType | None = None


_FACTS: Final = {
    CipherSuite.A128GCM: Facts("gcm", 16, 12, 1),
    CipherSuite.A192GCM: Facts("gcm", 24, 12, 2),
    CipherSuite.A256GCM: Facts("gcm", 32, 12, 3),
    CipherSuite.AES_CCM_16_128_128: Facts("ccm", 16, 13, 30),
    CipherSuite.AES_CCM_16_128_256: Facts("ccm", 32, 13, 31),
    CipherSuite.AES_CCM_64_128_128: Facts("ccm", 16, 7, 32),
    CipherSuite.AES_CCM_64_128_256: Facts("ccm", 32, 7, 33),
    CipherSuite.COSEAES128CBC: Facts("cbc", 16, 16, -65531, "sha256", HashType.HMAC_SHA256),
    CipherSuite.COSEAES128CTR: Facts("ctr", 16, 16, -65534, "sha256", HashType.HMAC_SHA256),
    CipherSuite.COSEAES256CBC: Facts("cbc", 32, 16, -65529, "sha384", HashType.HMAC_SHA384),
    CipherSuite.COSEAES256CTR: Facts("ctr", 32, 16, -65532, "sha384", HashType.HMAC_SHA384),
}
_PROTECTED: Final = {suite: cbor.dumps({cose.ALGORITHM: facts.inner}) for suite, facts in _FACTS.items()}
_MAC_PROTECTED: Final = {
    kind: cbor.dumps({cose.ALGORITHM: int(kind)}) for kind in (HashType.HMAC_SHA256, HashType.HMAC_SHA384)
}
_AAD: Final = {
    suite: b"\x83" + cbor.dumps("Encrypt0") + cbor.dumps(protected) + b"\x40" for suite, protected in _PROTECTED.items()
}
"""Enc_structure of RFC 9052, section 5.3, with empty external data."""
_HEAD: Final = {
    suite: b"\xd0\x83" + cbor.dumps(protected) + b"\xa1\x05" + bytes([0x40 + suite.facts.iv])
    for suite, protected in _PROTECTED.items()
}
"""A COSE_Encrypt0 up to its initialisation vector: tag 16, an array of three, a map of one."""
_MAC0: Final = cbor.dumps("MAC0")


def svk_size(suite: CipherSuite, length: SvkLength) -> int:
    """Bytes of the MAC key, 0 for the authenticated ciphers."""
    facts = suite.facts
    if facts.mac is None:
        return 0
    return facts.key if length is SvkLength.GO else 2 * facts.key


class SessionKeys:
    """The keys of one TO2 session, ready for use. Never logged: `repr` shows the suite alone."""

    __slots__ = ("_aad", "_aead", "_facts", "_head", "iv_size", "sek", "suite", "svk")

    def __init__(self, suite: CipherSuite, sek: bytes, svk: bytes = b"") -> None:
        self.suite = suite
        self.sek = sek
        self.svk = svk
        self._facts = suite.facts
        self.iv_size = self._facts.iv
        """Bytes of the fresh initialisation vector that `encrypt` needs."""
        self._aad = _AAD[suite]
        self._head = _HEAD[suite]
        match self._facts.mode:
            case "gcm":
                self._aead: AESGCM | AESCCM = AESGCM(sek)
            case "ccm":
                self._aead = AESCCM(sek, tag_length=16)

    def __repr__(self) -> str:
        return f"SessionKeys({self.suite.name})"

    def encrypt(self, plaintext: bytes, iv: bytes) -> bytes:
        """One encrypted message body; `iv` must never be used twice in a session."""
        kind = self._facts.mac
        if kind is None:
            return self._head + iv + cbor.dumps(self._aead.encrypt(iv, plaintext, self._aad))
        inner = cbor.dumps([b"", {cose.ALGORITHM: self._facts.inner, IV: iv}, self._plain_encrypt(plaintext, iv)])
        protected = _MAC_PROTECTED[kind]
        tag = mac(kind, self.svk, _mac0_structure(protected, inner)).value
        return cbor.dumps(cbor.Tag(cbor.COSE_MAC0, [protected, {}, inner, tag]))

    def decrypt(self, body: bytes) -> bytes:
        """The plaintext; raise SignatureError unless this session's peer encrypted it, MessageBodyError for junk."""
        try:
            return self._open_aead(body) if self._facts.mac is None else self._open_mac(body, self._facts.mac)
        except cbor.CborError as error:
            raise MessageBodyError(f"the encrypted message is not CBOR as FDO demands it: {error}") from error

    def _open_mac(self, body: bytes, kind: HashType) -> bytes:
        match cbor.loads(body):
            case cbor.Tag(tag=cbor.COSE_MAC0, value=(bytes(protected), _, bytes(inner), bytes(tag))) if (
                protected == _MAC_PROTECTED[kind]
                and mac(kind, self.svk, _mac0_structure(protected, inner)).matches_value(tag)
            ):
                return self._open_inner(inner)
        raise SignatureError("the encrypted message does not authenticate")

    def _open_aead(self, body: bytes) -> bytes:
        match cbor.loads(body):
            case cbor.Tag(tag=cbor.COSE_ENCRYPT0, value=(bytes(protected), {5: bytes(iv)}, bytes(ciphertext))) if (
                protected == _PROTECTED[self.suite] and len(iv) == self.iv_size
            ):
                try:
                    return self._aead.decrypt(iv, ciphertext, self._aad)
                except InvalidTag as error:
                    raise SignatureError("the encrypted message does not authenticate") from error
        raise SignatureError(f"the message is not encrypted with {self.suite.name}")

    def _open_inner(self, inner: bytes) -> bytes:
        match cbor.loads(inner):
            # The specification wants the algorithm in the protected bucket, go-fdo writes it into the other.
            case [bytes(protected), {5: bytes(iv), **others}, bytes(ciphertext)] if len(iv) == self.iv_size and (
                others.get(cose.ALGORITHM) == self._facts.inner or protected == _PROTECTED[self.suite]
            ):
                return self._plain_decrypt(ciphertext, iv)
        raise SignatureError("the MAC is right, but what it covers is not a COSE_Encrypt0")

    def _cipher(self, iv: bytes) -> Cipher[modes.CTR | modes.CBC]:
        mode = modes.CTR(iv) if self._facts.mode == "ctr" else modes.CBC(iv)
        return Cipher(algorithms.AES(self.sek), mode)

    def _plain_encrypt(self, plaintext: bytes, iv: bytes) -> bytes:
        if self._facts.mode == "cbc":
            padder = PKCS7(_BLOCK_BITS).padder()
            plaintext = padder.update(plaintext) + padder.finalize()
        encryptor = self._cipher(iv).encryptor()
        return encryptor.update(plaintext) + encryptor.finalize()

    def _plain_decrypt(self, ciphertext: bytes, iv: bytes) -> bytes:
        decryptor = self._cipher(iv).decryptor()
        try:
            plaintext = decryptor.update(ciphertext) + decryptor.finalize()
            if self._facts.mode == "cbc":
                unpadder = PKCS7(_BLOCK_BITS).unpadder()
                plaintext = unpadder.update(plaintext) + unpadder.finalize()
        except ValueError as error:
            # The MAC was right, so this is a faulty peer and no padding oracle.
            raise SignatureError("the padding of the encrypted message is wrong") from error
        return plaintext


def _mac0_structure(protected: bytes, payload: bytes) -> bytes:
    """MAC_structure of RFC 9052, section 6.3, with empty external data."""
    return b"\x84" + _MAC0 + cbor.dumps(protected) + b"\x40" + cbor.dumps(payload)

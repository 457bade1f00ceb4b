"""Every message of FDO 1.1 (sections 5.1 to 5.5), as facts: its number, what it may follow, whether it is encrypted.

`admit` is the one guard: it compares a message's facts with the state of the session, for all protocols and both
sides. The state of a session is the number of the last message that was exchanged in it, 0 before the first.
"""

from typing import Final

from ashore import cbor
from ashore.cose import Sign1
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.codec import Message, Signed
from ashore.fdo.errors import OrderError
from ashore.fdo.kex import KexSuite
from ashore.fdo.types import Guid, Hash, Nonce, SigInfo, Uint8, Uint16, Uint32

START: Final = 0
"""The state before the first message of a session."""
DEFAULT_SERVICE_INFO_SIZE: Final = 1300
"""Bytes of service info in one message where a side names no size (sections 5.5.8 and 5.5.9)."""


# DI: device initialisation (section 5.2).


class AppStart(Message):
    """DI.AppStart: the device introduces itself; the content is the manufacturer's own affair."""

    number = 10
    after = (START,)
    info: bytes


class SetCredentials(Message):
    """DI.SetCredentials: the header of the new ownership voucher."""

    number = 11
    after = (10,)
    header: bytes


class SetHmac(Message):
    """DI.SetHMAC: the device's HMAC over the header, under a secret that never leaves it."""

    number = 12
    after = (11,)
    hmac: Hash


class DiDone(Message):
    """DI.Done: the voucher is stored."""

    number = 13
    after = (12,)


# TO0: the owner registers with the rendezvous (section 5.3).


class To0Hello(Message):
    """TO0.Hello."""

    number = 20
    after = (START,)


class HelloAck(Message):
    """TO0.HelloAck."""

    number = 21
    after = (20,)
    nonce: Nonce


class OwnerSign(Message):
    """TO0.OwnerSign: voucher and nonce in `to0d`, the addresses signed in `to1d`."""

    number = 22
    after = (21,)
    to0d: bytes
    to1d: Sign1

    def encode(self) -> bytes:
        """The plain body."""
        return cbor.dumps([self.to0d, self.to1d.item()])


class AcceptOwner(Message):
    """TO0.AcceptOwner: for how long the registration holds."""

    number = 23
    after = (22,)
    wait_seconds: Uint32


# TO1: the device asks where its owner is (section 5.4).


class HelloRV(Message):
    """TO1.HelloRV."""

    number = 30
    after = (START,)
    guid: Guid
    sig_info: SigInfo


class HelloRVAck(Message):
    """TO1.HelloRVAck."""

    number = 31
    after = (30,)
    nonce: Nonce
    sig_info: SigInfo


class ProveToRV(Signed):
    """TO1.ProveToRV: an EAT, signed by the device."""

    number = 32
    after = (31,)


class RVRedirect(Signed):
    """TO1.RVRedirect: `to1d` as the owner signed it."""

    number = 33
    after = (32,)


# TO2: device and owner (section 5.5).


class HelloDevice(Message):
    """TO2.HelloDevice."""

    number = 60
    after = (START,)
    max_message_size: Uint16
    guid: Guid
    nonce: Nonce
    kex_suite: KexSuite
    cipher_suite: CipherSuite
    sig_info: SigInfo


class ProveOVHdr(Signed):
    """TO2.ProveOVHdr: the voucher's header, signed by the owner."""

    number = 61
    after = (60,)


class GetOVNextEntry(Message):
    """TO2.GetOVNextEntry."""

    number = 62
    after = (61, 63)
    entry: Uint8


class OVNextEntry(Message):
    """TO2.OVNextEntry."""

    number = 63
    after = (62,)
    entry: Uint8
    sign1: Sign1

    def encode(self) -> bytes:
        """The plain body."""
        return cbor.dumps([self.entry, self.sign1.item()])


class ProveDevice(Signed):
    """TO2.ProveDevice: an EAT with the device's half of the key exchange. Plain: the owner has no keys yet."""

    number = 64
    after = (61, 63)


class SetupDevice(Signed):
    """TO2.SetupDevice: the new credential, signed by the new owner."""

    number = 65
    after = (64,)
    encrypted = True


class DeviceServiceInfoReady(Message):
    """TO2.DeviceServiceInfoReady: the HMAC of the new voucher; null where the credential is reused."""

    number = 66
    after = (65,)
    encrypted = True
    hmac: Hash | None
    max_size: Uint16 | None


class OwnerServiceInfoReady(Message):
    """TO2.OwnerServiceInfoReady."""

    number = 67
    after = (66,)
    encrypted = True
    max_size: Uint16 | None


class DeviceServiceInfo(Message):
    """TO2.DeviceServiceInfo."""

    number = 68
    after = (67, 69)
    encrypted = True
    is_more: bool
    items: list[tuple[str, bytes]]


class OwnerServiceInfo(Message):
    """TO2.OwnerServiceInfo."""

    number = 69
    after = (68,)
    encrypted = True
    is_more: bool
    is_done: bool
    items: list[tuple[str, bytes]]


class Done(Message):
    """TO2.Done: the nonce of message 61 comes back."""

    number = 70
    after = (69,)
    encrypted = True
    nonce: Nonce


class Done2(Message):
    """TO2.Done2: the nonce of message 64 comes back. The device may now forget its old credential."""

    number = 71
    after = (70,)
    encrypted = True
    nonce: Nonce


class ErrorMessage(Message):
    """Error (section 5.1.1): lawful at any time, never encrypted, ends the session."""

    number = 255
    after = ()
    code: Uint16
    previous: Uint8
    text: str
    timestamp: int | None
    """A plain integer, seconds: the Go client takes no tag and no null. Whatever a peer sends is tolerated."""
    correlation: Uint32 | None = None


MESSAGES: Final[dict[int, type[Message]]] = {
    message.number: message
    for base in (Message, Signed)
    for message in base.__subclasses__()
    if hasattr(message, "number")
}
"""Number to class."""


def admit(state: int, message: type[Message], *, encrypted: bool) -> None:
    """The guard: raise OrderError unless this message may come now, in this form."""
    if state not in message.after:
        expected = sorted(other.number for other in MESSAGES.values() if state in other.after)
        where = f"after message {state}" if state else "at the start of a session"
        raise OrderError(f"message {message.number} cannot come {where}; expected {expected or 'nothing more'}")
    if encrypted != message.encrypted:
        raise OrderError(f"message {message.number} must {'' if message.encrypted else 'not '}be encrypted")


def is_encrypted(body: bytes) -> bool:
    """Whether a body is an encrypted message: COSE_Encrypt0 (tag 16) or COSE_Mac0 (tag 17)."""
    return body[:1] in (b"\xd0", b"\xd1")

"""DI, device initialisation: the device gets its first credential, the manufacturer its voucher (FDO 1.1, section 5.2).

AppStart(10) -> SetCredentials(11) -> SetHMAC(12) -> Done(13).
"""

from typing import Annotated, NamedTuple

import msgspec

from ashore import cbor
from ashore.cose import PublicKey as Key
from ashore.fdo.codec import convert, plain
from ashore.fdo.credential import Credential
from ashore.fdo.errors import InvalidMessageError, MessageBodyError
from ashore.fdo.messages import AppStart, DiDone, SetCredentials, SetHmac
from ashore.fdo.rvinfo import RvInfo
from ashore.fdo.types import (
    PROTOCOL_VERSION,
    Hash,
    HashType,
    KeyEncoding,
    KeyType,
    PublicKey,
    digest,
    hmac_type,
    mac,
    strength,
)
from ashore.fdo.voucher import Voucher, VoucherHeader

Text = Annotated[str, msgspec.Meta(max_length=255)]


class ManufacturingInfo(msgspec.Struct, array_like=True, frozen=True):
    """What a device says of itself in AppStart: the form that the Go, Java and C stacks share.

    Some C builds send up to four items more; they are ignored, and identity is tied to none of them.
    """

    key_type: KeyType
    encoding: KeyEncoding
    serial: Text
    device_info: Text
    csr: bytes
    """PKCS#10, DER."""


class DiSession(NamedTuple):
    """What the manufacturer keeps between SetCredentials and SetHMAC."""

    header_bytes: bytes
    header: VoucherHeader
    chain: tuple[bytes, ...]
    serial: str


# The manufacturer's side.


def read_info(message: AppStart) -> ManufacturingInfo:
    """AppStart(10): who the device is."""
    try:
        return convert(cbor.loads(message.info), ManufacturingInfo)
    except cbor.CborError as error:
        raise MessageBodyError(f"the manufacturing info cannot be read: {error}") from error


def set_credentials(
    info: ManufacturingInfo,
    guid: bytes,
    rv_info: RvInfo,
    manufacturer: PublicKey,
    chain: tuple[bytes, ...],
    device: Key,
) -> tuple[DiSession, SetCredentials]:
    """AppStart(10) -> SetCredentials(11): the header of the device's voucher."""
    kind = strength(device, manufacturer.key())
    device_info = info.device_info or info.serial
    header = VoucherHeader(PROTOCOL_VERSION, guid, rv_info, device_info, manufacturer, digest(kind, *chain))
    encoded = header.encode()
    return DiSession(encoded, header, chain, info.serial), SetCredentials(encoded)


def done(session: DiSession, message: SetHmac) -> tuple[Voucher, DiDone]:
    """SetHMAC(12) -> Done(13): the voucher is complete."""
    if message.hmac.type < 0:
        raise InvalidMessageError("the device sent a hash in place of an HMAC")
    return Voucher(session.header_bytes, session.header, message.hmac, session.chain), DiDone()


# The device's side.


def app_start(info: ManufacturingInfo) -> AppStart:
    """AppStart(10)."""
    return AppStart(cbor.dumps(plain(info)))


def set_hmac(message: SetCredentials, device: Key, secret: bytes) -> tuple[Credential, SetHmac]:
    """SetCredentials(11) -> SetHMAC(12): the device's credential, to be kept once 13 has come."""
    header = read_header(message.header)
    kind = strength(device, header.public_key.key())
    credential = Credential(
        device_info=header.device_info,
        guid=header.guid,
        rv_info=header.rv_info,
        public_key_hash=digest(kind, header.public_key.encode()),
        hmac_secret=secret,
    )
    return credential, SetHmac(header_hmac(kind, secret, message.header))


def read_header(header: bytes) -> VoucherHeader:
    """A voucher header as a device receives it."""
    try:
        parsed = convert(cbor.loads(header), VoucherHeader)
    except cbor.CborError as error:
        raise MessageBodyError(f"the voucher header cannot be read: {error}") from error
    if parsed.version != PROTOCOL_VERSION:
        raise InvalidMessageError(f"the voucher header is of protocol version {parsed.version}, not {PROTOCOL_VERSION}")
    return parsed


def header_hmac(kind: HashType, secret: bytes, header: bytes) -> Hash:
    """The HMAC over a voucher header (section 3.4.2)."""
    return mac(hmac_type(kind), secret, header)

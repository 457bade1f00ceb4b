"""Vouchers in a file, looked into without any service."""

from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509

from ashore import cose
from ashore.certificates import serial_number
from ashore.fdo import rvinfo
from ashore.fdo import voucher as vouchers
from ashore.fdo.errors import FdoError
from ashore.fdo.types import fingerprint
from ashore.fdo.voucher import Voucher
from ashore_cli.errors import REFUSED, CommandError
from ashore_cli.options import Options
from ashore_cli.output import form, show_data, show_one

_NAMES: Final = {x509.NameOID.SERIAL_NUMBER: "serialNumber"}
"""RFC 4514 has no short name for what devices are known by."""


class DeviceCertificate(msgspec.Struct, kw_only=True):
    """One certificate of the device's chain."""

    subject: str
    issuer: str
    not_after: datetime


class Inspection(msgspec.Struct, kw_only=True):
    """What a voucher says, and whether it holds."""

    guid: str
    serial: str
    """What the device's certificate names; empty where it names none."""
    device_info: str
    verified: bool
    reason: str
    """Why it does not hold."""
    key_type: str
    key_encoding: str
    owners: list[str]
    """Fingerprints: the manufacturer's first, the present owner's last."""
    rendezvous: list[str]
    device_key: str
    certificates: list[DeviceCertificate]
    digest: str


def inspect_vouchers(name: str, content: bytes, options: Options) -> int:
    """Show all vouchers of a file; the answer is the exit code, 1 where one does not hold."""
    try:
        found = [inspection(voucher) for voucher in vouchers.read(content)]
    except FdoError as error:
        raise CommandError(f"{name}: {error.reason}", remedy="give vouchers as PEM or CBOR") from error
    if form(options) != "table":
        show_data(found, options)
    else:
        for number, one in enumerate(found):
            if number:
                print()
            show_one(one, _lines(one), options)
    return 0 if all(one.verified for one in found) else REFUSED


def inspection(voucher: Voucher) -> Inspection:
    """One voucher; raise FdoError where it cannot even be read."""
    reason = _why_not(voucher)
    keys = [voucher.header.public_key, *(voucher.payload(index).public_key for index in range(len(voucher.entries)))]
    return Inspection(
        guid=voucher.guid.hex(),
        serial=serial_number(voucher.chain[0]) if voucher.chain else "",
        device_info=voucher.header.device_info,
        verified=not reason,
        reason=reason,
        key_type=voucher.header.public_key.type.name,
        key_encoding=voucher.header.public_key.encoding.name,
        owners=[fingerprint(key.key()) for key in keys],
        rendezvous=[url for one in rvinfo.decode(voucher.header.rv_info) for url in one.urls()],
        device_key=fingerprint(voucher.device_key),
        certificates=[_certificate(der) for der in voucher.chain],
        digest=voucher.digest,
    )


def _why_not(voucher: Voucher) -> str:
    try:
        vouchers.verify(voucher)
    except (FdoError, cose.CoseError) as error:
        return error.reason if isinstance(error, FdoError) else str(error)
    return ""


def _certificate(der: bytes) -> DeviceCertificate:
    certificate = x509.load_der_x509_certificate(der)
    return DeviceCertificate(
        subject=certificate.subject.rfc4514_string(_NAMES),
        issuer=certificate.issuer.rfc4514_string(_NAMES),
        not_after=certificate.not_valid_after_utc,
    )


def _lines(one: Inspection) -> list[tuple[str, object]]:
    last = len(one.owners) - 1
    roles = ["manufacturer", *("owner" for _ in one.owners[1:])]
    owners = [
        f"{key}  {role}{' now' if number == last else ''}"
        for number, (key, role) in enumerate(zip(one.owners, roles, strict=True))
    ]
    return [
        ("GUID", one.guid),
        ("serial", one.serial),
        ("device", one.device_info),
        ("verdict", "every signature and hash holds" if one.verified else f"not valid: {one.reason}"),
        ("key", f"{one.key_type}, {one.key_encoding}"),
        ("owners", owners),
        ("rendezvous", one.rendezvous),
        ("device key", one.device_key),
        ("certificates", [f"{each.subject}, until {each.not_after:%Y-%m-%d}" for each in one.certificates]),
        ("digest", one.digest),
    ]

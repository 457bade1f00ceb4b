"""Device initialisation (DI): the device gets its first credential from its manufacturer (FDO 1.1, section 5.2).

The key is made here and never leaves the device. Killed at any message, the device may simply be initialised again: the
same key is used, and the credential that the manufacturer may already have stored stays a candidate until a later run
is confirmed.
"""

import asyncio
import os
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ashore import cose
from ashore.fdo import di
from ashore.fdo.errors import FdoError
from ashore.fdo.messages import DiDone, SetCredentials
from ashore.fdo.types import KeyEncoding, key_types
from ashore.keys import KeyKind
from ashore_device.credential_file import CredentialFile, Record
from ashore_device.dialogue import dialogue
from ashore_device.errors import InitialisationError, StateError, TransportError, describe
from ashore_device.identity import identify
from ashore_device.progress import Progress, Report, ignore
from ashore_device.transport import Transport

SECRET_SIZE: Final = 32
"""Bytes of the HMAC secret, for either strength, as the Go client has it."""
_LONGEST_TEXT: Final = 255
_LONGEST_NAME: Final = 64
_ENCODINGS: Final = {"x509": KeyEncoding.X509, "x5chain": KeyEncoding.X5CHAIN, "cose": KeyEncoding.COSEKEY}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the device shall become. Without serial and device info it says what its firmware says."""

    kind: KeyKind = "p256"
    encoding: str = "x509"
    """How the manufacturer shall encode its key: x509, x5chain or cose."""
    serial: str | None = None
    device_info: str | None = None

    def key_encoding(self) -> KeyEncoding:
        """The encoding's number; raise StateError for a name that is none."""
        try:
            return _ENCODINGS[self.encoding]
        except KeyError:
            raise StateError(f"{self.encoding!r} is no encoding of keys: choose {', '.join(_ENCODINGS)}") from None


async def initialise(
    file: CredentialFile, transport: Transport, url: str, request: Request, report: Report = ignore
) -> Record:
    """AppStart(10) -> SetCredentials(11) -> SetHMAC(12) -> Done(13), and the credential is in the file.

    Raise StateError where the device has been initialised already, InitialisationError where it cannot be.
    """
    encoding = request.key_encoding()
    with file.locked():
        record = await _prepare(await asyncio.to_thread(file.load), request)
        about = Progress(kind="step", text="", serial=record.serial)
        report(msgspec.structs.replace(about, text=f"asking the manufacturer at {url}", url=url))
        try:
            async with dialogue(transport, url, about, report) as talk:
                signer = record.signer()
                reply = await talk.ask(di.app_start(_introduce(record, encoding, signer)), SetCredentials)
                credential, answer = di.set_hmac(reply, signer.public_key, os.urandom(SECRET_SIZE))
                await asyncio.to_thread(file.save, record.offered(credential))
                await talk.ask(answer, DiDone)
        except (FdoError, TransportError) as error:
            raise InitialisationError(f"device {record.serial} was not initialised: {describe(error)}") from error
        done = record.settled("initialised", credential)
        await asyncio.to_thread(file.save, done)
    report(msgspec.structs.replace(about, kind="done", text="initialised", guid=done.guid, url=url))
    return done


async def _prepare(record: Record | None, request: Request) -> Record:
    """Go on with the key of an attempt that broke off, or make one."""
    if record is not None and record.state != "initialising":
        raise StateError(
            f"device {record.serial} ({record.guid}) has been initialised already: onboard it, "
            "or remove its folder to begin anew"
        )
    identity = None if request.serial and request.device_info else await asyncio.to_thread(identify)
    serial = request.serial or (identity.serial if identity else "")
    device_info = request.device_info or (identity.device_info if identity else "")
    if max(len(serial), len(device_info)) > _LONGEST_TEXT:
        raise StateError(f"serial number and device info have at most {_LONGEST_TEXT} characters")
    if record is not None and _kind(record) == request.kind:
        return msgspec.structs.replace(record, serial=request.serial or record.serial, device_info=device_info)
    key = await asyncio.to_thread(generate, request.kind)
    encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Record(state="initialising", serial=serial, device_info=device_info, private_key=encoded, candidates=())


def generate(kind: KeyKind) -> cose.PrivateKey:
    """A fresh device key; RSA takes its time."""
    if kind == "p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65_537, int(kind.removeprefix("rsa")))


def _kind(record: Record) -> KeyKind:
    kinds: dict[int, KeyKind] = {
        cose.ES256: "p256",
        cose.ES384: "p384",
        cose.RS256: "rsa2048",
        cose.RS384: "rsa3072",
    }
    return kinds[record.signer().algorithm]


def _introduce(record: Record, encoding: KeyEncoding, signer: cose.KeySigner) -> di.ManufacturingInfo:
    kind = key_types(signer.public_key)[0]
    return di.ManufacturingInfo(kind, encoding, record.serial, record.device_info, signing_request(record))


def signing_request(record: Record) -> bytes:
    """PKCS#10 in DER: proof that the device has its key; the subject is decoration."""
    key = record.key()
    strong = record.signer().algorithm in (cose.ES384, cose.RS384)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, record.serial[:_LONGEST_NAME] or "device")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashes.SHA384() if strong else hashes.SHA256()).public_bytes(Encoding.DER)

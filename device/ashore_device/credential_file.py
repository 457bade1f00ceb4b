"""The device's memory: one JSON file of mode 0600 that is replaced as a whole.

The rule behind it: a device is never without a credential that its owner knows, wherever it is killed. The owner
replaces the voucher after Done(70) and before Done2(71) is sent, so there is a moment in which the device cannot know
which of two credentials is the right one. The file therefore holds *candidates*, the likeliest first:

- before SetHMAC(12) is sent the new credential is in the file (`initialising`); 13 makes it the only one.
- before Done(70) is sent the replacement stands in front of the credential that was just proven (`finishing`).
- after Done2(71) the replacement is the only one (`onboarded`): this message alone proves what the owner has.

Nothing else ever removes a candidate, but for a limit of eight: what was proven last is always kept. Who starts with
several candidates tries them all (`onboard`). All this is one `rename`, so a reader sees the old file or the new one.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from ashore import cose, files
from ashore.fdo.credential import Credential
from ashore_device.errors import BusyError, CredentialFileError

MAX_CANDIDATES: Final = 8
State = Literal["initialising", "initialised", "finishing", "onboarded"]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that the owner may know, and where that owner was met."""

    credential: Credential
    owner_url: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file. The private key is left out of `repr`."""

    state: State
    serial: str
    device_info: str
    private_key: bytes
    """PKCS8, DER."""
    candidates: tuple[Candidate, ...]
    """Never empty; the likeliest first."""
    format: int = 1

    def __repr__(self) -> str:
        return f"Record(state={self.state!r}, serial={self.serial!r}, guid={self.guid})"

    @property
    def guid(self) -> str:
        """The GUID of the likeliest credential, hex."""
        return self.candidates[0].credential.guid.hex()

    @property
    def confirmed(self) -> bool:
        """Whether it is certain which credential the owner knows."""
        return len(self.candidates) == 1

    def key(self) -> cose.PrivateKey:
        """The device's private key; raise CredentialFileError where it cannot be used."""
        try:
            key = load_der_private_key(self.private_key, password=None)
            if isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
                cose.algorithms(key.public_key())
                return key
            reason = "FDO has elliptic curve and RSA keys only"
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            reason = str(error)
        raise CredentialFileError(
            f"the private key of device {self.serial} cannot be used: {reason}; "
            "remove its folder and initialise it anew"
        )

    def signer(self) -> cose.KeySigner:
        """What signs for the device."""
        return cose.KeySigner(self.key())

    def offered(self, credential: Credential) -> "Record":
        """SetHMAC(12) is about to be sent: the manufacturer may know this credential from now on."""
        candidates = (Candidate(credential=credential), *self.candidates)[:MAX_CANDIDATES]
        return msgspec.structs.replace(self, state="initialising", candidates=candidates)

    def finishing(self, used: Candidate, replacement: Credential | None, owner_url: str) -> "Record":
        """Done(70) is about to be sent: the owner may know the replacement from now on."""
        proven = Candidate(credential=used.credential, owner_url=owner_url)
        if replacement is None:
            return self
        others = tuple(other for other in self.candidates if other.credential != used.credential)
        candidates = (Candidate(credential=replacement, owner_url=owner_url), proven, *others)[:MAX_CANDIDATES]
        return msgspec.structs.replace(self, state="finishing", candidates=candidates)

    def settled(self, state: State, credential: Credential, owner_url: str | None = None) -> "Record":
        """The peer has confirmed: this credential and no other."""
        candidate = Candidate(credential=credential, owner_url=owner_url)
        return msgspec.structs.replace(self, state=state, candidates=(candidate,))


class CredentialFile:
    """One device's file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Record | None:
        """The record, None where there is no file; raise CredentialFileError where it cannot be used."""
        try:
            record = msgspec.json.decode(files.read_private(self.path), type=Record)
        except FileNotFoundError:
            return None
        except (files.FilesError, OSError) as error:
            raise CredentialFileError(str(error)) from error
        except msgspec.MsgspecError as error:
            raise CredentialFileError(
                f"{self.path} is not a device credential: {error}; put back its copy, or initialise the device anew"
            ) from error
        if record.format != 1 or not record.candidates:
            raise CredentialFileError(f"{self.path} has format {record.format}: use the version that wrote it")
        return record

    def save(self, record: Record) -> None:
        """Replace the file: after a crash at any moment it holds the old record or this one."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}")
        try:
            files.private_directory(self.path.parent)
            _write(draft, msgspec.json.format(msgspec.json.encode(record), indent=1))
            draft.replace(self.path)
            _sync(self.path.parent)
        except (files.FilesError, OSError) as error:
            raise CredentialFileError(
                f"the credential of device {record.serial} cannot be kept in {self.path}: {error}; make room or "
                "correct the permissions, then start again"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes away from this device; raise BusyError where one is at it already."""
        try:
            files.private_directory(self.path.parent)
            # The lock has a file of its own, because the record's file is replaced.
            descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except (files.FilesError, OSError) as error:
            raise CredentialFileError(f"{self.path.parent} cannot be used: {error}") from error
        try:
            self._lock(descriptor)
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another process works with the device in {self.path.parent}; let it finish") from error

    def _sweep(self) -> None:
        """Remove drafts of processes that were killed while they wrote: there are keys in them."""
        for draft in self.path.parent.glob(f".{self.path.name}.*"):
            if draft.suffix != ".lock":
                draft.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, files.FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

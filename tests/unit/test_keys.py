import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ashore import cose
from ashore.certificates import CertificateError, serial_number
from ashore.keys import KINDS, FileKeyStore, KeyKind, KeysError

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WIDTHS = {"p256": 64, "p384": 96, "rsa2048": 256, "rsa3072": 384}


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    return FileKeyStore(tmp_path / "keys", lambda: NOW)


def request_for(key: cose.PrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the device's own idea")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_once_and_signs_in_the_form_of_cose(tmp_path: Path, kind: KeyKind) -> None:
    first = FileKeyStore(tmp_path).signer("owner", kind)
    again = FileKeyStore(tmp_path).signer("owner", kind)
    assert first.public_key == again.public_key
    assert first.chain == again.chain
    assert len(first.sign(b"data")) == WIDTHS[kind]
    cose.sign1(first, b"data").verify(again.public_key)


def test_the_same_object_is_given_each_time(store: FileKeyStore) -> None:
    assert store.signer("owner", "p256") is store.signer("owner", "p256")


def test_roles_have_keys_of_their_own(store: FileKeyStore) -> None:
    assert store.signer("owner", "p256").public_key != store.signer("manufacturer", "p256").public_key


@pytest.mark.parametrize("kind", KINDS)
def test_the_certificate_beside_a_key_is_of_that_key_and_signed_by_it(store: FileKeyStore, kind: KeyKind) -> None:
    signer = store.signer("owner", kind)
    certificate = x509.load_der_x509_certificate(signer.chain[0])
    certificate.verify_directly_issued_by(certificate)
    assert certificate.public_key() == signer.public_key
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_an_rsa_key_undoes_oaep_and_an_ec_key_cannot(store: FileKeyStore) -> None:
    signer = store.signer("owner", "rsa2048")
    assert isinstance(signer.public_key, rsa.RSAPublicKey)
    assert signer.decrypt(signer.public_key.encrypt(b"secret", cose.oaep())) == b"secret"
    with pytest.raises(cose.CoseError):
        store.signer("owner", "p256").decrypt(b"secret")


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    FileKeyStore(tmp_path / "data" / "keys").signer("owner", "p256")
    modes = {path.name: path.stat().st_mode & 0o777 for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]}
    assert modes == {"data": 0o700, "keys": 0o700, "owner-p256.pem": 0o600, "owner-p256.crt": 0o600}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    FileKeyStore(tmp_path).signer("owner", "p256")
    path = tmp_path / "owner-p256.pem"
    path.chmod(mode)
    with pytest.raises(KeysError, match=f"can be read by others .* run `chmod 600 {path}`"):
        FileKeyStore(tmp_path).signer("owner", "p256")


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(KeysError, match="can be written by others"):
        FileKeyStore(folder).signer("owner", "p256")


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "owner-p256.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeysError, match="is not a private key"):
        FileKeyStore(tmp_path).signer("owner", "p256")


def test_a_key_of_another_kind_than_its_name_says_is_refused(tmp_path: Path) -> None:
    FileKeyStore(tmp_path).signer("owner", "p256")
    (tmp_path / "owner-p256.pem").rename(tmp_path / "owner-p384.pem")
    with pytest.raises(KeysError, match="does not hold a p384 key"):
        FileKeyStore(tmp_path).signer("owner", "p384")


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    store = FileKeyStore(tmp_path)
    store.signer("owner", "p256")
    store.signer("manufacturer", "p256")
    (tmp_path / "manufacturer-p256.crt").replace(tmp_path / "owner-p256.crt")
    with pytest.raises(KeysError, match="is not the certificate of"):
        FileKeyStore(tmp_path).signer("owner", "p256")


def test_a_missing_certificate_is_made_again_for_the_same_key(tmp_path: Path) -> None:
    before = FileKeyStore(tmp_path).signer("owner", "p256")
    (tmp_path / "owner-p256.crt").unlink()
    assert FileKeyStore(tmp_path).signer("owner", "p256").public_key == before.public_key


@pytest.mark.parametrize("role", ["../owner", "", "Owner", "a/b"])
def test_a_role_that_is_no_plain_word_is_refused(store: FileKeyStore, role: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        store.signer(role, "p256")


def test_processes_that_start_at_once_end_with_the_same_keys(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, hashlib; from ashore.keys import FileKeyStore\n"
        "store = FileKeyStore(pathlib.Path(sys.argv[1]))\n"
        "sys.stdin.readline()\n"
        "chain = store.signer('owner', 'p256').chain[0] + store.device_authority('p384').certificate\n"
        "print(hashlib.sha256(chain + store.session_key()).hexdigest())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "keys")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate()[0] for process in processes}
    assert len(answers) == 1
    assert len(answers.pop()) == 65
    assert not [path for path in (tmp_path / "keys").iterdir() if path.name.startswith(".")]


def test_the_session_key_is_made_once_or_taken_from_the_settings(tmp_path: Path) -> None:
    assert FileKeyStore(tmp_path).session_key() == FileKeyStore(tmp_path).session_key()
    assert FileKeyStore(tmp_path).session_key("ab" * 32) == b"\xab" * 32
    with pytest.raises(KeysError, match="64 hex digits"):
        FileKeyStore(tmp_path).session_key("ab")


@pytest.mark.parametrize("authority", ["p256", "p384"])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_a_device_certificate_comes_with_the_authority_that_signed_it(
    store: FileKeyStore, authority: KeyKind, curve: ec.EllipticCurve
) -> None:
    key = ec.generate_private_key(curve)
    device, ca = map(
        x509.load_der_x509_certificate,
        store.device_authority(authority).issue(request_for(key), subject="camera 7", now=NOW),
    )
    device.verify_directly_issued_by(ca)
    assert device.public_key() == key.public_key()
    assert device.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "camera 7"
    assert serial_number(device.public_bytes(Encoding.DER)) == "camera 7"


def test_an_authority_may_sign_devices_and_no_further_authorities(store: FileKeyStore) -> None:
    certificate = x509.load_der_x509_certificate(store.device_authority("p256").certificate)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_device_certificate_lasts_for_thirty_years_and_restricts_no_use(store: FileKeyStore) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = store.device_authority("p256").issue(key.public_key(), subject="camera 7", now=NOW)
    device = x509.load_der_x509_certificate(issued[0])
    assert device.not_valid_before_utc == NOW - timedelta(days=1)
    assert device.not_valid_after_utc.year == 2056
    assert device.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(x509.ExtensionNotFound):
        device.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


@pytest.mark.parametrize(("given", "shown"), [("x" * 100, "x" * 64), ("", "device"), ("a\x00b\n", "a?b?")])
def test_any_text_can_be_the_name_of_a_device(store: FileKeyStore, given: str, shown: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    device = x509.load_der_x509_certificate(
        store.device_authority("p256").issue(key.public_key(), subject=given, now=NOW)[0]
    )
    assert device.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == shown


@pytest.mark.parametrize("given", ["x" * 65, "", "SN_1", "\u00fc", "a\nb"])
def test_a_serial_number_that_does_not_fit_its_attribute_is_left_out(store: FileKeyStore, given: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    chain = store.device_authority("p256").issue(key.public_key(), subject=given, now=NOW)
    assert [serial_number(one) for one in chain] == ["", ""]


def test_what_is_no_certificate_names_no_serial_number() -> None:
    assert serial_number(b"nonsense") == ""


def test_a_request_that_its_own_key_did_not_sign_is_refused(store: FileKeyStore) -> None:
    request = bytearray(request_for(ec.generate_private_key(ec.SECP256R1())))
    request[-1] ^= 1
    with pytest.raises(CertificateError):
        store.device_authority("p256").issue(bytes(request), subject="x", now=NOW)


@pytest.mark.parametrize("junk", [b"", b"\x30\x00", os.urandom(100), bytes(5000)])
def test_a_request_that_is_none_is_refused(store: FileKeyStore, junk: bytes) -> None:
    with pytest.raises(CertificateError, match="cannot be read"):
        store.device_authority("p256").issue(junk, subject="x", now=NOW)


@pytest.mark.parametrize(
    "make", [lambda: ec.generate_private_key(ec.SECP521R1()), lambda: rsa.generate_private_key(65537, 1024)]
)
def test_a_request_for_a_key_that_fdo_does_not_know_is_refused(
    store: FileKeyStore, make: Callable[[], cose.PrivateKey]
) -> None:
    with pytest.raises(CertificateError, match="cannot be used"):
        store.device_authority("p256").issue(request_for(make()), subject="x", now=NOW)


def test_an_rsa_device_key_is_served_too(store: FileKeyStore) -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert len(store.device_authority("p256").issue(request_for(key), subject="x", now=NOW)) == 2


def test_a_folder_that_cannot_be_made_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeysError, match="set ASHORE_DATA_DIR"):
        FileKeyStore(Path(tmp_path / "file" / "keys")).signer("owner", "p256")

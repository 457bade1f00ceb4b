"""The device's memory: private, whole, and never without a credential that the owner may know."""

import os
import stat
from pathlib import Path

import msgspec
import pytest

from ashore.fdo.credential import Credential
from ashore.fdo.types import Hash, HashType
from ashore_device.credential_file import MAX_CANDIDATES, Candidate, CredentialFile, Record
from ashore_device.errors import BusyError, CredentialFileError
from ashore_device.initialise import generate
from tests import fdo_kit as kit


def credential(number: int = 0) -> Credential:
    return Credential(
        guid=bytes([number]) * 16,
        device_info="device",
        rv_info=kit.RV_INFO,
        public_key_hash=Hash(HashType.SHA256, bytes(32)),
        hmac_secret=b"secret secret secret secret secr",
    )


def record(*numbers: int) -> Record:
    candidates = tuple(Candidate(credential=credential(number)) for number in numbers or (0,))
    return Record(state="initialised", serial="S-1", device_info="x", private_key=b"key", candidates=candidates)


@pytest.fixture
def file(tmp_path: Path) -> CredentialFile:
    return CredentialFile(tmp_path / "device" / "credential.json")


def test_what_was_saved_is_loaded(file: CredentialFile) -> None:
    assert file.load() is None
    file.save(record(1, 2))
    assert file.load() == record(1, 2)


def test_file_and_folder_are_readable_by_their_owner_alone(file: CredentialFile) -> None:
    old = os.umask(0)
    try:
        file.save(record())
        file.save(record())
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_can_read_is_refused(file: CredentialFile) -> None:
    file.save(record())
    file.path.chmod(0o644)
    with pytest.raises(CredentialFileError, match="chmod 600"):
        file.load()


def test_a_reader_sees_the_old_file_or_the_new_one(file: CredentialFile) -> None:
    file.save(record(1))
    with file.path.open("rb") as old:
        file.save(record(2))
        assert b"AQEB" in old.read()
    assert file.load() == record(2)
    assert [path.name for path in file.path.parent.iterdir()] == ["credential.json"]


def test_a_full_disk_leaves_the_old_file_and_is_explained(file: CredentialFile) -> None:
    file.save(record(1))
    # A limit on the size of files is what a full disk looks like to a writer.
    import resource
    import signal

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limit[1]))
    try:
        with pytest.raises(CredentialFileError, match=r"S-1 cannot be kept.*make room"):
            file.save(record(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.load() == record(1)
    assert [path.name for path in file.path.parent.iterdir()] == ["credential.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "lost"}'])
def test_a_damaged_file_is_explained(file: CredentialFile, content: str) -> None:
    file.save(record())
    file.path.write_text(content)
    with pytest.raises(CredentialFileError, match="is not a device credential"):
        file.load()


def test_a_file_of_a_later_version_is_left_alone(file: CredentialFile) -> None:
    file.save(msgspec.structs.replace(record(), format=2))
    with pytest.raises(CredentialFileError, match="format 2"):
        file.load()


def test_nothing_secret_is_in_the_repr(file: CredentialFile) -> None:
    assert "secret" not in repr(record())
    assert "key" not in repr(record())


def test_one_process_at_a_time(file: CredentialFile) -> None:
    with file.locked(), pytest.raises(BusyError, match="another process"), CredentialFile(file.path).locked():
        pass
    with file.locked():
        pass


def test_drafts_of_killed_processes_are_removed(file: CredentialFile) -> None:
    file.save(record())
    draft = file.path.with_name(".credential.json.0a1b2c3d4e5f")
    draft.write_text("half a key")
    with file.locked():
        assert not draft.exists()
    assert file.load() == record()


def test_before_done_the_replacement_stands_in_front_of_what_was_proven() -> None:
    after = record(1, 2, 3).finishing(Candidate(credential=credential(2)), credential(9), "http://owner")
    assert [candidate.credential.guid[0] for candidate in after.candidates] == [9, 2, 1, 3]
    assert {candidate.owner_url for candidate in after.candidates[:2]} == {"http://owner"}
    assert (after.state, after.confirmed, after.guid) == ("finishing", False, "09" * 16)


def test_a_credential_that_is_reused_changes_nothing_before_the_end() -> None:
    before = record(1)
    assert before.finishing(before.candidates[0], None, "http://owner") is before


def test_however_often_it_is_cut_off_what_was_proven_last_stays() -> None:
    found = record(0)
    proven = found.candidates[0]
    for number in range(1, 50):
        found = found.finishing(proven, credential(number), "http://owner")
        guids = [candidate.credential.guid[0] for candidate in found.candidates]
        assert guids[:2] == [number, 0]
        assert len(guids) <= MAX_CANDIDATES


def test_the_last_word_leaves_one_credential() -> None:
    after = record(1, 2, 3).settled("onboarded", credential(2), "http://owner")
    assert after.confirmed
    assert after.guid == "02" * 16


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048", "rsa3072"])
def test_every_kind_of_key_signs_after_it_was_kept(kind, file: CredentialFile) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    der = generate(kind).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    file.save(msgspec.structs.replace(record(), private_key=der))
    loaded = file.load()
    assert loaded is not None
    assert loaded.signer().sign(b"data")


def test_a_key_that_cannot_be_used_is_explained() -> None:
    with pytest.raises(CredentialFileError, match="S-1 cannot be used"):
        record().signer()

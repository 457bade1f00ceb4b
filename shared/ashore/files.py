"""Private files: made once, complete or not at all, and readable by nobody but their owner.

Two processes that start at once with an empty folder must end with the same keys and tokens. Making a file here is
therefore one atomic step, and the loser of the race reads what the winner made. What is in the files is the business
of `keys.py`, `server_certificates.py` and `http/auth.py`.
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600


class FilesError(Exception):
    """A private file cannot be used; the text says why, and what to do."""


def private_directory(path: Path) -> Path:
    """Make the directory (mode 0700) where it is missing; raise FilesError where others may write to it."""
    try:
        # mkdir gives its mode to the last folder only, so the missing ones above it are made one by one.
        for folder in (*reversed(path.parents), path):
            folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        mode = path.stat().st_mode
    except OSError as error:
        raise FilesError(f"the folder {path} cannot be used: {error.strerror}; set ASHORE_DATA_DIR") from error
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise FilesError(f"the folder {path} can be written by others: run `chmod go-w {path}`")
    return path


def read_private(path: Path) -> bytes:
    """Read a file of secrets; raise FilesError where others may read it, FileNotFoundError where it is missing."""
    try:
        with path.open("rb") as file:
            _refuse_open_mode(path, os.fstat(file.fileno()))
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise FilesError(f"{path} cannot be read: {error.strerror}") from error


def create_private(path: Path, content: bytes) -> bool:
    """Make the file with its whole content, unless it exists; tell whether this call made it."""
    draft = _draft(path)
    try:
        _write(draft, content)
        # A hard link appears whole and never replaces, so of two processes exactly one wins.
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise FilesError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return True


def replace_private(path: Path, content: bytes) -> bool:
    """Make the file anew unless it holds just this; whoever reads it sees the old or the new. Tell whether it was."""
    draft = _draft(path)
    try:
        if path.exists() and path.read_bytes() == content:
            path.chmod(FILE_MODE)
            return False
        _write(draft, content)
        draft.replace(path)
    except OSError as error:
        raise FilesError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)
    return True


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Read a private file, made by `make` where it is missing; every process gets the same bytes."""
    try:
        return read_private(path)
    except (FileNotFoundError, NotADirectoryError):
        private_directory(path.parent)
        create_private(path, make())
        return read_private(path)


def append_private(path: Path) -> BinaryIO:
    """Open a file, a log say, to write at its end; made where it is missing, for its owner alone."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE), "ab")


def _refuse_open_mode(path: Path, status: os.stat_result) -> None:
    """Refuse what others can read; a file of root's may be read by our group, as mounted secrets are."""
    mounted = status.st_uid == 0 and os.geteuid() != 0
    if status.st_mode & (0o037 if mounted else 0o077):
        raise FilesError(f"{path} can be read by others (mode {status.st_mode & 0o777:04o}): run `chmod 600 {path}`")


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}")


def _write(draft: Path, content: bytes) -> None:
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Files below one folder, and nowhere else.

A name is walked component by component with `openat` and O_NOFOLLOW, so neither `..` nor a symbolic link, not even one
that appears in between, leads out. Everything here blocks for as long as a disk does and no longer: a FIFO or a device
in place of a file is refused and never waited for.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ashore.fdo.serviceinfo.host import HostError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _MissingError(HostError):
    """There is no such file."""


class Folder:
    """One folder; it is made when it is first needed. Every failure is a HostError that names no path outside."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def opened(self, name: str, flags: int) -> Iterator[int]:
        """A descriptor of the regular file; with O_CREAT the folders above it are made."""
        with self._parent(name, create=bool(flags & os.O_CREAT)) as (parent, leaf), _errors(name):
            descriptor = os.open(leaf, flags | _FILE, 0o600, dir_fd=parent)
            try:
                _regular(name, os.fstat(descriptor))
                yield descriptor
            finally:
                os.close(descriptor)

    def size(self, name: str) -> int:
        """Bytes of a regular file."""
        with self._parent(name, create=False) as (parent, leaf), _errors(name):
            status = os.stat(leaf, dir_fd=parent, follow_symlinks=False)
            _regular(name, status)
            return status.st_size

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""
        with contextlib.suppress(_MissingError), self._parent(name, create=False) as (parent, leaf):
            os.unlink(leaf, dir_fd=parent)

    def replace(self, name: str, new_name: str) -> None:
        """Give a file its final name in one step; it is on the disk before it has that name."""
        with self.opened(name, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)
        with (
            self._parent(name, create=False) as (source, old),
            self._parent(new_name, create=True) as (target, new),
            _errors(new_name),
        ):
            os.replace(old, new, src_dir_fd=source, dst_dir_fd=target)
            os.fsync(target)

    @contextlib.contextmanager
    def _parent(self, name: str, *, create: bool) -> Iterator[tuple[int, str]]:
        *folders, leaf = _parts(name)
        with _errors(name), contextlib.ExitStack() as stack:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The folder itself is the user's choice and may well be a link.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            for folder in folders:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, 0o700, dir_fd=descriptor)
                descriptor = os.open(folder, _FOLDER, dir_fd=descriptor)
                stack.callback(os.close, descriptor)
            yield descriptor, leaf


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise HostError(f"{name!r} is not a name below the device's folder")
    return parts


def _regular(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise HostError(f"{name} is not a file")


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _MissingError(f"there is no file {name}") from error
    except OSError as error:
        raise HostError(f"{name} cannot be used: {error.strerror}") from error

"""Give back the memory that only starting up needed.

Half of what a service has touched when it begins to serve is not its own: it is code of Python, OpenSSL and other
libraries, which the kernel keeps once for all processes, and most of it ran while modules were imported. The kernel
takes such pages out of a process when memory becomes scarce; here that happens at once, so that what a process seems to
need is what it needs. What runs again is found in the kernel's cache: 5 us for 16 pages, once.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_DONTNEED: Final = 4  # MADV_DONTNEED of Linux, which is where there is a `smaps`.
_SMAPS: Final = Path("/proc/self/smaps")
_HEX: Final = "0123456789abcdef"


class Mapping(NamedTuple):
    """A part of a file that is mapped to memory, as `/proc/self/smaps` tells."""

    start: int
    size: int
    mode: str
    file: str
    changed: bool
    """Whether pages of it were written to, and are no longer those of the file."""


def settle() -> None:
    """Give back what can be given back, and have the collector leave alone what lives as long as the process."""
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Give back what is not needed any more: after the start, and after each time of much work."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(OSError), _SMAPS.open(encoding="utf-8", errors="replace") as smaps:
        _forget(libc, unchanged_code(mappings(smaps)))
    if hasattr(libc, "malloc_trim"):  # Only glibc has it.
        libc.malloc_trim(0)


def mappings(smaps: Iterable[str]) -> Iterator[Mapping]:
    """Read the lines of `/proc/PID/smaps` (proc_pid_smaps(5)), without what is no file."""
    start, size, mode, file = 0, 0, "", ""
    for line in smaps:
        # Of thousands of lines few count; the others shall not leave their traces in memory.
        if line.startswith("Anonymous:") and file:
            yield Mapping(start, size, mode, file, changed=line.split()[1] != "0")
        elif line[0] in _HEX:
            addresses, mode, _offset, _device, _inode, *path = line.rstrip().split(maxsplit=5)
            first, _, last = addresses.partition("-")
            start, size = int(first, 16), int(last, 16) - int(first, 16)
            file = path[0] if path and path[0].startswith("/") else ""


def unchanged_code(found: Iterable[Mapping]) -> list[Mapping]:
    """Programs and libraries, as far as they are still what stands in their files.

    Libraries stay where they are, so nothing else can take the place of one of these before it is given back.
    """
    unchanged = [one for one in found if one.mode in ("r-xp", "r--p") and not one.changed]
    code = {one.file for one in unchanged if one.mode == "r-xp"}
    return [one for one in unchanged if one.file in code]


def _forget(libc: ctypes.CDLL, unchanged: Iterable[Mapping]) -> None:
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for one in unchanged:
        # Advice that is refused changes nothing.
        libc.madvise(one.start, one.size, _DONTNEED)

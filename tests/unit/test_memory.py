"""What is given back after the start, and what must not be."""

import mmap
import sys
from pathlib import Path

import pytest

from ashore.memory import Mapping, mappings, settle, unchanged_code

SMAPS = """\
00400000-00500000 r-xp 00000000 fe:00 131 /usr/lib/a library.so
Size:               1024 kB
Rss:                1024 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
00500000-00600000 r--p 00100000 fe:00 131 /usr/lib/a library.so
Rss:                1024 kB
Anonymous:             0 kB
00600000-00610000 r--p 00200000 fe:00 131 /usr/lib/a library.so
Anonymous:            64 kB
00610000-00620000 rw-p 00210000 fe:00 131 /usr/lib/a library.so
Anonymous:             0 kB
00700000-00800000 r-xp 00000000 fe:00 132 /usr/lib/patched.so
Anonymous:             4 kB
00800000-00900000 r--p 00000000 fe:00 133 /usr/share/no code
Anonymous:             0 kB
01000000-02000000 rw-p 00000000 00:00 0 [heap]
Anonymous:         16384 kB
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
Anonymous:          1024 kB
7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
"""


def test_only_code_that_nobody_has_written_to_is_given_back() -> None:
    assert unchanged_code(mappings(SMAPS.splitlines(keepends=True))) == [
        Mapping(0x400000, 0x100000, "r-xp", "/usr/lib/a library.so", changed=False),
        Mapping(0x500000, 0x100000, "r--p", "/usr/lib/a library.so", changed=False),
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is mapped")
def test_everything_works_after_it_and_takes_less_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before" * 10_000)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[:6] = b"behind"
        before = resident()
        settle()
        assert resident() < before
        assert own[:12] == b"behindbefore"


def resident() -> int:
    """Bytes of files in the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

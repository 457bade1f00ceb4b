"""What real clients and our services have said to one another, for fuzzers to begin with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "vectors"


def recorded(pattern: str) -> Iterator[bytes]:
    """The files of all recordings whose names are like this."""
    for path in sorted(_FOLDER.glob(f"*/{pattern}")):
        yield path.read_bytes()

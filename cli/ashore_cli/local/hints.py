"""Commands that people can copy: spelt so that they work where the user stands."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_DEFAULT: Final = Path(".ashore")


def command(words: str, data: Path = _DEFAULT) -> str:
    """An ashore command as this user would type it."""
    return f"{_program()} {words}{_folder(data)}"


def _program() -> str:
    here = Path(sys.argv[0])
    if here.name != "ashore":
        return f"{near(Path(sys.executable))} -m ashore_cli"
    found = shutil.which("ashore")
    if found is not None and Path(found).resolve() == here.resolve():
        return "ashore"
    return near(here)


def _folder(data: Path) -> str:
    known = Path(os.environ.get("ASHORE_DATA_DIR") or _DEFAULT)
    return "" if data.resolve() == known.resolve() else f" --data {near(data)}"


def near(path: Path) -> str:
    """The path relative to the working folder where it lies below it."""
    path = path.absolute()
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))

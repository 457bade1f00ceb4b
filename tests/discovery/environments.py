"""Peers from PyPI in environments of their own, so that what they need is nothing that we need.

Each is made once and kept below ASHORE_CACHE (~/.cache/ashore), under a name with its version.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def python_with(package: str, version: str, extra: str = "") -> Path:
    """The interpreter of the package's environment; the test is skipped where that cannot be made."""
    cache = Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore")
    home = cache / f"{package}-{version}-{sys.version_info.major}.{sys.version_info.minor}"
    if not (home / "ready").exists():
        try:
            _make(cache, home, f"{package}{extra}=={version}")
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{package} {version} cannot be installed: {error}")
    return home / "bin" / "python"


def _make(cache: Path, home: Path, requirement: str) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        made = Path(folder) / "environment"
        for command in (
            [sys.executable, "-m", "venv", made],
            [made / "bin" / "python", "-m", "pip", "install", "--quiet", requirement],
        ):
            subprocess.run(command, check=True, capture_output=True, timeout=100)
        (made / "ready").touch()
        # Another run may have been faster.
        if not home.exists():
            made.rename(home)

"""Peers that nobody here wrote, from PyPI and npm, each in a folder of its own: what they need is nothing that we need.

Each is made once and kept below ASHORE_CACHE (~/.cache/ashore), under a name with its version. `python -m
tests.discovery.peers` makes them all, which takes some minutes; a test that needs one that is not there is skipped, and
says so. What comes from the system's packages is named where it is used.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

PYTHON: Final = {
    "aiocoap": "0.4.17",
    "grpcio": "1.85.1",
    "ipycam": "1.3.0",
    "pymodbus": "3.16.1",
    "WSDiscovery": "2.1.2",
}
NODE: Final = {"nats": "2.29.3", "node-opcua-server-discovery": "2.186.4", "sparkplug-client": "3.2.4"}
_REQUIREMENTS: Final = {"aiocoap": "aiocoap[linkheader]=={0}", "grpcio": "grpcio=={0} grpcio-tools=={0}"}
"""What is installed, where that is more than the package in its version."""
_SECONDS: Final = 600


def python_with(package: str) -> Path:
    """The interpreter of the package's environment."""
    return _there(_home(package, PYTHON[package])) / "bin" / "python"


def modules_with(package: str) -> Path:
    """The `node_modules` that hold the package."""
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    return _there(_home(package, NODE[package])) / "node_modules"


def _home(package: str, version: str) -> Path:
    return cache_of("peers") / f"{package}-{version}"


def cache_of(name: str) -> Path:
    """The folder for that which is made once."""
    return Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore") / name


def _there(home: Path) -> Path:
    if not (home / "ready").exists():
        pytest.skip(f"{home.name} is not installed: python -m tests.discovery.peers")
    return home


def make_all() -> int:
    """Make what is missing; the answer is how many could not be made."""
    failed = 0
    for package, version in PYTHON.items():
        wanted = _REQUIREMENTS.get(package, package + "=={0}").format(version).split()
        pip = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        failed += not make(_home(package, version), [[sys.executable, "-m", "venv", "."], pip])
    for package, version in NODE.items():
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"{package}@{version}"]
        failed += not make(_home(package, version), [npm])
    return failed


def make(home: Path, commands: Iterable[list[str]]) -> bool:
    """Fill a folder by these commands, once; whether it is there."""
    if (home / "ready").exists():
        return True
    home.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {home.name}", flush=True)
    # An environment knows its own path, so it is made where it stays; the mark comes last.
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with tempfile.TemporaryFile("w+") as output:
        try:
            for first, *rest in commands:
                program = str(home / first) if "/" in first and not first.startswith("/") else first
                subprocess.run([program, *rest], cwd=home, check=True, stdout=output, stderr=output, timeout=_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            output.seek(0)
            print(f"{home.name} cannot be made: {error}\n{output.read()[-2000:]}", file=sys.stderr)
            return False
    (home / "ready").touch()
    return True


if __name__ == "__main__":
    sys.exit(make_all())

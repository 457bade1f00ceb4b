"""An owner service that is told nonsense says so in a sentence, and leaves nothing open."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def start(data: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """An owner service that ends by itself."""
    settings = {"data_dir": str(data), "nats_url": "memory:", "host": "127.0.0.1", "port": "0"} | given
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ASHORE_")}
    environ |= {f"ASHORE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "ashore_owner"]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("url", ["ftp://owner.example", "owner.example", "http://[", "http://owner.example:99999"])
def test_an_address_that_no_device_could_reach_is_told_in_words(url: str, tmp_path: Path) -> None:
    ended = start(tmp_path, advertise=url)
    assert ended.returncode == 2
    assert f"ASHORE_ADVERTISE has '{url}'" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_session_key_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    ended = start(tmp_path, session_key="none")
    assert ended.returncode == 1
    assert "the session key (ASHORE_SESSION_KEY" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr

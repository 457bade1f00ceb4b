"""What the command line logs of its own libraries: sentences and tracebacks, and no values."""

import subprocess
import sys
from pathlib import Path

import pytest

from ashore_cli.stack import Layout

# Each runs in a process of its own, since a process configures its logs once.
FAIL = """
import structlog
def open_door():
    seed = "SU" + "A" * 8
    raise ValueError("the door is stuck")
try:
    open_door()
except ValueError:
    structlog.get_logger().exception("failed")
"""
FILE = "import sys; from pathlib import Path; from ashore_cli.local.running import keep_log\n"
FILE += "from ashore_cli.stack import Layout; keep_log(Layout(Path(sys.argv[1])))\n"
TERMINAL = "import logging; from ashore_cli.joining import _quieten; _quieten(logging.WARNING)\n"


@pytest.mark.parametrize("where", [FILE, TERMINAL], ids=["file", "terminal"])
def test_a_traceback_shows_no_local_variable(tmp_path: Path, where: str) -> None:
    command = [sys.executable, "-c", where + FAIL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    log = Layout(tmp_path).log("ashore")
    told = log.read_text() if where is FILE else done.stderr
    assert "the door is stuck" in told
    assert "SUAAAAAAAA" not in told
    if where is FILE:
        assert log.stat().st_mode & 0o077 == 0

"""What the command line logs of its own libraries: sentences and tracebacks, and no values."""

import subprocess
import sys
from pathlib import Path

import pytest

from ashore_cli.stack import Layout
from ashore_cli.stack.child import last_words

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


def test_the_last_words_of_a_service_are_its_reason_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "owner.log"
    assert last_words(log) == "it said nothing"
    log.write_text(
        "2026-11-26T23:56:30.1Z [info     ] listening    service=owner\n"
        "2026-11-26T23:56:31.8Z [error    ] no key is there: name one service=owner\n"
    )
    assert last_words(log) == "no key is there: name one"
    log.write_text("Segmentation fault\n")
    assert last_words(log) == "Segmentation fault"


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

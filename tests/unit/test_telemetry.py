import json
import re
import subprocess
import sys

import pytest

from ashore.telemetry import Metrics, parse_traceparent

TRACE = f"00-{'a1' * 16}-{'b2' * 8}-01"
SCRIPT = """
import logging, structlog
from ashore import telemetry
log = structlog.get_logger()
telemetry.configure("info", {style!r})
log.debug("unheard")
log.info("heard", guid="7", place=object)
logging.getLogger("somebody").warning("also %s", "heard")
logging.getLogger("uvicorn.error").warning("unheard")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("divided")
"""


def output(style: str) -> str:
    command = [sys.executable, "-c", SCRIPT.format(style=style)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("style", ["json", "auto"])
def test_lines_are_json_where_nobody_watches(style: str) -> None:
    lines = [json.loads(line) for line in output(style).splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("heard", "info"),
        ("also heard", "warning"),
        ("divided", "error"),
    ]
    assert lines[0]["guid"] == "7"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", lines[0]["timestamp"])
    assert "ZeroDivisionError: division by zero" in lines[2]["exception"]


def test_lines_are_for_people_where_they_ask_for_it() -> None:
    text = output("console")
    assert "heard" in text
    assert "guid=7" in text
    assert "unheard" not in text
    assert "ZeroDivisionError: division by zero" in text


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "00-short-b2-01",
        TRACE.upper(),
        TRACE.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-{'b2' * 8}-01",
        f"00-{'a1' * 16}-{'0' * 16}-01",
        TRACE + "\n",
        TRACE + "-extra",
    ],
)
def test_what_is_no_trace_context_is_ignored(value: str | None) -> None:
    assert parse_traceparent(value) is None


def test_what_is_a_trace_context_is_taken_as_it_is() -> None:
    assert parse_traceparent(TRACE) == TRACE


def test_two_services_in_one_process_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.observe(60, failed=False, seconds=0.001)
    assert b'ashore_fdo_messages_total{message="60",protocol="to2",result="ok"} 1.0' in first.render()
    assert b'message="60"' not in second.render()


@pytest.mark.parametrize(("number", "protocol"), [(10, "di"), (20, "to0"), (33, "to1"), (70, "to2"), (255, "other")])
def test_messages_are_counted_by_their_protocol(number: int, protocol: str) -> None:
    metrics = Metrics()
    metrics.observe(number, failed=True, seconds=0.001)
    expected = f'ashore_fdo_messages_total{{message="{number}",protocol="{protocol}",result="error"}} 1.0'
    assert expected in metrics.render().decode()

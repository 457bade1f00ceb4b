"""A tiny service as a process: start, serve, signals, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY = str(Path(__file__).parent / "tiny_service.py")


class Process:
    """The service, its log read line by line."""

    def __init__(self, *arguments: str, manner: str = "", **variables: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ASHORE_")}
        self.popen = subprocess.Popen(
            [sys.executable, TINY, *arguments],
            env={**environ, "TINY": manner, **{f"ASHORE_{name.upper()}": value for name, value in variables.items()}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        assert self.popen.stdout is not None
        for text in self.popen.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"it never said '{event}': {self.lines} {self.finish()}")

    def finish(self) -> tuple[int, str]:
        """Its exit code, and what it said on standard error."""
        out, errors = self.popen.communicate(timeout=20)
        self.lines += map(json.loads, out.splitlines())
        return self.popen.returncode, errors

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.popen.send_signal(number)
        return self.finish()

    def said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.lines)


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Process] = []

    def begin(*arguments: str, **variables: str) -> Process:
        defaults = {"data_dir": str(tmp_path / "data"), "host": "127.0.0.1", "port": "0", "nats_url": "memory:"}
        made.append(Process(*arguments, **{**defaults, **variables}))
        return made[-1]

    yield begin
    for process in made:
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.communicate()


def get(url: str, token: str = "") -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_serves_and_stops_when_told(start: Start, number: signal.Signals) -> None:
    service = start()
    url = service.until("listening")["url"]
    assert get(f"{url}/healthz") == (200, {"alive": True})
    assert get(f"{url}/readyz")[0] == 200
    assert service.stop(number) == (0, "")
    assert [line["event"] for line in service.lines[-3:]] == ["task stopped", "closed", "stopped"]
    assert {line["service"] for line in service.lines} == {"tiny"}


def test_the_admin_token_is_made_and_opens_the_api(start: Start, tmp_path: Path) -> None:
    service = start()
    url = service.until("listening")["url"]
    token = tmp_path / "data" / "admin-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    assert get(f"{url}/api/v1/slow")[0] == 401
    assert get(f"{url}/api/v1/slow", token.read_text().strip()) == (200, {"finished": True})
    service.stop()
    assert token.read_text().strip() not in str(service.lines)


def test_a_request_under_way_is_finished_before_it_stops(start: Start) -> None:
    service = start()
    url = service.until("listening")["url"]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as asking:
        asking.sendall(b"GET /api/v1/open HTTP/1.1\r\nHost: x\r\n\r\n")
        assert get(f"{url}/healthz")[0] == 200
        service.popen.send_signal(signal.SIGTERM)
        with asking.makefile("rb") as answer:
            text = answer.read()
    assert text.startswith(b"HTTP/1.1 200")
    assert text.endswith(b'{"finished":true}')
    assert service.finish() == (0, "")


def test_it_serves_while_nats_is_away_and_says_so(start: Start) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        service = start(nats_url=f"nats://127.0.0.1:{reserved.getsockname()[1]}")
        url = service.until("listening")["url"]
        status, readiness = get(f"{url}/readyz")
        assert (status, readiness["checks"]["bus"]["ready"]) == (503, False)
        assert get(f"{url}/healthz")[0] == 200
        assert service.stop()[0] == 0


def test_settings_that_cannot_be_used_are_told_in_words(start: Start) -> None:
    code, errors = start(port="abc", auth="perhaps").finish()
    assert code == 2
    assert errors == (
        "tiny: ASHORE_PORT is 'abc': expected a whole number from 0 to 65535\n"
        "tiny: ASHORE_AUTH is 'perhaps': expected one of off, on\n"
    )


def test_an_unknown_setting_is_warned_of(start: Start) -> None:
    service = start(prot="8042")
    service.until("listening")
    service.stop()
    assert service.said("ASHORE_PROT is not a setting of this service; did you mean ASHORE_PORT?")


def test_a_port_that_is_taken_is_told_with_the_remedy(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(port=str(taken.getsockname()[1]))
        assert service.finish() == (1, "")
    assert "Address already in use): set ASHORE_HOST or ASHORE_PORT" in service.lines[-1]["event"]


def test_a_certificate_that_is_none_is_told(start: Start, tmp_path: Path) -> None:
    service = start(tls_certificate=str(tmp_path / "none.crt"), tls_key=str(tmp_path / "none.key"))
    assert service.finish() == (1, "")
    assert "TLS certificate or key cannot be used" in service.lines[-1]["event"]


def test_authorities_of_the_bus_that_are_none_are_told(start: Start) -> None:
    service = start(nats_url="tls://127.0.0.1:1", nats_ca="none")
    assert service.finish() == (1, "")
    assert "ASHORE_NATS_CA cannot be used" in service.lines[-1]["event"]


def test_who_asks_a_service_for_help_is_shown_its_settings(start: Start) -> None:
    out, errors = start("--help").popen.communicate(timeout=20)
    assert "ASHORE_NATS_URL=nats://127.0.0.1:4222\n    NATS server" in out
    assert errors == ""


def test_arguments_that_a_service_does_not_take_are_refused(start: Start) -> None:
    code, errors = start("--port", "8042").finish()
    assert (code, "unrecognized arguments: --port 8042" in errors) == (2, True)


def test_a_service_that_cannot_be_built_fails_with_its_reason(start: Start) -> None:
    service = start(manner="fail")
    assert service.finish() == (1, "")
    assert "the harbour is frozen" in service.lines[-1]["exception"]


def test_a_signal_while_it_starts_stops_it(start: Start) -> None:
    service = start(manner="wait")
    service.until("building")
    assert service.stop() == (0, "")


def test_a_second_signal_does_not_wait(start: Start) -> None:
    service = start(drain_seconds="60")
    url = service.until("listening")["url"]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as slow:
        slow.sendall(b"POST /fdo/101/msg/60 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert get(f"{url}/healthz")[0] == 200
        service.popen.send_signal(signal.SIGTERM)
        service.until("stopping")
        assert service.stop() == (0, "")


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(start: Start, tmp_path: Path, monkeypatch: Any) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        service = start()
        assert channel.recv(100) == b"READY=1"
        service.stop()
        assert channel.recv(100) == b"STOPPING=1"

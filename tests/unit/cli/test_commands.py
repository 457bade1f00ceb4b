"""Commands as their user meets them: help, usage, exit codes, words instead of tracebacks."""

import ast
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ashore_cli.documents import read_documents
from ashore_cli.errors import DONE, REFUSED, UNREACHABLE, USAGE, CommandError, words_of_bus
from ashore_cli.listening import Wanted, about, moment
from ashore_cli.local.devices import next_serials
from ashore_cli.stack import Ports, PortsTaken
from tests.stack import ashore

NOW = datetime(2026, 5, 31, 12, tzinfo=UTC)
HEAVY = ("httpx", "nats", "cryptography", "sqlalchemy", "starlette", "yaml", "asyncio.subprocess", "structlog")


def imported(*words: str) -> list[str]:
    """What of the heavy modules is there after a command, in a process of its own."""
    code = f"""
import sys
from ashore_cli.app import app
app({list(words)!r}, result_action="return_value")
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = ast.literal_eval(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "noun",
    [
        "",
        "voucher",
        "device",
        "owner",
        "profile",
        "rendezvous",
        "streams",
        "configuration",
        "instance",
        "workload",
        "demo",
        "doctor",
    ],
)
def test_help_imports_nothing_heavy(noun: str) -> None:
    assert imported(*([noun] if noun else []), "--help") == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], DONE),
        (["--version"], DONE),
        (["vouchre"], USAGE),
        (["owner", "show"], USAGE),
        (["owner", "list", "--no-such-option"], USAGE),
        (["owner", "list", "--owner-url", "http://127.0.0.1:9"], UNREACHABLE),
        (["owner", "list", "--owner-url", "nonsense"], UNREACHABLE),
        (["events", "--nats-url", "nats://127.0.0.1:9"], UNREACHABLE),
        (["voucher", "inspect", "no-such-file"], REFUSED),
        (["profile", "apply", "no-such-file"], REFUSED),
        (["instance", "list", "--broker-launcher-url", "http://127.0.0.1:9"], UNREACHABLE),
        (["instance", "show", "default/x", "--broker-launcher-url", "http://127.0.0.1:9"], UNREACHABLE),
        (["instance", "show", "a/b/c"], REFUSED),
        (["instance", "watch", "--nats-url", "nats://127.0.0.1:9"], UNREACHABLE),
        (["workload", "logs", "x", "--broker-launcher-url", "http://127.0.0.1:9"], UNREACHABLE),
        (["configuration", "delete", "a/x", "-n", "b"], REFUSED),
        (["configuration", "apply", "no-such-file"], REFUSED),
        (["configuration", "explain", "no-such-file"], REFUSED),
        (["up", "--port-offset", "99999"], USAGE),
        (["owner", "list", "--limit", "0"], USAGE),
        (["owner", "list", "--state", "asleep"], USAGE),
        (["owner", "list", "more"], USAGE),
        (["owner", "bundle", "-o", "json"], USAGE),
        (["events", "--since", "yesterday"], USAGE),
        (["events", "--filter", "device-landed"], USAGE),
        (["device", "show", "../.."], REFUSED),
    ],
)
async def test_each_ending_has_its_exit_code_and_no_traceback(tmp_path: Path, words: list[str], code: int) -> None:
    done = await ashore(*words, data=tmp_path / "data")

    assert done.code == code
    assert "Traceback" not in done.out + done.error
    if code != DONE:
        assert done.out == ""
        assert done.error.startswith("ashore: ")
        assert "\n  to do: " in done.error


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("15m", 900), ("1h", 3600), ("2D", 172_800)])
def test_a_time_ago_is_understood(text: str, ago: int) -> None:
    assert moment(text, NOW) == NOW - timedelta(seconds=ago)


def test_a_date_is_understood_and_nonsense_is_not() -> None:
    assert moment("2026-05-31T12:00:00+00:00", NOW) == NOW
    with pytest.raises(CommandError, match="no time"):
        moment("yesterday", NOW)


def test_events_are_wanted_by_their_names() -> None:
    assert Wanted([], "", None, follow=False).subjects() == [">"]
    assert Wanted(["device-onboarded"], "", None, follow=False).subjects() == ["device-onboarded.>"]
    with pytest.raises(CommandError, match="no event 'device-onborded'") as caught:
        Wanted(["device-onborded"], "", None, follow=False).subjects()
    assert "device-onboarded" in caught.value.remedy
    with pytest.raises(CommandError, match="not kept in one stream"):
        Wanted(["device-onboarded", "device-seen"], "", None, follow=False).subjects()


def test_an_event_is_about_a_guid_that_commands_take_or_about_a_whole_name() -> None:
    assert about("0708ce6bccd3649f45c445227f0db7a9") == "0708ce6b"
    assert about("default.lights-a25c3c") == "lights-a25c3c"


def certificates(folder: Path) -> list[Path]:
    return list(folder.glob("tls/*"))


@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.7"])
async def test_no_certificate_is_made_for_an_address_that_is_not_this_machines(tmp_path: Path, address: str) -> None:
    done = await ashore("up", "--address", address, data=tmp_path / "data")

    assert done.code == REFUSED
    assert address in done.error
    assert certificates(tmp_path / "data") == []


async def test_wrong_usage_is_told_with_the_command_whose_help_says_more(tmp_path: Path) -> None:
    done = await ashore("owner", "shwo", data=tmp_path)

    assert '"show"' in done.error
    assert "`ashore owner --help`" in done.error


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("name: a\nsteps: [one\n", "line 2, column 8: "),
        ("a: 1\n b: 2\n", "line 2"),
        ("\x00", "special"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_in_one_line_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text)

    with pytest.raises(CommandError, match=told) as caught:
        read_documents(file)

    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_who_has_no_seed_of_the_bus_is_led_to_the_data_folder_and_not_to_start_it() -> None:
    assert words_of_bus("NATS cannot be reached: [Errno -2] Name not known", "start it") == (
        "NATS cannot be reached: Name not known",
        "start it",
    )
    assert "--data" in words_of_bus("NATS cannot be reached: 'Authorization Violation'", "start it")[1]


def test_without_a_time_the_last_hour_is_shown_or_what_comes() -> None:
    assert Wanted([], "", None, follow=False).begin(NOW) == NOW - timedelta(hours=1)
    assert Wanted([], "", None, follow=True).begin(NOW) is None
    assert Wanted([], "", "1h", follow=True).begin(NOW) == NOW - timedelta(hours=1)


def test_serial_numbers_go_on_after_the_last(tmp_path: Path) -> None:
    for name in ("demo-0001", "demo-0007", "demo-x", "other-0009"):
        (tmp_path / name).mkdir()

    assert next_serials(tmp_path, "demo", 2) == ["demo-0008", "demo-0009"]
    assert next_serials(tmp_path / "none", "demo", 1) == ["demo-0001"]


def test_taken_ports_are_all_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = Ports.free()._replace(owner=server.getsockname()[1])
        with pytest.raises(PortsTaken, match=rf"{ports.owner} \(owner\)") as caught:
            ports.check("127.0.0.1")

    assert "--port-offset" in caught.value.remedy
    assert len(set(Ports.free())) == len(Ports())

"""What commands print, and what they do not let through."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import yaml

from ashore_cli.documents import to_yaml
from ashore_cli.errors import printable
from ashore_cli.options import Options
from ashore_cli.output import Column, age, form, show_list, show_one, span, widest
from ashore_cli.places import empty_words


class Thing(msgspec.Struct):
    name: str
    made: datetime | None = None


COLUMNS = [Column[Thing]("name", lambda one: one.name)]


def test_in_a_pipe_the_output_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([Thing("one"), Thing("two")], COLUMNS, Options(), empty="none")

    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["one", "two"]


def test_an_empty_list_is_an_empty_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([], COLUMNS, Options(output="json"), empty="There are none: make one.")

    assert capsys.readouterr().out == "[]\n"


def test_an_empty_list_says_to_people_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([], COLUMNS, Options(output="table"), empty="There are none: make one.")

    assert capsys.readouterr().out == "There are none: make one.\n"


def test_a_list_that_is_empty_by_what_was_asked_is_not_said_to_be_empty() -> None:
    assert empty_words("There are none: make one.", None, "") == "There are none: make one."
    assert "none" not in empty_words("There are none: make one.", "onboarded", None)


def test_what_a_device_says_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([Thing("\x1b]0;owned\x07[red]x[/red]\r")], COLUMNS, Options(output="table"), empty="")
    show_one(Thing(""), [("name", "\x1b[2J\u202e")], Options(output="table"))

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\r" not in out
    assert "\u202e" not in out
    assert "[red]x[/red]" in out


def test_a_long_value_is_whole_where_programs_read_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([Thing("x" * 300)], COLUMNS, Options(output="table"), empty="")

    assert "x" * 300 in capsys.readouterr().out


def test_where_a_table_is_too_wide_only_its_longest_columns_give_way() -> None:
    assert widest([4, 60, 7, 30], 200) == 60
    assert widest([4, 60, 7, 30], 61) == 25
    assert widest([4, 60, 7, 30], 1) == 8


def test_a_program_that_gets_a_part_of_a_list_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_list([Thing("one")], COLUMNS, Options(output="json"), empty="", more="There are more: --limit 1000")

    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 1
    assert "--limit 1000" in told.err


def test_yaml_shows_scripts_as_blocks_and_reads_back() -> None:
    value = {"text": "cat hello.txt\necho 'ä'\n", "name": "one", "no": "no", "list": [1, None]}

    text = to_yaml(value)

    assert "text: |" in text
    assert yaml.safe_load(text) == value


def test_the_form_that_is_asked_for_is_taken() -> None:
    assert form(Options(output="yaml")) == "yaml"


@pytest.mark.parametrize(("seconds", "words"), [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (200_000, "2d")])
def test_a_time_is_told_in_one_unit(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_time_to_come_is_told_as_such() -> None:
    assert age(datetime.now(UTC) + timedelta(minutes=5, seconds=30)) == "in 5m"
    assert age((datetime.now(UTC) - timedelta(minutes=5, seconds=30)).isoformat()) == "5m"
    assert age(None) == ""


def test_lines_are_kept() -> None:
    assert printable("one\ntwo\x00") == "one\ntwo "

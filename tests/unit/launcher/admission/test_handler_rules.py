"""The launcher says of details what agents would say: its copies of schemas and of rules' grammar are theirs."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.events import handler_token
from ashore_broker_launcher.admission import handlers, udev
from ashore_broker_launcher.admission.checks import Rules, problems, told
from ashore_broker_launcher.admission.filters import filter_problems
from ashore_broker_launcher.model import Configuration
from ashore_discovery.configurations.document import Configuration as AgentsConfiguration
from ashore_discovery.configurations.schema import read
from ashore_discovery.handlers.udev.rules import RuleError, parse
from ashore_discovery.matching.filters import Filter
from docs import discovery, generate
from tests.kube.akri_samples import samples

RULES = [
    "", " ", 'KERNEL=="video[0-9]*"', 'KERNEL=="a", ENV{ID_BUS}!="usb"', 'KERNEL=="a" , SUBSYSTEMS=="b"  ',
    'KERNEL="a"', 'KERNEL+="a"', 'KERNEL:="a"', 'ATTR=="a"', 'ATTR{x}=="a"', 'KERNEL{x}=="a"', 'ACTION=="add"',
    'NAME=="x"', 'FOO=="x"', 'KERNEL=="a" SUBSYSTEM=="b"', 'KERNEL=="a",', ' KERNEL=="a"', 'KERNEL=="a"x',
    "KERNEL=='a'", 'ATTRS{idVendor}=="1d6b"', 'WAIT_FOR=="x"', 'ENV{}=="x"', "x" * 5000,
]  # fmt: skip


def agents_take(rule: str) -> bool:
    try:
        parse(rule)
    except RuleError:
        return False
    return True


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_refused_exactly_where_an_agent_would(rule: str) -> None:
    assert (udev.problem(rule) == "") is agents_take(rule)


PARTS = ["KERNEL", "ATTR", "TAGS", "ACTION", "NOPE", "{x}", "{", "==", "!=", "=", "+=", '"a*"', '"', ",", " ", "x"]


@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_whatever_a_rule_looks_like_both_say_the_same(rule: str) -> None:
    assert (udev.problem(rule) == "") is agents_take(rule)


@pytest.mark.parametrize("path", generate.copies(), ids=lambda path: path.name)
def test_a_copy_of_what_stands_elsewhere_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generate.copies()[path], "run `make docs`"


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("debugEcho", "debug-echo"),
        ("udev", "udev"),
        ("Home_Made", "home-made"),
        ("http.json", "http-json"),
        ("OPCUA", "o-p-c-u-a"),
        ("a--b", "a-b"),
        ("", ""),
    ],
)
def test_a_handler_is_spelt_in_one_way_by_launcher_and_agents(name: str, token: str) -> None:
    assert handler_token(name) == token


@pytest.mark.parametrize("sample", samples(), ids=lambda one: one["metadata"]["name"])
def test_what_agents_are_handed_they_can_read(sample: dict[str, Any]) -> None:
    document = told(Configuration.read(sample), Rules(), {}).document
    assert document is not None
    received = read(AgentsConfiguration, msgspec.json.decode(msgspec.json.encode(document)), "configuration")
    kind = next(one for one in discovery.handlers() if one.name == received.handler)
    read(kind.details_type, received.details, "details")


FILTERS = [
    {"fact": "x", "equals": 1}, {"fact": "x"}, {"glob": "x"}, {}, {"all": []}, {"all": [{}], "any": []},
    {"not": {"fact": "x", "regex": "("}}, {"fact": "a", "cidr": "10.0.0.0/8"}, {"fact": "a", "cidr": "nowhere"},
    {"any": [{"fact": "x", "exists": False}, {"not": {"all": [{"fact": "y", "min": 1}]}}]}, {"all": [], "glob": "x"},
]  # fmt: skip


@pytest.mark.parametrize("match", FILTERS)
def test_a_match_is_refused_exactly_where_an_agent_would(match: dict[str, Any]) -> None:
    assert bool(list(filter_problems(match))) is bool(list(msgspec.convert(match, Filter).problems()))


def test_every_handler_of_ours_is_known_under_both_spellings() -> None:
    assert set(handlers.known()) == {kind.name for kind in discovery.handlers()}
    body = samples()[0]
    body["spec"]["discoveryHandler"]["name"] = "debug-echo"
    assert not problems(body)

"""Filters say yes or no, and why; what is written wrongly is told with its place and with what was probably meant."""

from typing import Any

import msgspec
import pytest

from ashore_discovery.configurations.document import Configuration, NodeFile
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.matching.filters import Filter, evaluate
from tests.discovery_kit import Stage, configuration

FACTS = {"vendor": "Axis Communications", "ip": "10.1.2.9", "ports": ["80", "443"], "channels": 4, "ptz": True}


def verdict(**fields: Any) -> tuple[bool, str]:
    return evaluate(msgspec.convert(fields, Filter), FACTS)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"fact": "vendor", "glob": "axis*"}, True),
        ({"fact": "vendor", "equals": "axis communications"}, True),
        ({"fact": "vendor", "one_of": ["Bosch", "Hanwha"]}, False),
        ({"fact": "vendor", "regex": "^Axis"}, True),
        ({"fact": "ip", "cidr": "10.1.2.0/24"}, True),
        ({"fact": "ip", "cidr": "fd00::/8"}, False),
        ({"fact": "ports", "equals": "443"}, True),
        ({"fact": "channels", "min": 2, "max": 8}, True),
        ({"fact": "channels", "min": 5}, False),
        ({"fact": "ptz", "equals": True}, True),
        ({"fact": "missing", "equals": "x"}, False),
        ({"fact": "missing", "exists": False}, True),
        ({"not": {"fact": "vendor", "glob": "axis*"}}, False),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"all": [{"fact": "ptz", "exists": True}, {"any": [{"fact": "ip", "cidr": "10.0.0.0/8"}]}]}, True),
    ],
)
def test_a_filter_holds_or_not(fields: dict[str, Any], holds: bool) -> None:
    assert verdict(**fields)[0] is holds


def test_a_filter_says_what_was_missing() -> None:
    assert verdict(all=[{"fact": "vendor", "glob": "Bosch*"}, {"fact": "ip", "cidr": "10.0.0.0/8"}]) == (
        False,
        "vendor is 'Axis Communications', not like Bosch*",
    )
    assert verdict(fact="serial", equals="x") == (False, "serial is not known")


def test_a_device_is_explained_for_every_configuration() -> None:
    stage = Stage(
        configuration("axis", match={"fact": "vendor", "glob": "Axis*"}),
        configuration("elsewhere", nodes=["other-*"]),
        configuration("all"),
    )
    stage.see(vendor="Bosch")
    device = stage.tracker.registry.devices[stage.key()]
    assert [(one.configuration, one.matched, one.why) for one in stage.desk.judge(device)] == [
        ("axis", False, "vendor is 'Bosch', not like Axis*"),
        ("elsewhere", False, "it is for the nodes other-*, and this is node-1"),
        ("all", True, "the handler plain offers it, and there is no further filter"),
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"fact": "a"}, "match says nothing about 'a'"),
        ({"fact": "a", "equals": "b", "all": []}, "exactly one of all, any, not, fact; it has 2"),
        ({"glob": "a*"}, "'glob' without a fact"),
        ({"fact": "a", "regex": "("}, "no regular expression"),
        ({"all": [{"fact": "a", "cidr": "here"}]}, "match.all[0].cidr is no network"),
    ],
)
def test_a_filter_that_cannot_be_used_says_why(fields: dict[str, Any], problem: str) -> None:
    assert any(problem in text for text in msgspec.convert(fields, Filter).problems())


def test_a_wrong_key_is_told_with_its_place_and_what_was_meant() -> None:
    written = {"name": "a", "handler": "udev", "departure": {"grase": 3}, "match": {"all": [{"fakt": "x"}]}}
    with pytest.raises(ConfigurationError) as caught:
        read(Configuration, written, "configuration 'a'")
    assert caught.value.problems == [
        "configuration 'a'.departure has no 'grase'; did you mean 'grace'?",
        "configuration 'a'.match.all[0] has no 'fakt'; did you mean 'fact'?",
    ]


def test_a_wrong_value_is_told_with_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"file.configurations\[0\].departure.grace: Expected"):
        read(NodeFile, {"configurations": [{"name": "a", "handler": "b", "departure": {"grace": -1}}]}, "file")

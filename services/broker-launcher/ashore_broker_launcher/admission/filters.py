"""What is wrong with a `match` beyond its schema: agents would refuse it, and nobody would see why. Pure."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from ashore_broker_launcher.cluster import JsonObject

_FORMS: Final = ("all", "any", "not", "fact")
_CONDITIONS: Final = ("equals", "one_of", "glob", "regex", "cidr", "min", "max", "exists")
_MOST_LEVELS: Final = 16


def filter_problems(match: object, place: str = "spec.match", level: int = 0) -> Iterator[str]:
    """A sentence for each mistake; what is not of the schema's form is passed over, as the schema tells it."""
    if not isinstance(match, dict):
        return
    if level > _MOST_LEVELS:
        yield f"{place} is nested too deeply"
        return
    yield from _form(match, place)
    yield from _unusable(match, place)
    for group in ("all", "any"):
        children = match.get(group)
        for index, child in enumerate(children if isinstance(children, list) else ()):
            yield from filter_problems(child, f"{place}.{group}[{index}]", level + 1)
    yield from filter_problems(match.get("not"), f"{place}.not", level + 1)


def _form(match: JsonObject, place: str) -> Iterator[str]:
    forms = [name for name in _FORMS if match.get(name) is not None]
    conditions = [name for name in _CONDITIONS if match.get(name) is not None]
    if match.get("fact") is None and conditions:
        yield f"{place} has '{conditions[0]}' without a fact"
    elif len(forms) != 1:
        yield f"{place} needs exactly one of all, any, not, fact; it has {', '.join(forms) or 'none'}"
    if match.get("fact") is not None and not conditions:
        yield f"{place} says nothing about its fact: add one of {', '.join(_CONDITIONS)}"


def _unusable(match: JsonObject, place: str) -> Iterator[str]:
    expression, network = match.get("regex"), match.get("cidr")
    if isinstance(expression, str):
        try:
            re.compile(expression)
        except (re.error, RecursionError, OverflowError) as error:
            yield f"{place}.regex is no regular expression: {error}"
    if isinstance(network, str):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            yield f"{place}.cidr is no network: write 10.1.2.0/24"

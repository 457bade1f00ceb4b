"""Conditions on the facts of a device, declared as a tree of `all`, `any`, `not` and single conditions.

Evaluating one gives not only yes or no but the reason, so that nobody has to guess why a device is missing.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from ashore.events import Value

_MOST_LEVELS: Final = 16
_LONGEST_FOR_REGEX: Final = 1024
"""A pattern of our own may be slow on a text of a stranger's, so what it looks at is short."""


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Either a group (`all`, `any`, `not`), or a `fact` with conditions that must all hold."""

    all: "list[Filter] | None" = None
    any: "list[Filter] | None" = None
    not_: "Filter | None" = msgspec.field(default=None, name="not")
    fact: Annotated[str, Meta(max_length=128, description="The fact that the condition is about")] | None = None
    equals: Annotated[str | int | float | bool | None, Meta(description="It is this, whatever its case")] = None
    one_of: Annotated[list[str] | None, Meta(description="It is one of these, whatever its case")] = None
    glob: Annotated[str | None, Meta(description="It looks like this: `Axis*`, whatever its case")] = None
    regex: Annotated[str | None, Meta(description="Somewhere in it this expression is found")] = None
    cidr: Annotated[str | None, Meta(description="It is an address in this network")] = None
    min: Annotated[float | None, Meta(description="It is a number, and not smaller")] = None
    max: Annotated[float | None, Meta(description="It is a number, and not larger")] = None
    exists: Annotated[bool | None, Meta(description="Whether it is known at all")] = None

    def problems(self, place: str = "match", level: int = 0) -> Iterator[str]:
        """What is wrong with it, a sentence each."""
        if level > _MOST_LEVELS:
            yield f"{place} is nested too deeply"
            return
        forms = [name for name in ("all", "any", "not_", "fact") if getattr(self, name) is not None]
        if len(forms) != 1:
            yield f"{place} needs exactly one of all, any, not, fact; it has {len(forms) or 'none'}"
        conditions = self._conditions()
        if self.fact is None and conditions:
            yield f"{place} has '{conditions[0]}' without a fact"
        if self.fact is not None and not conditions:
            yield f"{place} says nothing about '{self.fact}': add one of {', '.join(_CONDITIONS)}"
        yield from self._unusable(place)
        for name in ("all", "any"):
            for index, child in enumerate(getattr(self, name) or ()):
                yield from child.problems(f"{place}.{name}[{index}]", level + 1)
        if self.not_ is not None:
            yield from self.not_.problems(f"{place}.not", level + 1)

    def _conditions(self) -> list[str]:
        return [name for name in _CONDITIONS if getattr(self, name) is not None]

    def _unusable(self, place: str) -> Iterator[str]:
        try:
            re.compile(self.regex or "")
        except re.error as error:
            yield f"{place}.regex is no regular expression: {error}"
        try:
            ipaddress.ip_network(self.cidr or "::/0", strict=False)
        except ValueError:
            yield f"{place}.cidr is no network: write 10.1.2.0/24"


_CONDITIONS: Final = ("equals", "one_of", "glob", "regex", "cidr", "min", "max", "exists")


class Verdict(NamedTuple):
    """Whether a filter holds, and what decided it."""

    holds: bool
    why: str


def evaluate(condition: Filter, facts: Mapping[str, Value]) -> Verdict:
    """Whether the filter holds for these facts."""
    if condition.all is not None:
        return _all([evaluate(one, facts) for one in condition.all])
    if condition.any is not None:
        return _any([evaluate(one, facts) for one in condition.any])
    if condition.not_ is not None:
        inner = evaluate(condition.not_, facts)
        return Verdict(not inner.holds, f"not ({inner.why})")
    return _fact(condition, facts)


def _all(parts: list[Verdict]) -> Verdict:
    failed = [part.why for part in parts if not part.holds]
    return Verdict(
        not failed, "; ".join(failed) if failed else " and ".join(part.why for part in parts) or "no condition"
    )


def _any(parts: list[Verdict]) -> Verdict:
    held = [part.why for part in parts if part.holds]
    return Verdict(bool(held), held[0] if held else "none of: " + "; ".join(part.why for part in parts))


def _fact(condition: Filter, facts: Mapping[str, Value]) -> Verdict:
    name = condition.fact or ""
    value = facts.get(name)
    if condition.exists is not None:
        known = value is not None
        return Verdict(known is condition.exists, f"{name} is {'known' if known else 'not known'}")
    if value is None:
        return Verdict(holds=False, why=f"{name} is not known")
    for text in value if isinstance(value, list) else [value]:
        wrong = [why for holds, why in _tests(condition, text) if not holds]
        if not wrong:
            return Verdict(holds=True, why=f"{name} is {_shown(value)}")
    return Verdict(
        holds=False, why=f"{name} is {_shown(value)}, {' and '.join(wrong) if value else 'and that is empty'}"
    )


def _tests(condition: Filter, value: str | float | bool) -> Iterator[tuple[bool, str]]:  # noqa: FBT001 - a fact
    text = str(value).lower() if isinstance(value, bool) else str(value)
    folded = text.casefold()
    if condition.equals is not None:
        wanted = str(condition.equals).casefold()
        yield folded == wanted, f"not {condition.equals}"
    if condition.one_of is not None:
        yield folded in {one.casefold() for one in condition.one_of}, f"not one of {', '.join(condition.one_of)}"
    if condition.glob is not None:
        yield fnmatch.fnmatchcase(folded, condition.glob.casefold()), f"not like {condition.glob}"
    if condition.regex is not None:
        found = re.search(condition.regex, text[:_LONGEST_FOR_REGEX])
        yield found is not None, f"without /{condition.regex}/"
    if condition.cidr is not None:
        yield _in_network(text, condition.cidr), f"not in {condition.cidr}"
    number = _number(value)
    if condition.min is not None:
        yield number is not None and number >= condition.min, f"not at least {condition.min:g}"
    if condition.max is not None:
        yield number is not None and number <= condition.max, f"not at most {condition.max:g}"


def _number(value: str | float | bool) -> float | None:  # noqa: FBT001 - a fact
    try:
        return None if isinstance(value, bool) else float(value)
    except ValueError:
        return None


def _in_network(text: str, network: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address in ipaddress.ip_network(network, strict=False)


def _shown(value: Value) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return f"'{text[:80]}'"

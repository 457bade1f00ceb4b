"""Akri's `udevRules`: a rule is a list of conditions, all of which must hold; of several rules one must.

Akri has two dialects, and both are understood. `==` on the device itself is a glob, as libudev has it. `!=`, DRIVER and
what looks at ancestors (the plural keys) is a regular expression there that must match as a whole, and a glob for
everybody who comes from udev: here either will do. An attribute or property that is missing fulfils `!=`.
"""

import fnmatch
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ashore_discovery.handlers.udev.record import Record

KEYS: Final = ("DEVPATH", "DRIVER", "DRIVERS", "KERNEL", "KERNELS", "SUBSYSTEM", "SUBSYSTEMS", "TAG", "TAGS")
KEYS_WITH_NAME: Final = ("ATTR", "ATTRS", "ENV")
FOR_RULES_THAT_ACT: Final = frozenset(
    {
        "ACTION", "NAME", "SYMLINK", "PROGRAM", "RESULT", "TEST", "CONST", "SECLABEL", "SYSCTL", "RUN", "LABEL",
        "GOTO", "IMPORT", "OPTIONS", "OWNER", "GROUP", "MODE", "WAIT_FOR",
    }
)  # fmt: skip
_CONDITION: Final = re.compile(r'(?P<key>[A-Z_]+)(?:\{(?P<name>[^}"]*)\})?\s*(?P<sign>[=!:+-]?=)\s*"(?P<value>[^"]*)"')
_LONGEST: Final = 1024
_GLOBS_ALONE: Final = frozenset({"DEVPATH", "KERNEL", "TAG", "SUBSYSTEM", "ATTR", "ENV"})


class RuleError(ValueError):
    """The rule cannot be used; the text says where, and why."""


class Condition(NamedTuple):
    """One field of a rule."""

    key: str
    name: str
    sign: Literal["==", "!="]
    value: str

    def holds(self, record: Record) -> bool:
        """Whether it holds for this device."""
        found = any(self._fits(text) for text in self._texts(record))
        return found if self.sign == "==" else not found

    def _texts(self, record: Record) -> Iterable[str]:
        own, chain = record.chain[0], record.chain
        match self.key:
            case "DEVPATH":
                return (record.devpath, "/sys" + record.devpath)
            case "ENV":
                return _known(record.properties.get(self.name))
            case "ATTR":
                return _known(own.attributes.get(self.name))
            case "ATTRS":
                return [text for one in chain for text in _known(one.attributes.get(self.name))]
            case "TAG":
                return own.tags
            case "TAGS":
                return [tag for one in chain for tag in one.tags]
        plain = self.key.rstrip("S").lower() if self.key.endswith("S") else self.key.lower()
        return [text for one in (chain if self.key.endswith("S") else (own,)) for text in _known(getattr(one, plain))]

    def _fits(self, text: str) -> bool:
        if any(fnmatch.fnmatchcase(text, part) for part in self.value.split("|")):
            return True
        if self.sign == "==" and self.key in _GLOBS_ALONE:
            return False
        expression = _expression(self.value)
        return expression is not None and expression.fullmatch(text[:_LONGEST]) is not None


class Rule(NamedTuple):
    """One rule; without conditions it holds for everything."""

    conditions: tuple[Condition, ...]

    def holds(self, record: Record) -> bool:
        """Whether all of its conditions hold."""
        return all(one.holds(record) for one in self.conditions)


@lru_cache(maxsize=1024)
def parse(text: str) -> Rule:
    """Read a rule; raise RuleError."""
    if not text:
        return Rule(())
    conditions: list[Condition] = []
    place = 0
    while True:
        match = _CONDITION.match(text, place)
        if match is None:
            found = text[place : place + 20]
            raise RuleError(f"at character {place + 1}: expected something like KERNEL==\"video*\", found '{found}'")
        conditions.append(_condition(match))
        rest = text[match.end() :]
        if not rest.strip():
            return Rule(tuple(conditions))
        comma = re.match(r"\s*,\s*", rest)
        if comma is None:
            raise RuleError(f"at character {match.end() + 1}: conditions are separated by commas")
        place = match.end() + comma.end()


def _condition(match: re.Match[str]) -> Condition:
    key, name, sign, value = match["key"], match["name"], match["sign"], match["value"]
    if key in FOR_RULES_THAT_ACT:
        raise RuleError(f"{key} does something, and rules of a configuration only look: leave it out")
    if key not in (*KEYS, *KEYS_WITH_NAME):
        raise RuleError(f"there is no {key}; there are {', '.join((*KEYS_WITH_NAME, *KEYS))}")
    if (key in KEYS_WITH_NAME) != (name is not None):
        raise RuleError(f"{key} {'needs a name: ' + key + '{idVendor}' if name is None else 'has no name in braces'}")
    if sign not in ("==", "!="):
        raise RuleError(f"{key}{sign}: only == and != are known")
    return Condition(key, name or "", "==" if sign == "==" else "!=", value)


@lru_cache(maxsize=1024)
def _expression(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def _known(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)

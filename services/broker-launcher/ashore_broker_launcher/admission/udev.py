"""The grammar of Akri's `udevRules`, to refuse what no agent would take. Pure.

Agents read rules with their own parser, and a test holds both against the same texts.
"""

import re
from typing import Final

BAD_PERMISSIONS: Final = "Invalid udev discovery details device permissions"
_KEYS: Final = ("DEVPATH", "DRIVER", "DRIVERS", "KERNEL", "KERNELS", "SUBSYSTEM", "SUBSYSTEMS", "TAG", "TAGS")
_KEYS_WITH_NAME: Final = ("ATTR", "ATTRS", "ENV")
_KEYS_THAT_ACT: Final = (
    *("ACTION", "NAME", "SYMLINK", "PROGRAM", "RESULT", "TEST", "CONST", "SECLABEL", "SYSCTL", "RUN", "LABEL", "GOTO"),
    *("IMPORT", "OPTIONS", "OWNER", "GROUP", "MODE", "WAIT_FOR"),
)
_CONDITION: Final = re.compile(r'(?P<key>[A-Z_]+)(?P<name>\{[^}"]*\})?\s*(?P<sign>[=!:+-]?=)\s*"[^"]*"')
_COMMA: Final = re.compile(r"\s*,\s*")


def problem(rule: str) -> str:
    """Why the rule cannot be used; empty where it can. A rule that says nothing holds for everything."""
    place = 0
    while rule:
        match = _CONDITION.match(rule, place)
        if match is None:
            found = rule[place : place + 20]
            return f"at character {place + 1}: expected something like KERNEL==\"video*\", found '{found}'"
        wrong = _wrong(match["key"], match["name"], match["sign"])
        if wrong:
            return wrong
        if not rule[match.end() :].strip():
            return ""
        comma = _COMMA.match(rule, match.end())
        if comma is None:
            return f"at character {match.end() + 1}: conditions are separated by commas"
        place = comma.end()
    return ""


def _wrong(key: str, name: str | None, sign: str) -> str:
    if key in _KEYS_THAT_ACT:
        return f"{key} does something, and rules of a configuration only look: leave it out"
    if key not in (*_KEYS, *_KEYS_WITH_NAME):
        return f"has {key}, which does not exist; there are {', '.join((*_KEYS_WITH_NAME, *_KEYS))}"
    if key in _KEYS_WITH_NAME and name is None:
        return f"{key} needs a name: {key}{{idVendor}}"
    if key in _KEYS and name is not None:
        return f"{key} has no name in braces"
    return "" if sign in ("==", "!=") else f"{key}{sign}: only == and != are known"

"""Patterns of configurations, as in `Axis*`, over what is known of a device."""

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from ashore.events import Value
from ashore_discovery.model import Facts

Glob = Annotated[str, Meta(min_length=1, max_length=256)]
Globs = Annotated[list[Glob], Meta(max_length=64)]


def fits(text: str, pattern: str, *, exactly: bool = False) -> bool:
    """Whether a text looks like the pattern, whatever the case; `exactly`: where the protocol tells cases apart."""
    return fnmatch.fnmatchcase(text, pattern) if exactly else fnmatch.fnmatchcase(text.casefold(), pattern.casefold())


def texts(value: Value | None) -> list[str]:
    """A fact as a list of texts; nothing where it is not known."""
    if isinstance(value, list):
        return value
    return [] if value is None else [str(value)]


def misfit(
    facts: Facts, conditions: Iterable[tuple[Sequence[str], Sequence[str]]], *, exactly: bool = False
) -> str | None:
    """Why a device is not wanted: of each list of patterns one must fit one of the facts; an empty one asks nothing."""
    for wanted, names in conditions:
        found = [text for name in names for text in texts(facts.get(name))]
        if wanted and not any(fits(text, pattern, exactly=exactly) for text in found for pattern in wanted):
            shown = ", ".join(found)[:200] or "not known"
            return f"its {names[0]}: {shown}, and none is like {', '.join(wanted)[:200]}"
    return None

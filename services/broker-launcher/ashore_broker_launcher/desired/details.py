"""`discoveryDetails`: a text of a stranger's, in YAML, read as plain JSON within bounds. Pure.

YAML can say a great deal with few characters: a list of lists of one alias, a thousand brackets, dates and sets. What
handlers understand is JSON, so nothing else comes out of here, and not more of it than people write.
"""

import math
from collections.abc import Iterator
from typing import Final, cast

import yaml

from ashore_broker_launcher.cluster import JsonObject

LONGEST: Final = 64 * 1024
MOST_NODES: Final = 10_000
DEEPEST: Final = 32


class DetailsError(ValueError):
    """The details cannot be read; the text says where, and why."""


def read(text: str) -> JsonObject:
    """The details as an object, which is empty where nothing is said; raise DetailsError."""
    if len(text) > LONGEST:
        raise DetailsError(f"it is longer than {LONGEST} characters")
    try:
        loader = _Loader(text)
        try:
            found = cast(object, loader.get_single_data())
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise DetailsError(f"it is no YAML: {_said(error)}") from error
    except ValueError as error:
        # `2026-99-99` and `0b2` are found out by what makes dates and numbers of them.
        raise DetailsError(f"it is no YAML: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DetailsError(f"it must be names with values (`name: value`), and is {_kind(found)}")
    return cast(JsonObject, _Plain().of(found, ""))


class _Loader(yaml.SafeLoader):
    """Gives up before a text costs much."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """One more of them, and below how many others."""
        self._nodes += 1
        self._depth += 1
        if self._nodes > MOST_NODES:
            raise yaml.YAMLError(f"it has more than {MOST_NODES} values")
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Plain:
    """Makes JSON of what YAML has read; an alias counts as often as it is used."""

    def __init__(self) -> None:
        self._nodes = 0

    def of(self, value: object, place: str, depth: int = 0) -> object:
        """The same, if it is JSON."""
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > DEEPEST:
            raise DetailsError("its aliases make it too large: write out what they stand for, or less of it")
        if isinstance(value, dict):
            return dict(self._items(value, place, depth))
        if isinstance(value, list):
            return [self.of(one, f"{place}[{index}]", depth + 1) for index, one in enumerate(value)]
        if _is_unsendable(value):
            raise DetailsError(f"{place} is no number that can be sent: put it in quotes if it is a text")
        if value is None or isinstance(value, (str, int, float)):
            return value
        raise DetailsError(f"{place} is {_kind(value)}: put it in quotes")

    def _items(self, value: dict[object, object], place: str, depth: int) -> Iterator[tuple[str, object]]:
        for key, one in value.items():
            if not isinstance(key, str):
                raise DetailsError(f"{place or 'it'} has the name {str(key)[:64]}, which is no text: put it in quotes")
            yield key, self.of(one, f"{place}.{key[:64]}".lstrip("."), depth + 1)


def _is_unsendable(value: object) -> bool:
    """Numbers that JSON lacks, or that readers of it cannot hold."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _said(error: yaml.YAMLError) -> str:
    """What the library says, without its picture of the text, which may hold what is nobody's business."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return str(error)[:200].partition("\n")[0]


def _kind(value: object) -> str:
    names = {str: "a text", list: "a list", bool: "on or off", int: "a number", float: "a number", bytes: "binary"}
    return names.get(type(value), f"a {type(value).__name__}")

"""What people have written, held against a JSON Schema: every key that nothing reads, then the first wrong value.

The library checks values. Keys are looked at here first, since it can only say that one is unknown, and a person wants
to hear what was probably meant.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, cast

import fastjsonschema

from ashore_broker_launcher.cluster import JsonObject

Check = Callable[[object], object]
_LONGEST_SHOWN: Final = 64
_MOST_TOLD: Final = 20


class Schema:
    """One schema, made ready when it is first needed."""

    def __init__(self, document: JsonObject) -> None:
        self._document = document
        self._parts = cast(JsonObject, document.get("$defs", {}))

    def problems(self, data: object, place: str) -> list[str]:
        """What is wrong, a sentence each; the place is how the person knows the data."""
        unknown = self.unknown(data, place)
        if unknown:
            return unknown
        return list(self._invalid(self._whole, data, place))

    def unknown(self, data: object, place: str) -> list[str]:
        """A sentence for each key that nothing reads."""
        found = list(self._unknown(self._document, data, place))
        return [*found[:_MOST_TOLD], *([f"and {len(found) - _MOST_TOLD} more"] if len(found) > _MOST_TOLD else [])]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The keys that it knows at its top."""
        return frozenset(self._resolved(self._document).get("properties", {}))

    @cached_property
    def _whole(self) -> Check:
        # It is compiled to Python, which takes as long as a hundred checks.
        return _compiled(self._document, self._parts)

    def _resolved(self, schema: JsonObject) -> JsonObject:
        while "$ref" in schema:
            schema = self._parts[str(schema["$ref"]).rpartition("/")[2]]
        return schema

    def _unknown(self, schema: JsonObject, data: object, place: str) -> Iterator[str]:
        schema = self._resolved(schema)
        for part in schema.get("anyOf", ()):
            yield from self._unknown(part, data, place)
        if isinstance(data, Mapping):
            yield from self._unknown_keys(schema, cast(Mapping[str, object], data), place)
        elif isinstance(data, list) and isinstance(schema.get("items"), dict):
            for index, item in enumerate(data):
                yield from self._unknown(schema["items"], item, f"{place}[{index}]")

    def _unknown_keys(self, schema: JsonObject, data: Mapping[str, object], place: str) -> Iterator[str]:
        fields, others = schema.get("properties"), schema.get("additionalProperties")
        for key, value in data.items():
            if fields is not None and key in fields:
                yield from self._unknown(fields[key], value, f"{place}.{key}")
            elif isinstance(others, dict):
                yield from self._unknown(others, value, f"{place}.{_shown(key)}")
            elif fields is not None and not others:
                yield unknown_key(key, list(fields), place)

    def _invalid(self, check: Check, data: object, place: str) -> Iterator[str]:
        """The first wrong value. A choice between null and something is about the something."""
        try:
            check(data)
        except fastjsonschema.JsonSchemaValueException as error:
            where = place + str(error.name).removeprefix("data")
            choices = [one for one in error.rule_definition if one.get("type") != "null"] if _is_choice(error) else []
            if len(choices) == 1:
                yield from self._invalid(_compiled(choices[0], self._parts), error.value, where)
            else:
                yield f"{where}{str(error.message).removeprefix(str(error.name))}{_given(error)}"


def unknown_key(key: str, known: list[str], place: str) -> str:
    """The sentence about a key that nothing reads."""
    near = difflib.get_close_matches(key[:_LONGEST_SHOWN], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(known)}"
    return f"{place} has no '{_shown(key)}'; {hint}"


def _shown(key: str) -> str:
    return key[:_LONGEST_SHOWN]


def _is_choice(error: fastjsonschema.JsonSchemaValueException) -> bool:
    return error.rule == "anyOf" and isinstance(error.rule_definition, list)


def _given(error: fastjsonschema.JsonSchemaValueException) -> str:
    """What was there instead, where it is short and says something."""
    value: Any = error.value
    return f", not '{value}'" if isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_SHOWN else ""


def _compiled(schema: JsonObject, parts: JsonObject) -> Check:
    return cast(Check, fastjsonschema.compile({**schema, "$defs": parts}, use_default=False))

"""Reading what a person has written: every mistake at once, each with its place and with what was probably meant."""

import difflib
from collections.abc import Iterator, Mapping
from typing import TypeVar, cast

import msgspec
from msgspec import inspect as shape

T = TypeVar("T")


class ConfigurationError(ValueError):
    """What was written cannot be used; `problems` has one sentence for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read(kind: type[T], data: object, place: str) -> T:
    """The data as this Struct; raise ConfigurationError."""
    unknown = list(_unknown(shape.type_info(kind), data, place))
    if unknown:
        raise ConfigurationError(unknown)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise ConfigurationError([f"{place}{where.rstrip('`')}: {what}"]) from error


def _unknown(kind: shape.Type, data: object, place: str) -> Iterator[str]:
    """A sentence for each key that nothing reads."""
    match kind:
        case shape.Metadata():
            yield from _unknown(kind.type, data, place)
        case shape.UnionType():
            parts = [
                part for part in kind.types if isinstance(part, (shape.StructType, shape.ListType, shape.Metadata))
            ]
            for part in parts:
                yield from _unknown(part, data, place)
        case shape.StructType() if isinstance(data, Mapping):
            yield from _unknown_keys(kind, cast("Mapping[object, object]", data), place)
        case shape.ListType() if isinstance(data, list):
            for index, item in enumerate(data):
                yield from _unknown(kind.item_type, item, f"{place}[{index}]")


def _unknown_keys(kind: shape.StructType, data: Mapping[object, object], place: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in kind.fields}
    for key, value in data.items():
        if key in fields:
            yield from _unknown(fields[str(key)].type, value, f"{place}.{key}")
        else:
            near = difflib.get_close_matches(str(key), fields, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known are: {', '.join(fields)}"
            yield f"{place} has no '{str(key)[:64]}'; {hint}"

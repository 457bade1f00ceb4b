"""Lists in pages: which part, and which things at all."""

from collections.abc import Callable, Iterable
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.objects import key_of

T = TypeVar("T")
Name = Annotated[str, Meta(max_length=253)]
MOST_LINES = 1000


class Paging(msgspec.Struct, kw_only=True):
    """Which page of a list."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, Meta(max_length=1024, description="`next` of the page before.")] = ""


class InNamespace(Paging, kw_only=True):
    """Only those of one namespace."""

    namespace: Annotated[Name, Meta(description="Only this namespace.")] = ""


class OfConfiguration(InNamespace, kw_only=True):
    """Only those of one configuration."""

    configuration: Annotated[Name, Meta(description="Only of the configuration of this name.")] = ""


class OfKind(InNamespace, kw_only=True):
    """Only those of one kind."""

    kind: Annotated[Name, Meta(description="Only of this kind: `Pod`, say.")] = ""


class Lines(msgspec.Struct, kw_only=True):
    """How much of a log."""

    lines: Annotated[int, Meta(ge=1, le=MOST_LINES, description="So many of the last lines.")] = 20


def page_of(found: Iterable[T], name: Callable[[T], tuple[str, ...]], paging: Paging) -> tuple[list[T], str | None]:
    """A part of what was found, in the order of names, and the cursor of the next part."""
    named = sorted((("/".join(name(one)), one) for one in found), key=lambda pair: pair[0])
    rest = [pair for pair in named if pair[0] > paging.cursor]
    part = rest[: paging.limit]
    return [one for _, one in part], part[-1][0] if len(rest) > len(part) else None


def within(namespace: str, body: JsonObject) -> bool:
    """Whether an object is in this namespace; an empty one means all."""
    return namespace in ("", key_of(body)[0])

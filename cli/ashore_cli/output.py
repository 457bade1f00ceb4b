"""What commands print: tables for people, JSON or YAML for programs.

Texts may come from devices, so nothing of them is markup, and nothing in them reaches the terminal that it would obey.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from ashore_cli.errors import printable
from ashore_cli.options import Form, Options

if TYPE_CHECKING:
    # rich is slow to import, and JSON needs none of it.
    from rich.console import Console

T = TypeVar("T")

SHORT: Final = 8
_UNBOUNDED: Final = 10_000
_GAP: Final = 2
_NARROWEST: Final = 8
_STYLES: Final = {
    "onboarded": "green",
    "ashore": "green",
    "imported": "green",
    "allow": "green",
    "ok": "green",
    "onboarding": "yellow",
    "failed": "red",
    "refused": "red",
    "deny": "red",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


class Column(NamedTuple, Generic[T]):
    """One column of a table."""

    title: str
    value: Callable[[T], object]
    wraps: bool = False
    """Whether a long text takes several lines; it is cut off otherwise."""


def form(options: Options) -> Form:
    """The form that was asked for, or that suits where the output goes."""
    return options.output or ("table" if sys.stdout.isatty() else "json")


def console(*, stderr: bool = False) -> "Console":
    """The terminal."""
    from rich.console import Console  # noqa: PLC0415 - see the import for typing above

    found = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not found.is_terminal:
        # Nothing is cut off or broken where programs read.
        found.width = _UNBOUNDED
    return found


def show_list(
    items: Sequence[T], columns: Sequence[Column[T]], options: Options, *, empty: str, more: str = ""
) -> None:
    """A list of things; `empty` says what to do when there are none, `more` how to see the rest."""
    if form(options) != "table":
        show_data(list(items), options)
    elif items:
        _print_table(items, columns)
    else:
        console().print(empty)
    if more:
        # A program that got a part must be able to find out, too.
        console(stderr=True).print(more, style="dim")


def show_one(item: T, lines: Sequence[tuple[str, object]], options: Options) -> None:
    """One thing: a line for each fact that is known."""
    if form(options) != "table":
        show_data(item, options)
        return
    _print_facts(lines)


def show_data(value: object, options: Options) -> None:
    """For programs."""
    if form(options) == "yaml":
        from ashore_cli.documents import to_yaml  # noqa: PLC0415 - YAML is slow to import

        sys.stdout.write(to_yaml(value))
        return
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode() + "\n")


def say(text: str) -> None:
    """A sentence for people, where the output is for programs as well."""
    console(stderr=True).print(printable(text))


def short(hexadecimal: str | None) -> str:
    """The beginning of a GUID or a fingerprint: commands take that, too."""
    return (hexadecimal or "")[:SHORT]


def counted(number: int, noun: str) -> str:
    """A number of things: one key, two keys."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def age(moment: datetime | str | None) -> str:
    """How long ago, or until when, in one unit."""
    if not moment:
        return ""
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    seconds = (datetime.now(UTC) - then).total_seconds()
    return f"in {span(-seconds)}" if seconds < 0 else span(seconds)


def span(seconds: float) -> str:
    """A time in one unit."""
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "m")):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def _print_table(items: Sequence[T], columns: Sequence[Column[T]]) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - see the import for typing above
    from rich.table import Table  # noqa: PLC0415 - see the import for typing above
    from rich.text import Text  # noqa: PLC0415 - see the import for typing above

    out = console()
    rows = [[_text(column.value(item)) for column in columns] for item in items]
    lengths = [
        max(cell_len(word) for word in (column.title, *(line for row in rows for line in row[number].split("\n"))))
        for number, column in enumerate(columns)
    ]
    most = widest(lengths, out.width - _GAP * (len(columns) - 1))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wraps else "ellipsis"
        table.add_column(column.title.upper(), no_wrap=not column.wraps, overflow=overflow, max_width=most)
    for row in rows:
        table.add_row(*(Text(word, style=_STYLES.get(word, "")) for word in row))
    out.print(table)


def widest(lengths: Sequence[int], room: int) -> int:
    """How wide a column may be, so that all fit: only the longest give way, and a short word is never cut off."""
    most = max(lengths)
    while most > _NARROWEST and sum(min(length, most) for length in lengths) > room:
        most -= 1
    return most


def _print_facts(lines: Sequence[tuple[str, object]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - see the import for typing above
    from rich.text import Text  # noqa: PLC0415 - see the import for typing above

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for title, value in lines:
        if value not in (None, "", []):
            word = _text(value)
            table.add_row(title, Text(word, style=_STYLES.get(word, "")))
    console().print(table)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case list() | tuple():
            return "\n".join(_text(part) for part in value)
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return printable(str(value))

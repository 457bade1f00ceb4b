"""From what a user types to the namespace and the name of one thing in the cluster."""

from typing import Annotated, Final

from cyclopts import Parameter

from ashore_cli.errors import CommandError

DEFAULT: Final = "default"
Namespace = Annotated[str, Parameter(name=["--namespace", "-n"], help="Its namespace; by default `default`.")]
Namespaces = Annotated[str, Parameter(name=["--namespace", "-n"], help="Only this namespace; by default all.")]


def place(text: str, namespace: str) -> tuple[str, str]:
    """Namespace and name, from `name` or `namespace/name`."""
    before, slash, name = text.rpartition("/")
    if not name or "/" in before or (slash and not before):
        raise CommandError(f"'{text}' is no name", remedy="write NAME, or NAMESPACE/NAME")
    if slash and namespace and before != namespace:
        raise CommandError(f"'{text}' is not in the namespace '{namespace}'", remedy="leave out one of the two")
    return before or namespace or DEFAULT, name


def empty_words(nothing: str, *filters: object) -> str:
    """What to say of an empty list: that there is nothing, unless it is because of what was asked."""
    return "Nothing fits what was asked; without those options all are listed." if any(filters) else nothing


def more_words(more: bool, limit: int) -> str:
    """How to see the rest of a list."""
    return f"There are more: --limit {10 * limit}" if more else ""

"""What a stack tells while it works, and how it fails."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from ashore_cli.errors import CommandError

Kind = Literal["starting", "ready", "stopped", "back", "stopping"]


class Happening(NamedTuple):
    """One thing that happened to one part of the stack."""

    part: str
    """`keys`, `nats` or a service's name."""
    kind: Kind
    text: str = ""


Tell = Callable[[Happening], None]
"""Called at once and never awaited."""


def ignore(_happening: Happening) -> None:
    """Tell nobody."""


class StackError(CommandError):
    """A part of the stack does not start."""


class AlreadyRunning(StackError):  # noqa: N818 - named by the condition that callers act on
    """Another process runs this data folder."""

"""What a device tells its user while it works: one structured event for each thing that happens.

The command line turns them into lines, tests count them, and nobody else needs them.
"""

from collections.abc import Callable
from typing import Literal

import msgspec

Kind = Literal["step", "message", "failed", "waiting", "done"]


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened."""

    kind: Kind
    text: str
    """For people, one line."""
    serial: str = ""
    guid: str = ""
    """Hex, of the credential that is tried."""
    url: str = ""
    message: int = 0
    """Number of the message that was sent."""
    answer: int = 0
    """Number of the message that came back."""
    seconds: float = 0.0
    """How long the exchange took, or how long the device waits."""


Report = Callable[[Progress], None]
"""Called at once and never awaited; it must not block."""


def ignore(_event: Progress) -> None:
    """Tell nobody."""

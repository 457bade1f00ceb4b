"""What every service owes to whoever sends it nonsense: the protocol's own error message, and nothing in its log."""

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.testing import capture_logs

from ashore.fdo.messages import ErrorMessage
from ashore.http.fdo import FdoReply

REFUSALS = frozenset({1, 2, 3, 4, 5, 6, 100, 101, 102})
"""Codes that blame the sender."""
_FAILED_STEP = {68: {500}}
"""What a device is told whose step failed: FDO has no code for it."""

TOKENS = ["", " ", "x", "a" * 5000, "\xff" * 40, "=" * 40, "\x00", "A" * 100, "A" * 101, "AQ" * 200, "..", "\u2603" * 9]
"""What is no token of anybody."""


def told(reply: FdoReply, number: int, name: str) -> int | None:
    """The code of a refusal in the protocol's own form; None for the regular answer, where what came was right."""
    assert reply.status == 200, name
    if reply.number != ErrorMessage.number:
        assert reply.number == number + 1, name
        return None
    error = ErrorMessage.decode(reply.body)
    assert (error.previous, reply.token) == (number, None), name
    assert error.code in REFUSALS | _FAILED_STEP.get(number, set()), f"{name}: {error}"
    assert error.text, name
    return error.code


def altered_tokens(token: str) -> list[str]:
    """The token with each kind of harm done to it."""
    flipped = [token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in (0, 5, 40, -1)]
    return [*TOKENS, *flipped, token[:-1], token + "A", token + "=", token * 2, token.lower(), f"Bearer {token}"]


@contextmanager
def quietly() -> Iterator[None]:
    """No warning, error or traceback is logged meanwhile."""
    with capture_logs() as lines:
        yield
    assert [line for line in lines if line["log_level"] != "info" or "exc_info" in line] == []

"""What can go wrong on the way to a service and back.

ClientError        a service refused; `status` is the HTTP status
+-- Unreachable    no answer came
+-- NotUnderstood  an answer came that this release cannot read
"""

from collections.abc import Sequence


class ClientError(Exception):
    """A service refused: `detail` says what happened, `remedy` what to do next, `errors` each fault by itself."""

    def __init__(self, detail: str, *, remedy: str = "", status: int = 0, errors: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.status = status
        self.errors = list(errors)


class Unreachable(ClientError):  # noqa: N818 - named by the condition that callers wait out
    """No answer came. What was asked may or may not have happened."""


class NotUnderstood(ClientError):  # noqa: N818 - named by what happened to the answer
    """An answer came that this release cannot read."""

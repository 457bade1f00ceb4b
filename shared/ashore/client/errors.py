"""What can go wrong on the way to a service and back.

ClientError        a service refused; `status` is the HTTP status
+-- Unreachable    no answer came
+-- NotUnderstood  an answer came that this release cannot read
"""


class ClientError(Exception):
    """A service refused: `detail` says what happened, `remedy` what to do next."""

    def __init__(self, detail: str, *, remedy: str = "", status: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.status = status


class Unreachable(ClientError):  # noqa: N818 - named by the condition that callers wait out
    """No answer came. What was asked may or may not have happened."""


class NotUnderstood(ClientError):  # noqa: N818 - named by what happened to the answer
    """An answer came that this release cannot read."""

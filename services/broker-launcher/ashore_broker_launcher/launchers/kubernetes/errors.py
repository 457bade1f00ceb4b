"""What an API server's answer means, in the few words of the port."""

from typing import Final

import msgspec

from ashore_broker_launcher.cluster import ClusterError, Conflict, JsonObject, NotFound, Refused, Unreachable
from ashore_broker_launcher.launchers.kubernetes.connection import Answer

_GONE: Final = 410
_WAIT: Final = frozenset({408, 425, 429})
_FAULT: Final = 500
_INVALID: Final = 422
_NO_SUCH_FIELD: Final = "failed to create typed patch object"
"""So says Kubernetes 1.36, with status 500, of an applied field that the kind does not have, of a key that is there
twice, and so on. It is nobody's fault but that of who wrote the object."""
_LONGEST_WAIT: Final = 300.0
_LONGEST_TEXT: Final = 1000


class Expired(ClusterError):  # noqa: N818 - named by the condition that the reflector acts on
    """The version to go on from is too old, or from a future that was undone: everything must be listed again."""


class Cause(msgspec.Struct):
    """One of the reasons."""

    reason: str = ""
    field: str = ""


class Details(msgspec.Struct, rename={"retry_after": "retryAfterSeconds"}):
    """What more is said."""

    causes: list[Cause] | None = None
    retry_after: float = 0


class Status(msgspec.Struct):
    """An API server's own words for what went wrong."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None

    @property
    def causes(self) -> list[Cause]:
        """All reasons below the reason."""
        return (self.details.causes if self.details else None) or []


def said(answer: Answer) -> Status:
    """The Status that an answer holds; with nothing but the code and the text where it holds something else."""
    try:
        status = msgspec.json.decode(answer.body, type=Status)
    except (msgspec.DecodeError, msgspec.ValidationError):
        # What stands before an API server answers in its own way.
        status = Status(message=answer.body[:_LONGEST_TEXT].decode(errors="replace").strip())
    status.code = answer.status
    return status


def told(event: JsonObject) -> Status:
    """The Status that ends a watch."""
    try:
        return msgspec.convert(event, Status)
    except msgspec.ValidationError:
        return Status(message="the API server ends the watch and does not say why", code=_FAULT)


def failure(asked: str, answer: Answer) -> ClusterError:
    """The error for an answer that is none of success; `asked` says what was to be done, to which object."""
    return meaning(asked, said(answer), _retry_after(answer))


def meaning(asked: str, status: Status, retry_seconds: float | None = None) -> ClusterError:
    """The error for a Status."""
    text = f"{asked}: {status.message[:_LONGEST_TEXT] or status.reason or status.code}"
    if status.code == _GONE or any(cause.reason == "ResourceVersionTooLarge" for cause in status.causes):
        return Expired(text)
    if status.code == 404:  # noqa: PLR2004
        return NotFound(text)
    # To apply something for one life of a name changes the uid of the next, in the eyes of the API server.
    if status.code == 409 or any(cause.field == "metadata.uid" for cause in status.causes):  # noqa: PLR2004
        return Conflict(text)
    if _NO_SUCH_FIELD in status.message:
        return Refused(text, _INVALID)
    if status.code >= _FAULT or status.code in _WAIT:
        told = status.details.retry_after if status.details else 0
        return Unreachable(text, retry_seconds if retry_seconds is not None else min(told, _LONGEST_WAIT) or None)
    return Refused(f"{text}{_advice(status.code)}", status.code)


def _retry_after(answer: Answer) -> float | None:
    told = answer.headers.get(b"retry-after", b"")
    return min(float(told), _LONGEST_WAIT) if told.isdigit() else None


def _advice(code: int) -> str:
    if code == 401:  # noqa: PLR2004
        return " (the API server does not know who asks: look at the kubeconfig's user, or the service account's token)"
    if code == 403:  # noqa: PLR2004
        return " (see the ClusterRole of the broker launcher)"
    return ""

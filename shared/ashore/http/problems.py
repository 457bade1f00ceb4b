"""Errors of the management API in one form: `application/problem+json` (RFC 9457) with a remedy.

A handler raises Problem, or an exception of its own that the service maps to a status. Everything else is a fault of
ours: it is logged once, with a reference that the caller is told.
"""

import http
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "type"}):
    """What went wrong, and what to do about it."""

    kind: str
    title: str
    status: int
    detail: str
    remedy: str = ""
    instance: str = ""
    errors: list[str] | msgspec.UnsetType = msgspec.UNSET
    """One sentence for each thing that is wrong, where there are several."""


class Problem(Exception):  # noqa: N818 - the name of the standard
    """An answer that is not the wished one; the detail says what happened, the remedy what to do next."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        remedy: str = "",
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.kind = kind
        self.headers = headers or {}
        self.errors = list(errors)

    def response(self, instance: str = "") -> Response:
        """The HTTP response."""
        document = ProblemDocument(
            kind=self.kind,
            title=http.HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            remedy=self.remedy,
            instance=instance,
            errors=self.errors or msgspec.UNSET,
        )
        return Response(msgspec.json.encode(document), self.status, dict(self.headers), MEDIA_TYPE)


def problem_of(error: Exception, statuses: Mapping[type[Exception], int]) -> Problem:
    """The Problem that an exception stands for: itself, a mapped one with its text, or a fault of ours."""
    if isinstance(error, Problem):
        return error
    status = next((statuses[kind] for kind in type(error).__mro__ if kind in statuses), None)
    if status is not None:
        return Problem(status, str(error), remedy=str(getattr(error, "remedy", "")))
    reference = secrets.token_hex(4)
    log.error("request failed", reference=reference, exc_info=error)
    return Problem(500, "the service failed", remedy=f"look for the reference {reference} in the service's log")

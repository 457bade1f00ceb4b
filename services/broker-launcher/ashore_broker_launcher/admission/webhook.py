"""The admission webhook: the API server asks it about each Configuration before it stores it (AdmissionReview v1).

It answers on `POST /validate`, as Akri's does, over TLS and to whoever asks, since an API server shows no credentials
by default. An answer holds nothing but the question, and what the API server says of the broker in it. An object whose
spec is as it was is let through whatever it says, so that what came in without the webhook can still be labelled,
finalized and deleted.
"""

import asyncio
from typing import Any, Final

import msgspec
import structlog

from ashore.http.problems import Problem
from ashore.http.routes import Request, Route
from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.admission.trial import Checker, Verdict, try_broker
from ashore_broker_launcher.cluster import JsonObject

MOST_BYTES: Final = 8 << 20
"""Two objects of the largest size that etcd takes, and what stands around them."""
_API_VERSION: Final = "admission.k8s.io/v1"
_AT_ONCE: Final = 2
_TRIAL_SECONDS: Final = 2.0
_INVALID: Final = 422
_MOST_TOLD: Final = 20
_LONGEST: Final = 1_000
_CHECKED: Final = ("CREATE", "UPDATE")

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class _Question(msgspec.Struct, frozen=True, rename="camel"):
    uid: str
    operation: str
    namespace: str = ""
    object: JsonObject | None = None
    old_object: JsonObject | None = None


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: _Question


class WebhookApi:
    """What is served; without a cluster the API server is not asked in turn."""

    def __init__(self, rules: checks.Rules, cluster: Checker | None = None) -> None:
        self._rules = rules
        self._cluster = cluster
        self._room = asyncio.Semaphore(_AT_ONCE)

    def routes(self) -> list[Route]:
        """The one route; it asks for no token, since the API server has none."""
        return [
            Route(
                "POST",
                "/validate",
                self._validate,
                summary="Whether a Configuration can work (AdmissionReview v1)",
                request=bytes,
                body_limit=MOST_BYTES,
            )
        ]

    async def _validate(self, request: Request) -> JsonObject:
        question = _decoded(request.payload(bytes))
        verdict = await self._judge(question)
        if verdict.problems:
            log.info("configuration refused", problems=verdict.problems[:_MOST_TOLD], **_named(question))
        return _answer(question.uid, verdict)

    async def _judge(self, question: _Question) -> Verdict:
        body = question.object
        if question.operation not in _CHECKED or body is None or _is_as_before(question):
            return Verdict()
        # A large object takes some tenths of a second, in which other requests and the launcher's work go on.
        async with self._room:
            problems = await asyncio.to_thread(checks.problems, body, self._rules)
            warnings = [] if problems else await asyncio.to_thread(checks.warnings, body)
        if problems or self._cluster is None:
            return Verdict(problems, warnings)
        tried = await self._try(body)
        return Verdict(tried.problems, [*warnings, *tried.warnings])

    async def _try(self, body: JsonObject) -> Verdict:
        try:
            async with asyncio.timeout(_TRIAL_SECONDS):
                return await try_broker(self._cluster, body) if self._cluster is not None else Verdict()
        except TimeoutError:
            return Verdict()


def _decoded(raw: bytes) -> _Question:
    """What the API server asks; raise Problem."""
    try:
        review = msgspec.json.decode(raw, type=_Review)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is no AdmissionReview: {str(error)[:200]}") from error
    if (review.api_version, review.kind) != (_API_VERSION, "AdmissionReview"):
        shown = f"{review.api_version} {review.kind}"[:100]
        raise Problem(400, f"the body is {shown}", remedy=f"send an AdmissionReview of {_API_VERSION}")
    return review.request


def _is_as_before(question: _Question) -> bool:
    old, new = question.old_object, question.object
    return question.operation == "UPDATE" and old is not None and new is not None and old.get("spec") == new.get("spec")


def _answer(uid: str, verdict: Verdict) -> JsonObject:
    response: JsonObject = {"uid": uid, "allowed": not verdict.problems}
    if verdict.problems:
        response["status"] = {"code": _INVALID, "reason": "Invalid", "message": _message(verdict.problems)}
    if verdict.warnings:
        response["warnings"] = [one[:_LONGEST] for one in verdict.warnings[:_MOST_TOLD]]
    return {"apiVersion": _API_VERSION, "kind": "AdmissionReview", "response": response}


def _message(problems: list[str]) -> str:
    shown = [one[:_LONGEST] for one in problems[:_MOST_TOLD]]
    return shown[0] if len(shown) == 1 else "".join(f"\n- {one}" for one in shown)


def _named(question: _Question) -> dict[str, Any]:
    metadata = (question.object or {}).get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return {"namespace": question.namespace[:64], "configuration": str(name)[:253]}

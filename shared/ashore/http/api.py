"""The management API: Structs in and out, problems as errors.

A service lists its Routes; who may call, how a body is checked and what the OpenAPI document says follow from them.
Starlette gives the matching of paths and the request; there is no middleware and no injection. FDO is not here, see
`fdo.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ashore.http.auth import Auth
from ashore.http.jobs import Direct
from ashore.http.openapi import openapi
from ashore.http.problems import Problem, problem_of
from ashore.http.routes import Request, Route

_SAFE: Final = frozenset({"GET", "HEAD"})


def api(
    routes: Sequence[Route],
    *,
    auth: Auth,
    title: str,
    version: str,
    problems: Mapping[type[Exception], int] | None = None,
) -> ASGIApp:
    """The ASGI application of these routes and of `/openapi.json`; `problems` maps a service's errors to statuses."""
    described = [*routes, _document_route(routes, title, version)]
    by_path: dict[str, dict[str, _Operation]] = {}
    for route in described:
        by_path.setdefault(route.path, {})[route.method] = _Operation(route)
    statuses = problems or {}
    resources = [StarletteRoute(path, _Resource(methods, auth, statuses)) for path, methods in by_path.items()]
    return Router(resources, redirect_slashes=False, default=_nowhere)


class _Resource:
    """Everything at one path."""

    def __init__(
        self, operations: dict[str, "_Operation"], auth: Auth, statuses: Mapping[type[Exception], int]
    ) -> None:
        self._operations = operations
        self._auth = auth
        self._statuses = statuses
        if "GET" in operations:
            operations["HEAD"] = operations["GET"]
        self._allowed = ", ".join(sorted(operations))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - each becomes a problem document; ours are logged there
            response = problem_of(error, self._statuses).response(request.url.path)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        operation = self._operations.get(request.method)
        if operation is None:
            raise Problem(
                405, f"{request.method} is not possible here, but {self._allowed}", headers={"Allow": self._allowed}
            )
        if not self._auth.enabled:
            _refuse_foreign_page(request)
        request.principal = self._auth.require(request.headers.get("authorization"), operation.route.scope)
        return await operation.run(request)


class _Operation:
    """A route with its decoder, made once."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self._decode: Callable[[bytes], object] | None = None
        if route.request not in (None, bytes):
            self._decode = msgspec.json.Decoder(route.request).decode

    async def run(self, request: Request) -> Response:
        if self.route.query is not None:
            request.decoded_query = _query(request, self.route.query)
        if self.route.request is not None:
            request.decoded_body = await self._body(request)
        result = await self.route.handler(request)
        if isinstance(result, Response):
            return result
        if result is None:
            return Response(status_code=204 if self.route.status == 200 else self.route.status)  # noqa: PLR2004 - an HTTP status
        return Response(msgspec.json.encode(result), self.route.status, media_type="application/json")

    async def _body(self, request: Request) -> object:
        if self._decode is not None:
            _require_json(request)
        raw = await _read(request, self.route.body_limit)
        if self._decode is None:
            return raw
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            raise Problem(422, f"the body is not what this operation takes: {error}", remedy=_SEE) from error
        except msgspec.DecodeError as error:
            raise Problem(400, f"the body is not JSON: {error}") from error


_SEE: Final = "see /openapi.json for the shape"


class Application(NamedTuple):
    """What a service serves: devices below `/fdo/`, all else by the API."""

    api: ASGIApp
    fdo: Direct | None = None


def _document_route(routes: Sequence[Route], title: str, version: str) -> Route:
    kept: list[bytes] = []

    async def document(_request: Request) -> Response:
        if not kept:
            # Made when first asked for: it takes some milliseconds that a start need not spend.
            kept.append(msgspec.json.encode(openapi(routes, title=title, version=version)))
        return Response(kept[0], media_type="application/json")

    return Route("GET", "/openapi.json", document, summary="This API, as OpenAPI 3.1")


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    path = str(scope["path"])
    problem = Problem(404, f"there is nothing at {path}", remedy="see /openapi.json for what there is")
    await problem.response(path)(scope, receive, send)


async def _read(request: Request, limit: int) -> bytes:
    """The body; raise Problem 413 before more than `limit` bytes are in memory."""
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> Problem:
    # What is still under way of the body is not worth reading.
    return Problem(
        413, f"a body has at most {limit} bytes here", remedy="send it in parts", headers={"Connection": "close"}
    )


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        # A browser sends this type to a foreign host only after asking it, which keeps other sites' pages out.
        raise Problem(415, f"the body's type is '{kind}'", remedy="send 'Content-Type: application/json'")


def _refuse_foreign_page(request: Request) -> None:
    """Where no token is asked for, the pages of other sites must not act through a visitor's browser."""
    origin = request.headers.get("origin")
    if origin and request.method not in _SAFE and origin.partition("://")[2] != request.headers.get("host"):
        raise Problem(403, f"the page of {origin} may not change anything here", remedy="set ASHORE_AUTH to on")


def _query(request: Request, kind: Any) -> object:
    """The query string as a Struct; parameters that the Struct does not have are refused, as they would do nothing."""
    lists = {field.encode_name for field in msgspec.structs.fields(kind) if _takes_list(field.type)}
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    given = request.query_params
    unknown = sorted(set(given) - known)
    if unknown:
        raise Problem(422, f"there is no parameter '{unknown[0]}'", remedy=f"there are {', '.join(sorted(known))}")
    values: dict[str, object] = {name: given.getlist(name) if name in lists else given[name] for name in given}
    try:
        return cast("object", msgspec.convert(values, kind, strict=False))
    except msgspec.ValidationError as error:
        raise Problem(422, f"the query is not what this operation takes: {error}", remedy=_SEE) from error


def _takes_list(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    while isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    return isinstance(info, msgspec.inspect.CollectionType)

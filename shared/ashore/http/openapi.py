"""The OpenAPI 3.1 document of a list of routes, from the same Structs that check the requests.

Nothing is written twice: paths, parameters, bodies, scopes and errors all come from Route and from the types' own
descriptions.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ashore.http.problems import MEDIA_TYPE, ProblemDocument
from ashore.http.routes import Route

Json = dict[str, Any]
_PARAMETER: Final = re.compile(r"{(\w+)(?::\w+)?}")
_REFERENCES: Final = "#/components/schemas/{name}"
_RAW: Final[Json] = {"application/octet-stream": {}, "text/plain": {}, "application/x-pem-file": {}}


def openapi(routes: Sequence[Route], *, title: str, version: str) -> Json:
    """The document, ready to be encoded as JSON."""
    kinds = [kind for route in routes for kind in (route.request, route.response) if _is_json(kind)]
    schemas, components = msgspec.json.schema_components([*kinds, ProblemDocument], ref_template=_REFERENCES)
    schema_of = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=False)}
    paths: dict[str, Json] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {
                "Problem": {
                    "description": "What went wrong and what to do, as RFC 9457 says",
                    "content": {MEDIA_TYPE: {"schema": schemas[-1]}},
                }
            },
        },
    }


def _operation(route: Route, schema_of: dict[int, Json]) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "responses": {
            str(route.status): _response(route, schema_of),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if route.tags:
        operation["tags"] = list(route.tags)
    if parameters := [*_path_parameters(route), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.request is not None:
        content = _RAW if route.request is bytes else _json_content(schema_of[id(route.request)])
        operation["requestBody"] = {"required": True, "content": content}
    if route.scope is not None:
        operation["security"] = [{"token": [route.scope]}]
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", route.path.removeprefix("/api/v1")))
    return "_".join([route.method.lower(), *words])


def _response(route: Route, schema_of: dict[int, Json]) -> Json:
    response: Json = {"description": route.summary}
    if _is_json(route.response):
        response["content"] = _json_content(schema_of[id(route.response)])
    elif route.response is not None:
        response["content"] = {"text/plain": {}} if route.response is str else {"application/octet-stream": {}}
    return response


def _path_parameters(route: Route) -> list[Json]:
    names = _PARAMETER.findall(route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[Json]:
    if route.query is None:
        return []
    _, components = msgspec.json.schema_components([route.query], ref_template=_REFERENCES)
    schema = components[route.query.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": value}
        for name, value in schema["properties"].items()
    ]


def _json_content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _is_json(kind: Any) -> bool:
    return kind is not None and kind not in (bytes, str)

"""The management API: a real server on loopback."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
import pytest
import pytest_asyncio
from msgspec import Meta
from starlette.responses import StreamingResponse

from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.fdo import FdoEndpoint
from ashore.http.problems import Problem
from ashore.http.routes import Request, Route
from tests.contract.http_kit import Answer, Echo, Running, request, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
READER = f"reader:read:{hashlib.sha256(b'readers-token').hexdigest()}"
ADMIN = {"Authorization": "Bearer admins-token"}
JSON = {"Content_Type": "application/json"}


class Ship(msgspec.Struct):
    """What comes ashore."""

    name: Annotated[str, Meta(min_length=1, description="Its name.")]
    masts: int = 3


class Filter(msgspec.Struct):
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    flags: list[str] = []
    old: bool = False


class ShipUnknownError(Exception):
    remedy = "import it first"


async def build_ship(call: Request) -> Ship:
    return call.payload(Ship)


async def list_ships(call: Request) -> list[Ship]:
    wanted = call.filters(Filter)
    return [Ship(flag, wanted.limit) for flag in wanted.flags or [call.principal.name]]


async def find_ship(call: Request) -> Ship:
    raise ShipUnknownError(f"there is no ship {call.path_params['name']}")


async def scrap_ship(_call: Request) -> None:
    return None


async def take_papers(call: Request) -> dict[str, int]:
    return {"size": len(call.payload(bytes))}


async def sink(_call: Request) -> None:
    raise RuntimeError("the password is hunter2")


async def refuse(_call: Request) -> None:
    raise Problem(409, "the ship is at sea", remedy="wait for it", kind="urn:ashore:problem:at-sea")


async def signals(_call: Request) -> StreamingResponse:
    async def lamp() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"flash\n"
            await asyncio.sleep(0)

    return StreamingResponse(lamp(), media_type="text/event-stream")


ROUTES = [
    Route("POST", "/api/v1/ships", build_ship, "Build", scope="write", request=Ship, response=Ship, status=201),
    Route("GET", "/api/v1/ships", list_ships, "List", scope="read", response=list[Ship], query=Filter, tags=["ships"]),
    Route("GET", "/api/v1/ships/{name}", find_ship, "Find", scope="read", response=Ship),
    Route("DELETE", "/api/v1/ships/{name}", scrap_ship, "Scrap", scope="write"),
    Route("POST", "/api/v1/papers", take_papers, "Papers", scope="write", request=bytes, body_limit=2000),
    Route("POST", "/api/v1/storms", sink, "Sink"),
    Route("POST", "/api/v1/voyages", refuse, "Refuse"),
    Route("GET", "/api/v1/signals", signals, "Signals"),
]


def application(auth: Auth) -> Application:
    management = api(ROUTES, auth=auth, title="harbour", version="1.2", problems={ShipUnknownError: 404})
    return Application(api=management, fdo=FdoEndpoint(Echo()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Running]:
    async with running(application(Auth.of("admins-token", READER))) as site:
        yield site


def problem(answer: Answer) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, object] = msgspec.json.decode(answer.body)
    assert content["status"] == answer.status
    return content


async def build(site: Running, body: bytes, **headers: str) -> Answer:
    return await site.ask(request("POST", "/api/v1/ships", body, **(headers or {**ADMIN, **JSON})))


async def test_a_struct_goes_in_and_comes_out(site: Running) -> None:
    answer = await build(site, b'{"name":"Fram"}')
    assert (answer.status, answer.json()) == (201, {"name": "Fram", "masts": 3})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b'{"name":1}', 422, "Expected `str`, got `int` - at `$.name`"),
        (b'{"name":""}', 422, "Expected `str` of length >= 1 - at `$.name`"),
        (b"{}", 422, "missing required field `name`"),
        (b'{"name":"Fram"', 400, "is not JSON"),
        (b"", 400, "is not JSON"),
        (b"[" * 5000, 422, "Expected `object`"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_with_the_place(
    site: Running, body: bytes, status: int, detail: str
) -> None:
    answer = await build(site, body)
    assert answer.status == status
    assert detail in str(problem(answer)["detail"])


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_called_json_is_refused_with_the_remedy(site: Running, kind: str) -> None:
    answer = await build(site, b'{"name":"Fram"}', **ADMIN, Content_Type=kind)
    assert (answer.status, problem(answer)["remedy"]) == (415, "send 'Content-Type: application/json'")


async def test_a_body_of_any_kind_is_taken_where_the_route_says_so(site: Running) -> None:
    answer = await site.ask(request("POST", "/api/v1/papers", b"-----BEGIN", Content_Type="text/plain", **ADMIN))
    assert answer.json() == {"size": 10}


async def test_a_body_larger_than_the_routes_limit_is_refused(site: Running) -> None:
    assert (await site.ask(request("POST", "/api/v1/papers", bytes(2001), **ADMIN))).status == 413
    chunked = request("POST", "/api/v1/papers", **ADMIN, Transfer_Encoding="chunked") + b"7d1\r\n" + bytes(2001)
    assert (await site.ask(chunked + b"\r\n0\r\n\r\n")).status == 413


async def test_a_chunked_body_is_taken(site: Running) -> None:
    chunked = (
        request("POST", "/api/v1/papers", **ADMIN, Transfer_Encoding="chunked") + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    assert (await site.ask(chunked)).json() == {"size": 3}


@pytest.mark.parametrize(
    ("query", "ships"),
    [
        ("", [{"name": "admin", "masts": 10}]),
        ("?limit=5&flags=no&flags=se", [{"name": "no", "masts": 5}, {"name": "se", "masts": 5}]),
        ("?flags=n%C3%B8", [{"name": "n\u00f8", "masts": 10}]),
    ],
)
async def test_the_query_is_typed(site: Running, query: str, ships: list[object]) -> None:
    assert (await site.ask(request("GET", f"/api/v1/ships{query}", **ADMIN))).json() == ships


@pytest.mark.parametrize("query", ["limit=many", "limit=0", "size=3", "old=perhaps"])
async def test_a_query_that_would_do_nothing_is_refused(site: Running, query: str) -> None:
    answer = await site.ask(request("GET", f"/api/v1/ships?{query}", **ADMIN))
    assert answer.status == 422
    problem(answer)


async def test_a_services_own_error_becomes_its_status_with_text_and_remedy(site: Running) -> None:
    answer = await site.ask(request("GET", "/api/v1/ships/Titanic", **ADMIN))
    assert problem(answer) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is no ship Titanic",
        "remedy": "import it first",
        "instance": "/api/v1/ships/Titanic",
    }


async def test_a_problem_is_answered_as_raised(site: Running) -> None:
    content = problem(await site.ask(request("POST", "/api/v1/voyages", b"")))
    assert (content["status"], content["type"], content["remedy"]) == (409, "urn:ashore:problem:at-sea", "wait for it")


async def test_a_fault_of_ours_tells_a_reference_and_nothing_else(site: Running) -> None:
    answer = await site.ask(request("POST", "/api/v1/storms", b""))
    assert answer.status == 500
    assert "look for the reference" in str(problem(answer)["remedy"])
    assert b"hunter2" not in answer.body


async def test_nothing_to_say_is_no_content(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(request("DELETE", "/api/v1/ships/Fram", **ADMIN))
        assert (await connection.answer(head_only=True)).status == 204


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(site: Running) -> None:
    assert "there is nothing at /api/v2" in str(problem(await site.ask(request("GET", "/api/v2")))["detail"])
    answer = await site.ask(request("PUT", "/api/v1/ships", b""))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    problem(answer)


async def test_head_is_get_without_the_body(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(request("HEAD", "/openapi.json"))
        length = (await connection.answer(head_only=True)).headers["content-length"]
        assert len((await connection.ask(request("GET", "/openapi.json"))).body) == int(length)


async def test_a_response_can_be_a_stream(site: Running) -> None:
    async with site.connection() as connection:
        connection.send(request("GET", "/api/v1/signals", Connection="close"))
        text = await connection.reader.read()
    assert b"transfer-encoding: chunked" in text
    assert text.count(b"flash\n") == 3


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YWRtaW46eA==", "admins-token", "Bearer \u00e9"]
)
async def test_a_stranger_is_asked_for_a_token(site: Running, authorization: str) -> None:
    data = request("GET", "/api/v1/ships", Authorization=authorization)
    answer = await site.ask(data)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "admin-token" in str(problem(answer)["remedy"])


async def test_a_token_opens_only_what_its_scopes_say(site: Running) -> None:
    reader = {"Authorization": "Bearer readers-token"}
    assert (await site.ask(request("GET", "/api/v1/ships", **reader))).json()[0]["name"] == "reader"
    assert (await build(site, b'{"name":"Fram"}', **reader, **JSON)).status == 403


async def test_with_auth_off_anybody_may_but_no_foreign_web_page() -> None:
    async with running(application(Auth([], enabled=False))) as site:
        assert (await build(site, b'{"name":"Fram"}', **JSON)).status == 201
        assert (await build(site, b'{"name":"Fram"}', **JSON, Origin="http://localhost")).status == 201
        for foreign in ("http://evil.example", "null", "http://[", "localhost"):
            papers = request("POST", "/api/v1/papers", b"x", Origin=foreign)
            assert (await site.ask(papers)).status == 403, foreign


async def test_devices_and_managers_share_the_port(site: Running) -> None:
    answer = await site.ask(request("POST", "/fdo/101/msg/60", b"\x80"))
    assert answer.headers["message-type"] == "61"


async def test_the_document_describes_every_operation(site: Running) -> None:
    document = (await site.ask(request("GET", "/openapi.json"))).json()
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "harbour", "version": "1.2"}
    listed = document["paths"]["/api/v1/ships"]["get"]
    assert [parameter["name"] for parameter in listed["parameters"]] == ["limit", "flags", "old"]
    assert listed["security"] == [{"token": ["read"]}]
    built = document["paths"]["/api/v1/ships"]["post"]
    assert built["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Ship"}
    assert document["components"]["schemas"]["Ship"]["properties"]["name"]["description"] == "Its name."
    assert document["paths"]["/api/v1/ships/{name}"]["get"]["parameters"][0]["in"] == "path"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {(route.method, route.path) for route in ROUTES} <= described


async def test_operation_ids_are_unique(site: Running) -> None:
    paths = (await site.ask(request("GET", "/openapi.json"))).json()["paths"]
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(names) == len(set(names))

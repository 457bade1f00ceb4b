"""How `ashore.client` takes what services answer: structures, refusals, silence and nonsense."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from ashore.client import BusPlace, Client, ClientError, Context, NotUnderstood, Place, Unreachable
from ashore.client.connection import collect
from ashore.client.rendezvous import RegistrationPage
from ashore.config import Secret
from ashore.http.api import Application, api
from ashore.http.auth import Auth
from ashore.http.problems import Problem
from ashore.http.routes import Request, Route
from tests.contract.http_kit import running

TOKEN = "the-token"
REGISTRATION = {
    "guid": "0" * 32,
    "owner_key": "a" * 64,
    "manufacturer_key": "b" * 64,
    "sales": 1,
    "addresses": ["http://owner:8042"],
    "registered_at": "2026-05-31T12:00:00Z",
    "expires_at": "2026-06-01T12:00:00Z",
    "a_field_of_a_later_release": 1,
}


async def registrations(request: Request) -> Response:
    start = int(request.query_params.get("cursor") or 0)
    size = int(request.query_params["limit"])
    items = [{**REGISTRATION, "guid": f"{number:032}"} for number in range(start, min(start + size, 450))]
    return JSONResponse({"items": items, "next": str(start + size) if start + size < 450 else None})


async def registration(request: Request) -> Response:
    guid = request.path_params["guid"]
    if guid == "nonsense":
        return Response(b"<html>", media_type="text/html")
    if guid == "half":
        return JSONResponse({"guid": guid})
    raise Problem(404, f"there is no {guid}", remedy="register it")


async def rule(request: Request) -> Response:
    return JSONResponse({"kind": "owner", "id": request.path_params["name"], **request.payload(dict)})


@asynccontextmanager
async def client(token: str | None = TOKEN) -> AsyncIterator[Client]:
    routes = [
        Route("GET", "/api/v1/registrations", registrations, "List", "read"),
        Route("GET", "/api/v1/registrations/{guid}", registration, "Show", "read"),
        Route("PUT", "/api/v1/rules/owner/{name}", rule, "Put", "write", request=dict),
    ]
    app = Application(api=api(routes, auth=Auth.of(TOKEN), title="rendezvous", version="1"), fdo=None)
    async with running(app) as server, Client(context(f"http://127.0.0.1:{server.port}", token)) as made:
        yield made


def context(url: str, token: str | None = None) -> Context:
    place = Place(url=url, token=Secret(token) if token else None)
    return Context(data_dir=Path("none"), services={"rendezvous": place}, nats=BusPlace(url="nats://127.0.0.1:4222"))


async def test_pages_are_gathered_up_to_the_limit() -> None:
    async with client() as made:

        async def page(limit: int, cursor: str | None) -> RegistrationPage:
            return await made.rendezvous.registrations(limit=limit, cursor=cursor)

        some, more = await collect(page, 201)
        everything, no_more = await collect(page, 1000)

    assert ([one.guid for one in some], more) == ([f"{number:032}" for number in range(201)], True)
    assert (len(everything), no_more) == (450, False)


async def test_pages_are_gathered_up_to_the_limit_of_what_is_wanted() -> None:
    async with client() as found:
        items, more = await collect(
            lambda size, cursor: found.rendezvous.registrations(limit=size, cursor=cursor),
            3,
            lambda one: one.guid.endswith("00"),
        )

    assert [int(one.guid) for one in items] == [0, 100, 200]
    assert more


async def test_who_has_no_token_is_led_to_the_data_folder_and_who_has_a_wrong_one_is_not() -> None:
    for token, led in ((None, True), ("wrong", False)):
        async with client(token) as found:
            with pytest.raises(ClientError) as caught:
                await found.rendezvous.registration("1")
        assert ("--data" in caught.value.remedy) is led


async def test_a_refusal_carries_status_words_and_remedy() -> None:
    async with client() as made:
        with pytest.raises(ClientError) as caught:
            await made.rendezvous.registration("missing")

    assert caught.value.status == 404
    assert "there is no missing" in caught.value.detail
    assert caught.value.remedy == "register it"


@pytest.mark.parametrize("token", [None, "another"])
async def test_without_the_token_the_remedy_names_the_variables(token: str | None) -> None:
    async with client(token) as made:
        with pytest.raises(ClientError) as caught:
            await made.rendezvous.registration("missing")

    assert caught.value.status == 401
    assert "ASHORE_TOKEN_FILE" in caught.value.remedy
    assert "ASHORE_RENDEZVOUS_TOKEN_FILE" in caught.value.remedy


@pytest.mark.parametrize("guid", ["nonsense", "half"])
async def test_an_answer_that_is_none_of_ours_is_told_as_such(guid: str) -> None:
    async with client() as made:
        with pytest.raises(NotUnderstood, match="cannot be read"):
            await made.rendezvous.registration(guid)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://", "ftp://127.0.0.1", "nonsense", "http://[::1"])
async def test_where_nobody_answers_the_remedy_says_how_to_name_the_place(url: str) -> None:
    async with Client(context(url)) as made:
        with pytest.raises(Unreachable) as caught:
            await made.rendezvous.rules()

    assert "--rendezvous-url" in caught.value.remedy


async def test_an_order_arrives_as_json() -> None:
    async with client() as made:
        found = await made.rendezvous.put_rule("owner", "ab" * 32, "deny", "no")

    assert (found.kind, found.id, found.verdict, found.comment) == ("owner", "ab" * 32, "deny", "no")


async def test_a_token_is_in_no_error() -> None:
    async with Client(context("http://127.0.0.1:9", TOKEN)) as made:
        with pytest.raises(Unreachable) as caught:
            await made.rendezvous.rules()

    assert TOKEN not in repr(caught.value) + str(caught.value)
    assert TOKEN not in repr(made.context)

"""One service over HTTP: requests with the token, answers as Structs, refusals as ClientError."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

import httpx
import msgspec

from ashore.client.context import Place, shown, variable
from ashore.client.errors import ClientError, NotUnderstood, Unreachable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Query = Mapping[str, str | int | None]

MOST: Final = 200
"""Items in one page."""
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")
_REASONS: Final = {
    "All connection attempts failed": "nothing listens there",
    "WRONG_VERSION_NUMBER": "it speaks no TLS, so its URL begins with http://",
    "missing an 'http://'": "a URL begins with http:// or https://",
    "without sending a response": "what listens there speaks no HTTP, or TLS only",
}
"""What libraries say, and what that means for who gave the address."""


class ReadinessCheck(msgspec.Struct, frozen=True):
    """One thing that a service needs."""

    ready: bool
    reason: str = ""
    remedy: str = ""
    errors: list[str] = []


class Readiness(msgspec.Struct, frozen=True):
    """Whether a service can do its work."""

    ready: bool
    checks: dict[str, ReadinessCheck]
    at: datetime | None = None
    """The service's clock, where it tells the time."""


class Page(Protocol[T_co]):
    """A part of a list, and the cursor of the next part."""

    @property
    def items(self) -> Sequence[T_co]:
        """The items of this part."""
        ...

    @property
    def next(self) -> str | None:
        """Where the next part begins."""
        ...


class _Problem(msgspec.Struct):
    """What a service says of a refusal (RFC 9457)."""

    title: str = ""
    detail: str = ""
    remedy: str = ""
    errors: list[str] = []


class Connection:
    """What the client of each service is made of."""

    def __init__(self, http: httpx.AsyncClient, name: str, place: Place) -> None:
        self.name = name
        self.url = place.url
        self._http = http
        self._headers = {"Authorization": f"Bearer {place.token.reveal()}"} if place.token else {}

    async def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """Read something."""
        return self._decode(await self._send("GET", path, query=query), kind)

    async def get_bytes(self, path: str) -> bytes:
        """Read something that is not JSON."""
        return (await self._send("GET", path)).content

    async def send(self, method: str, path: str, body: object, kind: type[T], query: Query | None = None) -> T:
        """Change something; bytes are sent as they are, everything else as JSON."""
        return self._decode(await self._send(method, path, body, query), kind)

    async def order(self, method: str, path: str, body: object = None) -> bytes:
        """Change something whose answer matters to nobody, or is no JSON."""
        return (await self._send(method, path, body)).content

    async def readiness(self) -> Readiness:
        """Whether the service can do its work."""
        response = await self._request("GET", "/readyz")
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
            raise self._refused(response)
        return msgspec.structs.replace(self._decode(response, Readiness), at=_date(response.headers.get("Date")))

    async def _send(self, method: str, path: str, body: object = None, query: Query | None = None) -> httpx.Response:
        response = await self._request(method, f"/api/v1{path}", body, query)
        if response.is_success:
            return response
        raise self._refused(response)

    async def _request(self, method: str, path: str, body: object = None, query: Query | None = None) -> httpx.Response:
        content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        headers = dict(self._headers)
        if content is not None:
            headers["Content-Type"] = "application/octet-stream" if content is body else "application/json"
        params = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return await self._http.request(method, self.url + path, content=content, headers=headers, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"the {self.name} service cannot be reached at {shown(self.url)}: {_reason(error)}",
                remedy=f"start it (`ashore up`), or say where it is: --{self.name}-url or {variable(self.name)}_URL",
            ) from error

    def _decode(self, response: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.MsgspecError as error:
            raise NotUnderstood(
                f"the {self.name} service at {shown(self.url)} gave an answer that cannot be read: {error}",
                remedy="check that the address is right, and use the same release on both sides",
                status=response.status_code,
            ) from error

    def _refused(self, response: httpx.Response) -> ClientError:
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.MsgspecError:
            problem = _Problem()
        detail = problem.detail or problem.title or f"the answer was {response.status_code} {response.reason_phrase}"
        remedy = problem.remedy
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            token = f"its token: ASHORE_TOKEN_FILE=PATH, or {variable(self.name)}_TOKEN_FILE=PATH"
            folder = "" if self._headers else "name the data folder of what runs on this machine: --data PATH; else "
            remedy = f"{folder}give {token}"
        text = f"the {self.name} service refused: {detail}"
        return ClientError(text, remedy=remedy, status=response.status_code, errors=problem.errors)


async def collect(
    fetch: Callable[[int, str | None], Awaitable[Page[T]]], most: int, wanted: Callable[[T], bool] | None = None
) -> tuple[list[T], bool]:
    """Up to `most` wanted items of a list that comes in pages, and whether there may be more."""
    found: list[T] = []
    cursor: str | None = None
    while True:
        page = await fetch(min(MOST, most - len(found)), cursor)
        found += page.items if wanted is None else filter(wanted, page.items)
        cursor = page.next
        if cursor is None or len(found) >= most:
            return found, cursor is not None


def _reason(error: Exception) -> str:
    text = _ERRNO.sub("", str(error)) or type(error).__name__
    return next((words for sign, words in _REASONS.items() if sign in text), text)


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None

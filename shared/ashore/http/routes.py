"""Routes as data: what a service writes down of its management API, and what its handlers are given.

`api.py` serves them and `openapi.py` describes them. A handler takes a Request and returns a Struct (or whatever
msgspec encodes), a Response, or None for an empty answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from starlette.requests import Request as StarletteRequest

from ashore.http.auth import ANYBODY, Principal, Scope

T = TypeVar("T")

BODY_LIMIT: Final = 1 << 20
LARGEST_BODY: Final = 64 << 20
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Request(StarletteRequest):
    """A request whose caller, query and body have been checked."""

    principal: Principal = ANYBODY
    decoded_body: object = None
    decoded_query: object = None

    def payload(self, kind: type[T]) -> T:
        """The body, as the route's `request` type."""
        return _as(kind, self.decoded_body)

    def filters(self, kind: type[T]) -> T:
        """The query string, as the route's `query` type."""
        return _as(kind, self.decoded_query)


Handler = Callable[[Request], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `scope` None is open to anybody; `request` bytes takes any body as it is, for PEM and CBOR."""

    method: Method
    path: str
    handler: Handler
    summary: str
    scope: Scope | None = None
    request: type[Any] | None = None
    response: type[Any] | None = None
    query: type[Any] | None = None
    status: int = 200
    tags: Sequence[str] = ()
    body_limit: int = BODY_LIMIT

    def __post_init__(self) -> None:
        if self.body_limit > LARGEST_BODY:
            raise ValueError(f"{self.method} {self.path}: a body has at most {LARGEST_BODY} bytes")


def _as(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"the route does not declare {kind.__name__}")
    return value

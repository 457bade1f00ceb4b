"""One request of the management API, as ASGI sees it: a scope, `receive` and `send`.

Streams (server-sent events) learn by `http.disconnect` that their client is gone, or that the service stops; what they
still send is written as long as the connection takes it.
"""

import asyncio
import urllib.parse
from typing import Final

import httptools
import structlog
from starlette.types import ASGIApp, Message, Scope

from ashore.http import wire
from ashore.http.jobs import Headers, Job, Line

_HIGH_WATER: Final = 65_536
"""How much of a body may wait for the application before the client has to pause."""
_LARGEST_SKIPPED: Final = 1 << 20
_BODILESS: Final = frozenset({204, 304})

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def scope_of(method: str, target: bytes, version: str, headers: Headers) -> Scope:
    """The request's own part of the scope; raise httptools.HttpParserError for a target that is none."""
    url = httptools.parse_url(target)
    path = url.path or b"/"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "method": method,
        "path": urllib.parse.unquote(path.decode("ascii", "replace")),
        "raw_path": path,
        "query_string": url.query or b"",
        "root_path": "",
        "headers": headers,
    }

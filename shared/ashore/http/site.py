"""What a server is for: devices below `/fdo/`, the management API everywhere else.

What devices ask never becomes ASGI, because their path is the one that has to be short.
"""

import asyncio
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import httptools
from starlette.types import ASGIApp, Scope

from ashore.http import wire
from ashore.http.asgi import Cycle
from ashore.http.jobs import Direct, Job, Letter, Line, Ready
from ashore.http.reading import Reader

_LARGEST_SKIPPED: Final = 1 << 20


class Times(NamedTuple):
    """How long clients may take, in seconds."""

    read: float = 30.0
    """Until a request has arrived; a larger body gets a second more for each 16 kB that came."""
    write: float = 30.0
    """Until an answer is read, once the buffers are full; a larger one gets a second more for each 16 kB."""
    keep_alive: float = 75.0
    """Until the next request."""
    sweep: float = 1.0
    """How often it is looked after that."""


@dataclass(slots=True)
class Site:
    """What all connections of a server share."""

    api: ASGIApp
    fdo: Direct | None
    loop: asyncio.AbstractEventLoop
    times: Times
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, line: Line, reader: Reader) -> Job:
        """The job for a request whose headers are there; raise httptools.HttpParserError for a target that is none."""
        url = httptools.parse_url(reader.target)
        # A target in absolute form may have no path.
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        headers = dict(reader.headers)
        if self.fdo is not None and path.startswith("/fdo/"):
            return _direct(self.fdo, line, reader, path, headers)
        scope = {**_scope(reader, path, raw_path, url.query or b""), **line.ends()}
        return Cycle(
            line,
            self.api,
            scope,
            keep_alive=reader.keep_alive(headers),
            expects=_expects(headers, reader),
            costly=_is_costly(headers),
        )


def _direct(fdo: Direct, line: Line, reader: Reader, path: str, headers: Mapping[bytes, bytes]) -> Job:
    keep_alive = reader.keep_alive(headers)
    admitted = fdo.admit(reader.method(), path, headers, line.peer)
    if isinstance(admitted, wire.Answer):
        # A body that is a little too long is skipped, so that the client reads the answer before it sees a hang-up.
        return Ready(line, admitted, keep_alive=keep_alive and not _is_costly(headers))
    return Letter(line, admitted, keep_alive=keep_alive, expects=_expects(headers, reader))


def _scope(reader: Reader, path: str, raw_path: bytes, query: bytes) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": reader.version(),
        "method": reader.method().decode("ascii"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": reader.headers,
    }


def _expects(headers: Mapping[bytes, bytes], reader: Reader) -> bool:
    """Whether the client waits for a word before it sends the body; HTTP/1.0 has no such word."""
    return headers.get(b"expect", b"").lower() == b"100-continue" and reader.version() != "1.0"


def _is_costly(headers: Mapping[bytes, bytes]) -> bool:
    """Whether hanging up is better than skipping the body of a request that is answered without it.

    It is where the body is long, of unknown length, or perhaps never sent because the client was not told to.
    """
    if b"transfer-encoding" in headers or b"expect" in headers:
        return True
    return int(headers.get(b"content-length", b"0")) > _LARGEST_SKIPPED

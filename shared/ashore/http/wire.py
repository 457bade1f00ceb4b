"""The bytes of HTTP/1.1 that the server writes: status lines, heads, and what it says before it hangs up.

Heads are kept without their end, because only the connection knows whether it will close: it adds END or CLOSE.
"""

import http
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

END: Final = b"\r\n"
CLOSE: Final = b"connection: close\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What would end a header, and begin another one that nobody wrote (RFC 9110, section 5.5)."""


class Answer(NamedTuple):
    """A whole response, its head without the empty line at the end."""

    head: bytes
    body: bytes = b""
    close: bool = False


def head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Status line and headers; raise ValueError for a header that would break out of its line."""
    parts = [status_line(status)]
    for name, value in headers:
        if _FORBIDDEN.search(name) or _FORBIDDEN.search(value):
            raise ValueError(f"the header {name!r} cannot be sent: it holds a control character")
        parts.append(b"%b: %b\r\n" % (name, value))
    return b"".join(parts)


def status_line(status: int) -> bytes:
    """The first line of a response; a status that HTTP does not know has no phrase."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


_STATUS_LINES: Final = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode("ascii")) for status in http.HTTPStatus
}


def _farewell(status: int) -> Answer:
    return Answer(head(status, [(b"content-length", b"0")]), close=True)


MALFORMED: Final = _farewell(400)
TOO_SLOW: Final = _farewell(408)
TOO_MANY: Final = _farewell(429)
TOO_LARGE: Final = _farewell(431)
FAILED: Final = _farewell(500)
FULL: Final = _farewell(503)

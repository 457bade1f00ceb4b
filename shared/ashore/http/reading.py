"""From bytes to requests, within bounds: httptools' parser, and what it leaves to its user.

The parser refuses what can be read in two ways (RFC 9112, section 6.3: two lengths, a length and chunks, an unknown
coding). It knows no limit to headers, and it stops after the headers of a request that offers another protocol, as
Java's client does with every first one; none is ever taken up here, so the body of such a request is read without it.
"""

from collections.abc import Callable, Mapping
from typing import Final

import httptools
import structlog

from ashore.http import wire
from ashore.http.jobs import Headers, Job

HEADER_LIMIT: Final = 16_384
MOST_HEADERS: Final = 128
"""Each costs some 130 bytes of memory, however short it is, and a slow client could hold thousands."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault of ours
    """What came is not a request; the connection ends with this answer."""

    def __init__(self, answer: wire.Answer) -> None:
        super().__init__(answer.head)
        self.answer = answer


class Reader:
    """The requests of one connection; `begin` is called with each when its headers are there, and gives its job."""

    def __init__(self, begin: Callable[["Reader"], Job], clock: Callable[[], float]) -> None:
        self._begin = begin
        self._clock = clock
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._unparsed = 0
        self._unread = 0
        self.arriving = False
        """Whether a request has begun and is not all there."""
        self.since = 0.0
        """When the last request began to arrive; 0 before the first."""
        self.received = 0
        """How much came of its body."""
        self.target = b""
        self.headers: Headers = []
        self.job: Job | None = None
        """What the request became, once its headers were there."""

    def feed(self, data: bytes) -> None:
        """Take what came; raise Refusal."""
        self._unparsed += len(data)
        try:
            while data:
                data = self._read_past_parser(data) if self._unread else self._parse(data)
        except httptools.HttpParserError as error:
            raise _refusal(error) from error
        if self._unparsed > HEADER_LIMIT or len(self.headers) > MOST_HEADERS:
            raise Refusal(wire.TOO_LARGE)

    def stop(self) -> None:
        """Take nothing more, and let go of everything: parser, job and connection all refer to one another."""
        self._parser = None
        self._begin = _begin_nothing
        self.job = None
        self.arriving = False

    @property
    def stopped(self) -> bool:
        """Whether nothing more is taken."""
        return self._parser is None

    def method(self) -> bytes:
        """Of the request whose headers have just come, as the following two."""
        return self._parser.get_method() if self._parser else b""

    def version(self) -> str:
        """`1.1` or `1.0`."""
        return self._parser.get_http_version() if self._parser else ""

    def keep_alive(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the client wants to go on; one of HTTP/1.0 does not, whatever it says."""
        if self._parser is None or not self._parser.should_keep_alive():
            return False
        # Only with a Connection header does the parser say yes for HTTP/1.0, and to ask for the version is dear.
        return b"connection" not in headers or self._parser.get_http_version() != "1.0"

    def on_message_begin(self) -> None:
        """The parser found the first byte of a request."""
        self.arriving = True
        self.since = self._clock()
        self.received = 0
        self.target = b""

    def on_url(self, part: bytes) -> None:
        """The target, or a part of it."""
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are of no interest."""
        if self.job is None:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The headers are all there."""
        if len(self.headers) > MOST_HEADERS or (self._unparsed > HEADER_LIMIT and self._header_size() > HEADER_LIMIT):
            raise Refusal(wire.TOO_LARGE)
        self._unparsed = 0
        if self._parser is not None and self._parser.should_upgrade():
            self._unread = self._length_past_parser()
        self.job = self._begin(self)
        self.job.opened()

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        self._unparsed = 0
        self.received += len(part)
        if self.job is not None:
            self.job.take(part)

    def on_message_complete(self) -> None:
        """The request is all there, unless the parser only thinks so."""
        if self._unread:
            return
        self._unparsed = 0
        self.arriving = False
        # An idle connection must not keep what its last request was made of.
        job, self.job, self.headers = self.job, None, []
        if job is not None:
            job.complete()

    def _parse(self, data: bytes) -> bytes:
        """Parse all of it, or up to the body of a request that offers another protocol; the rest is returned."""
        if self._parser is not None:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                return data[int(offer.args[0]) :]
        return b""

    def _read_past_parser(self, data: bytes) -> bytes:
        part, rest = data[: self._unread], data[self._unread :]
        self._unread -= len(part)
        self.on_body(part)
        if not self._unread:
            self.on_message_complete()
        return rest

    def _length_past_parser(self) -> int:
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            raise Refusal(wire.MALFORMED)
        return int(headers.get(b"content-length", b"0"))

    def _header_size(self) -> int:
        return len(self.target) + sum(len(name) + len(value) for name, value in self.headers)


def _begin_nothing(_reader: Reader) -> Job:
    raise Refusal(wire.MALFORMED)


def _refusal(error: httptools.HttpParserError) -> Refusal:
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        log.error("request failed", exc_info=cause)
        return Refusal(wire.FAILED)
    return Refusal(wire.MALFORMED)

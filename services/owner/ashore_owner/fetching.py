"""One file from a URL, for a profile: bounded in size and time, and only from networks that the operator allows.

A URL in a profile makes this service send a request from within its network, so where it leads is checked as one checks
a stranger: the name is resolved once, each address is judged, and the connection goes to an address that was judged,
whatever the name means a moment later. A redirect is a new URL and is judged again. Proxies of the environment are not
used: behind one nobody knows where a request ends.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httptools

from ashore_owner.networks import Networks

SECONDS: Final = 900.0
"""How long one file may take."""
_IDLE_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
_REDIRECTS: Final = 5
_PIECE: Final = 65_536
_HEAD_LIMIT: Final = 65_536
_PORTS: Final = {"http": 80, "https": 443}
_OK: Final = 200
_MOVED: Final = (301, 302, 303, 307, 308)


class Unfetched(Exception):  # noqa: N818 - what became of the file
    """The file cannot be had; the text says why, and what to do."""


class Target(NamedTuple):
    """A URL, taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """For people: what follows a `?` may be a secret."""
        return f"{self.scheme}://{self.authority}{self.path.partition('?')[0]}"

    @property
    def authority(self) -> str:
        """Host and port, as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Take a URL apart; raise Unfetched for one that is not plainly http or https."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path.encode("ascii")
        (host or "").encode("idna")
    except ValueError as error:
        raise Unfetched(f"a URL of the profile cannot be read ({error}): correct it") from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or not path.isprintable() or " " in path:
        raise Unfetched("a URL of the profile is not of the form http(s)://HOST[:PORT]/PATH: correct it")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path)


async def fetch(
    url: str, write: Callable[[bytes], None], *, networks: Networks, limit: int, tls: ssl.SSLContext | None = None
) -> None:
    """Fetch a file, and hand it to `write` piece by piece; raise Unfetched."""
    target = parse(url)
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(_REDIRECTS + 1):
                location = await _get(target, write, networks, limit, tls)
                if location is None:
                    return
                target = _next(target, location)
    except TimeoutError as error:
        raise Unfetched(f"{target.shown} took too long") from error
    except (OSError, httptools.HttpParserError) as error:
        raise Unfetched(f"{target.shown} cannot be fetched: {error or type(error).__name__}") from error
    raise Unfetched(f"{parse(url).shown} was redirected more than {_REDIRECTS} times")


def _next(target: Target, location: str) -> Target:
    found = parse(urljoin(f"{target.scheme}://{target.authority}{target.path}", location))
    if target.scheme == "https" and found.scheme != "https":
        raise Unfetched(f"{target.shown} redirects from https to http, which is not followed")
    return found


async def _get(
    target: Target, write: Callable[[bytes], None], networks: Networks, limit: int, tls: ssl.SSLContext | None
) -> str | None:
    """One request; the answer is where it is redirected to."""
    reader, writer = await _connect(target, await _addresses(target, networks), tls)
    try:
        writer.write(
            f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: ashore-owner\r\n"
            "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n".encode()
        )
        response = _Response(target, write, limit)
        while not response.complete:
            async with asyncio.timeout(_IDLE_SECONDS):
                piece = await reader.read(_PIECE)
            if not piece:
                response.end()
                break
            response.feed(piece)
        return response.location
    finally:
        writer.close()


async def _addresses(target: Target, networks: Networks) -> list[str]:
    """The addresses of the host that may be used; raise Unfetched where there is none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Unfetched(f"{target.host} has no address ({error.strerror}): check the URL in the profile") from error
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    allowed = [address for address in addresses if networks.allow(address)]
    if not allowed:
        raise Unfetched(
            f"{target.host} is at {', '.join(addresses)}, from where this service may not fetch anything: "
            "allow the network with ASHORE_DOWNLOAD_NETWORKS, or change the URL in the profile"
        )
    return allowed


async def _connect(
    target: Target, addresses: Sequence[str], tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failure = OSError("it has no address")
    context, name = None, None
    if target.scheme == "https":
        context, name = tls or ssl.create_default_context(), target.host
    for address in addresses:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(address, target.port, ssl=context, server_hostname=name)
        except OSError as error:
            failure = error
    raise failure


class _Response:
    """What comes, as httptools' parser tells it."""

    def __init__(self, target: Target, write: Callable[[bytes], None], limit: int) -> None:
        self._target = target
        self._write = write
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._head = 0
        self._length = 0
        self._begun = False
        self.complete = False
        self.location: str | None = None

    def feed(self, data: bytes) -> None:
        """Take what came; raise Unfetched."""
        if not self._begun:
            self._head += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            # What a callback raises comes wrapped.
            cause = error.__cause__ or error.__context__
            raise cause if isinstance(cause, Unfetched | OSError) else error from None
        if not self._begun and self._head > _HEAD_LIMIT:
            raise Unfetched(f"{self._target.shown} answers with more than {_HEAD_LIMIT} bytes of headers")

    def end(self) -> None:
        """The connection has ended, which may be the end of the file."""
        if not self._begun or b"content-length" in self._headers or b"transfer-encoding" in self._headers:
            raise Unfetched(f"{self._target.shown} broke off after {self._length} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """See httptools. Answers below 200 announce another one."""
        status = self._parser.get_status_code()
        if status < _OK:
            self._headers.clear()
            return
        self._begun = True
        if status in _MOVED and b"location" in self._headers:
            self.location, self.complete = self._headers[b"location"].decode("latin-1"), True
        elif status != _OK:
            raise Unfetched(f"{self._target.shown} answered with status {status}")
        elif int(self._headers.get(b"content-length", b"0")) > self._limit:
            raise self._too_long()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        if self.complete:
            return
        self._length += len(body)
        if self._length > self._limit:
            raise self._too_long()
        self._write(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self.complete = self._begun

    def _too_long(self) -> Unfetched:
        return Unfetched(
            f"{self._target.shown} has more than {self._limit} bytes: raise ASHORE_DOWNLOAD_LIMIT, or use a `wget` step"
        )

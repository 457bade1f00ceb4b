"""One exchange over HTTP with somebody who is not trusted: no redirects, and a limit for time, headers and body.

`http.client` writes and reads it; its own limits end neither an answer that drips, nor one of negative length.
"""

import http.client
import ipaddress
import re
import select
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import urlsplit

LARGEST_ANSWER: Final = 256 * 1024
"""No camera says more of itself."""
_TARGET: Final = re.compile(r"/[!-~]{0,1023}")
_BLOCK: Final = 64 * 1024

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = list[Network]


class NotThereError(Exception):
    """Nobody took the connection."""


class LostError(Exception):
    """The connection broke, or time ran out, before there was a whole answer."""


class BadAnswerError(Exception):
    """The answer is too large, or no HTTP."""


class Readable(Protocol):
    """What a body is read from."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102 - see io.BufferedReader


@dataclass(frozen=True)
class Place:
    """Where a URL leads."""

    host: str
    port: int
    target: str
    tls: bool

    @property
    def authority(self) -> str:
        """As the header `Host` says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    challenges: list[str]
    """All values of `WWW-Authenticate`."""
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent; the body comes in blocks, since an image is not held in memory."""

    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    length: int = 0


def place(url: str) -> Place | None:
    """Where an http(s) URL leads; none where it is no such URL, or carries a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or not _TARGET.fullmatch(target):
        return None
    tls = parts.scheme == "https"
    return Place(host, port or (443 if tls else 80), target, tls)


def networks(text: str) -> Networks:
    """Networks, separated by spaces or commas; raise ValueError."""
    return [ipaddress.ip_network(one, strict=False) for one in text.replace(",", " ").split()]


def allows(allowed: Sequence[Network], address: str) -> bool:
    """Whether an address lies in one of them; raise ValueError where it is none."""
    found = ipaddress.ip_address(address)
    # What is written as IPv6 and leads to IPv4 is judged by where it leads.
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in allowed)


def trusting(ca_file: str) -> ssl.SSLContext:
    """For cameras: with an authority all is checked, without one nothing, since they sign their own certificates."""
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def exchange(where: Place, request: Request, seconds: float, tls: ssl.SSLContext | None = None) -> Answer:
    """Send it and read the answer; raise NotThereError, LostError, BadAnswerError."""
    with opened(where, request, seconds, tls) as response:
        body = b"".join(blocks(response, LARGEST_ANSWER))
        return Answer(response.status, response.headers.get_all("WWW-Authenticate", []), body)


@contextmanager
def opened(
    where: Place, request: Request, seconds: float, tls: ssl.SSLContext | None = None, *, address: str = ""
) -> Iterator[http.client.HTTPResponse]:
    """Send it; the answer has its headers, and its body is yet to be read, within the same seconds."""
    raw = _connected(address or where.host, where.port, seconds)
    # A second handle, since TLS takes the first for itself. Whoever waits then sees the connection end.
    guard = raw.dup()
    timer = threading.Timer(seconds, _shut, [guard])
    timer.daemon = True
    timer.start()
    try:
        sock = (tls or trusting("")).wrap_socket(raw, server_hostname=where.host) if where.tls else raw
        with sock:
            yield _sent(where, request, sock)
        _in_time(timer)
    except (OSError, http.client.RemoteDisconnected, http.client.IncompleteRead, EOFError) as error:
        late = "" if timer.is_alive() else f" within {seconds:g} s"
        raise LostError(f"{where.authority} gave no whole answer{late}: {error or type(error).__name__}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise BadAnswerError(f"{where.authority} does not speak HTTP as it should: {str(error)[:200]!r}") from error
    finally:
        timer.cancel()
        guard.close()
        raw.close()


def _connected(address: str, port: int, seconds: float) -> socket.socket:
    try:
        return socket.create_connection((address, port), seconds)
    except OSError as error:
        raise NotThereError(f"nobody answers at {address} port {port}: {error}") from error


def _in_time(timer: threading.Timer) -> None:
    # What has no length looks complete when it is cut.
    if not timer.is_alive():
        raise EOFError("cut")


def _shut(guard: socket.socket) -> None:
    with suppress(OSError):
        guard.shutdown(socket.SHUT_RDWR)


def _sent(where: Place, request: Request, sock: socket.socket) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(where.host, where.port)
    connection.sock = sock
    connection.putrequest(request.method, where.target, skip_host=True, skip_accept_encoding=True)
    headers = {"Host": where.authority, "Connection": "close", **request.headers}
    if request.method == "POST":
        headers["Content-Length"] = str(request.length)
    for name, value in headers.items():
        connection.putheader(name, value.encode())
    # Who has refused already may have closed, and its answer is still to be read.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.endheaders()
        for block in request.body:
            if _has_answered(sock):
                break
            connection.send(block)
    return connection.getresponse()


def _has_answered(sock: socket.socket) -> bool:
    # TLS has words of its own to say while nothing was answered.
    if isinstance(sock, ssl.SSLSocket) or not select.select([sock], [], [], 0)[0]:
        return False
    # "100 Continue" is no answer; some say it without being asked.
    return not sock.recv(12, socket.MSG_PEEK).endswith(b" 100")


def blocks(response: http.client.HTTPResponse, largest: int) -> Iterator[bytes]:
    """The body; raise BadAnswerError where it is longer."""
    left = largest
    for block in _chunks(response) if response.chunked else iter(lambda: response.read(_BLOCK), b""):
        left -= len(block)
        if left < 0:
            raise BadAnswerError(f"an answer of more than {largest} bytes")
        yield block
    if response.length:
        # http.client says nothing of it.
        raise EOFError(f"{response.length} bytes are missing")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    # http.client believes a chunk of -1 bytes, and reads for ever.
    while True:
        size = int(response.fp.readline(64).partition(b";")[0].strip() or b"none", 16)
        if size == 0:
            return
        if not 0 < size <= LARGEST_ANSWER:
            raise BadAnswerError(f"a chunk of {size} bytes")
        block = response.fp.read(size)
        if len(block) < size:
            raise EOFError("a chunk is cut")
        yield block
        response.fp.readline(8)

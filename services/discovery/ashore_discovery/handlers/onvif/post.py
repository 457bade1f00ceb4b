"""One POST over HTTP, to an address that a stranger has named: no redirects, no names, a limit for everything.

aiohttp would cost an edge node 11 MB to do this.
"""

import asyncio
import ipaddress
import re
import ssl
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

LARGEST_BODY: Final = 256 * 1024
MOST_HEADERS: Final = 64
LONGEST_LINE: Final = 8 * 1024
_TARGET: Final = re.compile(r"/[!-~]{0,1023}")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r?\n)")


class PostError(Exception):
    """There was no answer that could be used; the text says why."""


class Place(NamedTuple):
    """Where a URL leads."""

    host: str
    """An address, with its scope where it is one of a link."""
    port: int
    target: str
    tls: bool

    @property
    def authority(self) -> str:
        """As the header `Host` says it, without a scope."""
        host = self.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        """The first value of a header, in lower case; empty if there is none."""
        return next(iter(self.all(name)), "").lower()


def place(url: str, interface: str | None = None) -> Place | None:
    """Where an http(s) URL leads; none where it is no such URL, names a host instead of an address, or is malformed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        address = ipaddress.ip_address(host.partition("%")[0])
        # What is written as IPv6 and leads to IPv4 is judged by where it leads.
        address = getattr(address, "ipv4_mapped", None) or address
    except ValueError:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme not in ("http", "https") or parts.username is not None or not _TARGET.fullmatch(target):
        return None
    # The scope that the device has written is the name of an interface of its own.
    host = f"{address}%{interface}" if address.version == 6 and address.is_link_local and interface else str(address)  # noqa: PLR2004
    tls = parts.scheme == "https"
    return Place(host, port or (443 if tls else 80), target, tls)


async def post(where: Place, body: bytes, headers: dict[str, str]) -> Answer:
    """Send it and read the answer; raise PostError. Whoever calls has a timeout around it."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(
            where.host, where.port, limit=LONGEST_LINE, ssl=_tls() if where.tls else None
        )
        writer.write(_head(where, body, headers) + body)
        return await _answer(reader)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise PostError(f"{where.authority}: {error!r}") from error
    finally:
        if writer is not None:
            # Not waited for: a device that does not end its side must not keep us.
            with suppress(OSError, RuntimeError):
                writer.transport.abort()


def _tls() -> ssl.SSLContext:
    """Cameras sign their certificates themselves; no secret is sent through this in the clear."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _head(where: Place, body: bytes, headers: dict[str, str]) -> bytes:
    lines = {"Host": where.authority, "Content-Length": str(len(body)), "Connection": "close", **headers}
    if any("\r" in value or "\n" in value for value in lines.values()):
        raise ValueError("a line break in a header")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {where.target} HTTP/1.1\r\n{text}\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    status = 100
    headers: list[tuple[str, str]] = []
    while status < 200:  # noqa: PLR2004 - 100 Continue comes before the answer
        found = _STATUS.match(await reader.readline())
        if found is None:
            raise ValueError("no answer of HTTP")
        status = int(found[1])
        headers = await _headers(reader)
    answer = Answer(status, headers, b"")
    if "chunked" in answer.get("transfer-encoding"):
        return answer._replace(body=await _chunks(reader))
    length = answer.get("content-length")
    if not length:
        return answer._replace(body=await _rest(reader))
    if not (length.isascii() and length.isdigit()) or int(length[:10]) > LARGEST_BODY or len(length) > 10:  # noqa: PLR2004
        raise ValueError(f"a body of {length[:32]} bytes, and {LARGEST_BODY} are taken")
    return answer._replace(body=await reader.readexactly(int(length)))


async def _headers(reader: asyncio.StreamReader) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while (line := await reader.readline()) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n") or len(found) >= MOST_HEADERS:
            raise ValueError("headers without end")
        name, _, value = line.decode("latin-1").partition(":")
        found.append((name.strip().lower(), value.strip()))
    return found


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readline()).partition(b";")[0].strip()[:8] or b"x", 16)
        if size == 0:
            return body
        if size < 0 or len(body) + size > LARGEST_BODY:
            raise ValueError(f"a chunk of {size} bytes after {len(body)}, and {LARGEST_BODY} are taken")
        body += await reader.readexactly(size)
        await reader.readline()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while data := await reader.read(LARGEST_BODY + 1 - len(body)):
        body += data
        if len(body) > LARGEST_BODY:
            raise ValueError(f"more than {LARGEST_BODY} bytes")
    return body

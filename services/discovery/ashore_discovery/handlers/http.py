"""One question over HTTP, to an address that a stranger has named: no redirects, no names, a limit for everything.

aiohttp would cost an edge node 11 MB to do this.
"""

import asyncio
import ipaddress
import re
import ssl
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from ashore_discovery.handlers.addresses import bracketed, with_port

LARGEST_BODY: Final = 256 * 1024
"""Nobody says more of himself."""
MOST_HEADERS: Final = 64
LONGEST_LINE: Final = 8 * 1024
_TARGET: Final = re.compile(r"/[!-~]{0,1023}")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r?\n)")


class HttpError(Exception):
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
        return bracketed(host) if self.port == (443 if self.tls else 80) else with_port(host, self.port)


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


async def ask(
    where: Place,
    headers: dict[str, str],
    body: bytes | None = None,
    *,
    largest: int = LARGEST_BODY,
) -> Answer:
    """POST the body, or GET where there is none; raise HttpError. Whoever calls has a timeout around it.

    Where nobody takes the connection, that is the cause of the error: an OSError.
    """
    writer = None
    try:
        reader, writer = await asyncio.open_connection(
            where.host, where.port, limit=LONGEST_LINE, ssl=_tls() if where.tls else None
        )
        writer.write(_head(where, headers, body) + (body or b""))
        return await read(reader, largest)
    except OSError as error:
        raise HttpError(f"{where.authority}: {error!r}") from error
    except (EOFError, asyncio.LimitOverrunError, ValueError) as error:
        raise HttpError(f"{where.authority} does not speak HTTP as it should: {error!r}") from error
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


def _head(where: Place, headers: dict[str, str], body: bytes | None) -> bytes:
    method, length = ("GET", {}) if body is None else ("POST", {"Content-Length": str(len(body))})
    lines = {"Host": where.authority, **length, "Connection": "close", **headers}
    if any("\r" in value or "\n" in value for value in lines.values()):
        raise ValueError("a line break in a header")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {where.target} HTTP/1.1\r\n{text}\r\n".encode()


async def read(reader: asyncio.StreamReader, largest: int = LARGEST_BODY) -> Answer:
    """An answer; raise ValueError, EOFError, LimitOverrunError."""
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
        return answer._replace(body=await _chunks(reader, largest))
    length = answer.get("content-length")
    if not length:
        return answer._replace(body=await _rest(reader, largest))
    if not (length.isascii() and length.isdigit()) or int(length[:10]) > largest or len(length) > 10:  # noqa: PLR2004
        raise ValueError(f"a body of {length[:32]} bytes, and {largest} are taken")
    return answer._replace(body=await reader.readexactly(int(length)))


async def _headers(reader: asyncio.StreamReader) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    while (line := await reader.readline()) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n") or len(found) >= MOST_HEADERS:
            raise ValueError("headers without end")
        name, _, value = line.decode("latin-1").partition(":")
        found.append((name.strip().lower(), value.strip()))
    return found


async def _chunks(reader: asyncio.StreamReader, largest: int) -> bytes:
    body = b""
    while True:
        size = int((await reader.readline()).partition(b";")[0].strip()[:8] or b"x", 16)
        if size == 0:
            return body
        if size < 0 or len(body) + size > largest:
            raise ValueError(f"a chunk of {size} bytes after {len(body)}, and {largest} are taken")
        body += await reader.readexactly(size)
        await reader.readline()


async def _rest(reader: asyncio.StreamReader, largest: int) -> bytes:
    body = b""
    while data := await reader.read(largest + 1 - len(body)):
        body += data
        if len(body) > largest:
            raise ValueError(f"more than {largest} bytes")
    return body

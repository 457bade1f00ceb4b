"""How messages travel: the port `Transport`, and HTTP (FDO 1.1, section 4.3) with httpx behind it.

One transport serves any number of devices at once and keeps its connections alive. Redirects are not followed, since
nothing in FDO redirects. What comes back is bounded in size and in time, because it may come from anybody. The session
token is handed through: who keeps it is `dialogue`.
"""

import asyncio
import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

import httpx
import msgspec

from ashore import cbor
from ashore.fdo.errors import MessageBodyError, PeerError
from ashore.fdo.messages import ErrorMessage
from ashore_device.errors import TransportError
from ashore_device.pinning import Pins, context_of, find_authority, spying_context

LARGEST_ANSWER: Final = cbor.MAX_SIZE
"""Bytes: the limit of an FDO message."""
_CBOR: Final = "application/cbor"
_OK: Final = 200
_FIRST_ERROR: Final = 400
_LONGEST_NUMBER: Final = 3
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")


class Reply(NamedTuple):
    """What a service answered."""

    number: int
    body: bytes
    token: str | None
    """The session token, where the answer carries one."""


class Transport(Protocol):
    """A way to the services."""

    async def post(self, url_base: str, number: int, body: bytes, token: str | None) -> Reply:
        """Send one message and give the answer.

        Raise TransportError where nothing usable comes back, PeerError where message 255 does.
        """

    def pinned(self, pins: Pins) -> "Transport":
        """The same way, to a server with the certificate that the rendezvous info names."""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to believe over https. FDO proves the owner by itself; TLS keeps onlookers away."""

    ca_file: Path | None = None
    """Own authorities in PEM, in place of the system's."""
    insecure: bool = False
    """Believe anybody: for tests."""

    def context(self) -> ssl.SSLContext:
        """For a client; raise TransportError where the authorities cannot be read."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise TransportError(f"{self.ca_file} holds no certificates in PEM: {error}; give another file") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class HttpTransport:
    """Transport over HTTP. `timeout`: seconds for one exchange, from the connection to the answer's last byte."""

    def __init__(self, *, tls: Tls | None = None, timeout: float = 60.0, proxy: str | None = None) -> None:
        self._context = (tls or Tls()).context()
        self._timeout = timeout
        self._proxy = proxy
        self._client = self.client(self._context)
        self._pinned: dict[Pins, _PinnedTransport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._pinned.values():
            await transport.aclose()
        await self._client.aclose()

    async def post(self, url_base: str, number: int, body: bytes, token: str | None) -> Reply:
        """Send one message and give the answer."""
        return await self.exchange(self._client, url_base, number, body, token)

    def pinned(self, pins: Pins) -> Transport:
        """The same way, to a server with the certificate that the rendezvous info names."""
        if not pins:
            return self
        if pins not in self._pinned:
            self._pinned[pins] = _PinnedTransport(self, pins)
        return self._pinned[pins]

    def client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        """Connections that are made with this context."""
        # The environment's proxies are for programs that fetch from the internet; devices mostly talk to neighbours.
        return httpx.AsyncClient(
            verify=context,
            timeout=self._timeout,
            proxy=self._proxy,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            headers={"Accept-Encoding": "identity", "User-Agent": "ashore-device"},
        )

    async def certificates(self, url: str) -> list[bytes]:
        """The certificates that the server shows, and those of the authorities that are trusted here, in DER."""
        seen: list[bytes] = []
        async with self.client(spying_context(seen)) as client:
            try:
                async with asyncio.timeout(self._timeout):
                    await client.get(url)
            except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                if not seen:
                    raise TransportError(f"{url} cannot be reached: {_reason(error)}") from error
        return [*seen, *self._context.get_ca_certs(binary_form=True)]

    async def exchange(
        self, client: httpx.AsyncClient, url_base: str, number: int, body: bytes, token: str | None
    ) -> Reply:
        """Send one message over these connections."""
        url = f"{url_base.rstrip('/')}/fdo/101/msg/{number}"
        headers = {"Content-Type": _CBOR}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with (
                asyncio.timeout(self._timeout),
                client.stream("POST", url, content=body, headers=headers) as response,
            ):
                return _reply(response, number, await _read(response))
        except TimeoutError as error:
            raise TransportError(f"{url} did not answer within {self._timeout:g} seconds; try again later") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise TransportError(f"{url} cannot be reached: {_reason(error)}") from error


class _PinnedTransport:
    """To servers that are known by a certificate. Which authority that is, its first connection finds out."""

    def __init__(self, base: HttpTransport, pins: Pins) -> None:
        self._base = base
        self._pins = pins
        self._client: httpx.AsyncClient | None = None

    def pinned(self, pins: Pins) -> Transport:
        """See Transport."""
        return self._base.pinned(pins)

    async def post(self, url_base: str, number: int, body: bytes, token: str | None) -> Reply:
        """See Transport."""
        if self._client is None:
            context = context_of(await self._authority(url_base), self._pins.server)
            # Another device may have found it out meanwhile.
            self._client = self._client or self._base.client(context)
        return await self._base.exchange(self._client, url_base, number, body, token)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _authority(self, url_base: str) -> bytes | None:
        if self._pins.authority is None:
            return None
        return find_authority(self._pins.authority, await self._base.certificates(url_base))


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > LARGEST_ANSWER:
            raise TransportError(f"{response.url} answered with more than {LARGEST_ANSWER} bytes: it is no FDO service")
    return bytes(body)


def _reply(response: httpx.Response, number: int, body: bytes) -> Reply:
    """Status 200 carries the number in Message-Type; with an error status only message 255 is believed."""
    if response.status_code >= _FIRST_ERROR and response.headers.get("Content-Type") == _CBOR:
        raise _peer_error(number, body)
    if response.status_code != _OK:
        raise TransportError(f"{response.url} answered with status {response.status_code}: is it an FDO service?")
    text = response.headers.get("Message-Type", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise TransportError(f"{response.url} answered without a Message-Type: is it an FDO service?")
    if int(text) == ErrorMessage.number:
        raise _peer_error(number, body)
    return Reply(int(text), body, _token(response.headers.get("Authorization")))


def _peer_error(number: int, body: bytes) -> PeerError:
    try:
        message = ErrorMessage.decode(body)
    except MessageBodyError:
        # Some peers put a tagged time into it. That they refuse is clear all the same.
        return PeerError(ErrorMessage.number, number, "an error message that cannot be read")
    return PeerError(message.code, number, message.text)


def _token(authorization: str | None) -> str | None:
    """The token without its scheme; some services leave the scheme out."""
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    return (token.strip() if scheme.lower() == "bearer" else authorization.strip()) or None


def _reason(error: Exception) -> str:
    text = _ERRNO.sub("", str(error)) or type(error).__name__
    if "rendezvous info names" in text:
        return text
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{text}; give the authority's certificate, or allow insecure TLS for a test"
    plain = "nothing listens there" if "All connection attempts failed" in text else text
    return f"{plain}; check address and network"

"""Questions that need a secure channel, asked through asyncua. It costs 0.3 s and 23 MiB to import.

Discovery needs no session and no security (OPC 10000-4, 5.5.1). asyncua waits for whatever length a server claims, so
what it is given is counted here; what it raises on malformed answers is anything, and becomes an AskError.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from asyncua import ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.connection import TransportLimits
from asyncua.ua.ua_binary import struct_from_binary

from ashore_discovery.handlers.opcua.book import Described, Endpoint, clipped
from ashore_discovery.handlers.opcua.places import MOST_URLS, Target

MOST_BYTES: Final = 1024 * 1024
_CHUNK: Final = 65_536
_MOST_ENDPOINTS: Final = 64
_MOST_TOKENS: Final = 16
_LIFETIME_MS: Final = 60_000

# It logs whatever strangers send, with tracebacks; what is worth telling is told by the handler.
logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)

Response = TypeVar("Response")


class AskError(Exception):
    """A server has not answered as it should; the text says how."""


class _Request(Protocol):
    RequestHeader: ua.RequestHeader


class _Bounded(UASocketProtocol):
    """A connection that ends when a server says too much."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, limits=TransportLimits(_CHUNK, _CHUNK, MOST_BYTES // _CHUNK, MOST_BYTES))
        self._taken = 0

    def data_received(self, data: bytes) -> None:
        """Count, and pass on."""
        self._taken += len(data)
        if self._taken > MOST_BYTES and self.transport is not None:
            self.transport.abort()
            return
        super().data_received(data)


async def find_servers(target: Target, seconds: float, most: int) -> list[Described]:
    """Every application that a discovery server knows, or the server itself."""
    request = ua.FindServersRequest()
    request.Parameters.EndpointUrl = target.url
    answer = await _ask(target, seconds, request, ua.FindServersResponse)
    return [_described(one) for one in (answer.Servers or [])[:most]]


async def find_on_network(target: Target, seconds: float, most: int) -> list[Described]:
    """Every server that a discovery server has heard of by multicast: names and URLs are all that it knows."""
    request = ua.FindServersOnNetworkRequest()
    request.Parameters.MaxRecordsToReturn = most
    answer = await _ask(target, seconds, request, ua.FindServersOnNetworkResponse)
    records = (answer.Parameters.Servers or [])[:most]
    return [
        Described(name=clipped(one.ServerName), kind="Server", urls=(clipped(one.DiscoveryUrl),)) for one in records
    ]


async def endpoints(target: Target, seconds: float) -> list[Endpoint]:
    """Every way to speak with a server."""
    request = ua.GetEndpointsRequest()
    request.Parameters.EndpointUrl = target.url
    answer = await _ask(target, seconds, request, ua.GetEndpointsResponse)
    return [_endpoint(one) for one in (answer.Endpoints or [])[:_MOST_ENDPOINTS]]


async def _ask(target: Target, seconds: float, request: _Request, kind: type[Response]) -> Response:
    """One question over a connection of its own."""
    try:
        async with asyncio.timeout(seconds):
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _Bounded(seconds), target.address, target.port
            )
            try:
                return await _over(protocol, target, request, kind)
            finally:
                _hang_up(protocol)
    except TimeoutError as error:
        raise AskError(f"{target.url}: no answer within {seconds:g} s") from error
    except Exception as error:
        raise AskError(f"{target.url}: {type(error).__name__}: {error}"[:300]) from error


async def _over(protocol: _Bounded, target: Target, request: _Request, kind: type[Response]) -> Response:
    await protocol.send_hello(target.url, MOST_BYTES, MOST_BYTES // _CHUNK)
    channel = ua.OpenSecureChannelParameters()
    channel.ClientProtocolVersion = 0
    channel.RequestType = ua.SecurityTokenRequestType.Issue
    channel.SecurityMode = ua.MessageSecurityMode.None_
    channel.RequestedLifetime = _LIFETIME_MS
    channel.ClientNonce = b""
    await protocol.open_secure_channel(channel)
    data = await protocol.send_request(request)
    # A list of a thousand servers takes 80 ms, and other handlers have other things to do.
    answer: Response = await asyncio.to_thread(struct_from_binary, kind, data)
    header: ua.ResponseHeader = answer.ResponseHeader  # type: ignore[attr-defined] # each has one, and no class says so
    header.ServiceResult.check()
    return answer


def _hang_up(protocol: _Bounded) -> None:
    if protocol.transport is not None:
        protocol.transport.close()


def _described(one: ua.ApplicationDescription) -> Described:
    return Described(
        uri=clipped(one.ApplicationUri),
        product=clipped(one.ProductUri),
        name=clipped(one.ApplicationName.Text if one.ApplicationName else ""),
        kind=_named(one.ApplicationType),
        urls=tuple(clipped(url) for url in (one.DiscoveryUrls or [])[:MOST_URLS]),
    )


def _endpoint(one: ua.EndpointDescription) -> Endpoint:
    tokens: Iterable[ua.UserTokenPolicy] = (one.UserIdentityTokens or [])[:_MOST_TOKENS]
    return Endpoint(
        url=clipped(one.EndpointUrl),
        policy=clipped(one.SecurityPolicyUri).rpartition("#")[2],
        mode=_named(one.SecurityMode).rstrip("_"),
        tokens=tuple(_named(token.TokenType) for token in tokens),
        certificate=bytes(one.ServerCertificate or b""),
        server=_described(one.Server),
    )


def _named(value: object) -> str:
    """The name of an enumeration's value; a stranger's value may have none."""
    return clipped(getattr(value, "name", value), 64)

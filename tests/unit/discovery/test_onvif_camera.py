"""Questions over real sockets, to devices that are honest, that want a digest, and that are hostile."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ashore_discovery.handlers.onvif.camera import Camera, Told
from ashore_discovery.handlers.onvif.credentials import Credential
from ashore_discovery.handlers.onvif.post import LARGEST_BODY, Place, PostError, place, post
from ashore_discovery.handlers.onvif.security import password_digest

Reply = Callable[[str, str], bytes]
"""Headers and body of a question to the bytes of the answer."""
ADMIN = Credential(username="admin", password="geheim")


@asynccontextmanager
async def device(reply: Reply) -> AsyncIterator[Place]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"Content-Length: (\d+)", head)
        assert found is not None
        writer.write(reply(head, (await reader.readexactly(int(found[1]))).decode()))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        where = place(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/onvif/device_service")
        assert where is not None
        yield where


def http(body: str, status: str = "200 OK", *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body.encode())}\r\n{lines}\r\n{body}".encode()


def soap(body: str) -> str:
    return f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{body}</s:Body></s:Envelope>'


INFORMATION = soap("<R><Manufacturer>Axis</Manufacturer><FirmwareVersion>9.80\n</FirmwareVersion></R>")
INTERFACES = soap("<R><I><Info><HwAddress>AC:CC:8E:01:02:03</HwAddress></Info></I></R>")
FAULT = soap("<s:Fault><s:Code><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code></s:Fault>")
TIME = soap(
    "<R><UTCDateTime><Time><Hour>16</Hour><Minute>20</Minute><Second>9</Second></Time>"
    "<Date><Year>2016</Year><Month>3</Month><Day>13</Day></Date></UTCDateTime></R>"
)


def answers(body: str) -> bytes:
    return http(INTERFACES if "GetNetworkInterfaces" in body else INFORMATION)


async def ask(where: Place, *candidates: Credential) -> Told:
    async def pace() -> None:
        return None

    async with asyncio.timeout(5):
        return await Camera(where, candidates, clock=lambda: 1_800_000_000.0, pace=pace).tell()


async def test_an_open_device_is_never_told_who_asks() -> None:
    def reply(head: str, body: str) -> bytes:
        assert "Username" not in body
        assert "Authorization" not in head
        return answers(body)

    async with device(reply) as where:
        told = await ask(where, ADMIN)
    assert told == Told(facts={"vendor": "Axis", "firmware": "9.80"}, macs=["ac:cc:8e:01:02:03"])


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "500 Internal Server Error"])
async def test_a_device_that_is_years_behind_gets_a_token_of_its_own_time(status: str) -> None:
    def reply(head: str, body: str) -> bytes:
        if "GetSystemDateAndTime" in body:
            return http(TIME)
        nonce, created, digest = (
            re.search(f"<wss?[eu]:{name}[^>]*>([^<]+)<", body) for name in ("Nonce", "Created", "Password")
        )
        if not (nonce and created and digest) or created[1] != "2016-03-13T16:20:09Z":
            return http(FAULT, status)
        import base64

        expected = password_digest(base64.b64decode(nonce[1]), created[1], "geheim")
        return answers(body) if digest[1] == expected else http(FAULT, status)

    async with device(reply) as where:
        assert (await ask(where, ADMIN)).credentials == "accepted"
        assert (await ask(where, Credential(username="admin", password="x"))).credentials == "refused"
        assert (await ask(where, Credential(username="admin", password="x"), ADMIN)).credentials == "accepted"
        assert (await ask(where)).credentials == "missing"


async def test_a_device_that_wants_http_digest_gets_one_for_each_question() -> None:
    nonces: list[str] = []

    def reply(head: str, body: str) -> bytes:
        assert "Username" not in body
        said = dict(re.findall(r'(\w+)="?([^",\r]+)', head.partition("Authorization: Digest ")[2]))
        if said and said["nonce"] in nonces:
            nonces.remove(said["nonce"])
            secret, what = (
                hashlib.md5(text.encode()).hexdigest() for text in ("admin:cam:geheim", f"POST:{said['uri']}")
            )
            expected = f"{secret}:{said['nonce']}:{said['nc']}:{said['cnonce']}:auth:{what}"
            if said["response"] == hashlib.md5(expected.encode()).hexdigest():
                return answers(body)
        nonces.append(f"n{len(nonces)}{id(body)}")
        challenge = f'WWW-Authenticate: Digest realm="cam", qop="auth", nonce="{nonces[-1]}"'
        return http("", "401 Unauthorized", 'WWW-Authenticate: Basic realm="cam"', challenge)

    async with device(reply) as where:
        told = await ask(where, ADMIN)
    assert (told.credentials, told.macs) == ("accepted", ["ac:cc:8e:01:02:03"])


async def test_a_redirect_is_not_followed() -> None:
    asked: list[str] = []

    def reply(head: str, body: str) -> bytes:
        asked.append(head.partition("\r\n")[0])
        return http("", "307 Temporary Redirect", "Location: /elsewhere")

    async with device(reply) as where:
        assert await ask(where) == Told()
    assert set(asked) == {"POST /onvif/device_service HTTP/1.1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LARGEST_BODY + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    ],
)
async def test_a_hostile_answer_is_none(answer: bytes) -> None:
    async with device(lambda *_: answer) as where:
        with pytest.raises(PostError):
            await post(where, b"<a/>", {})


async def test_an_answer_in_chunks_is_put_together() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with device(lambda *_: answer) as where:
        assert (await post(where, b"<a/>", {})).body == b"abcde"


async def test_hostile_xml_says_nothing() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb">]>' + INFORMATION
    async with device(lambda *_: http(bomb)) as where:
        assert await ask(where) == Told()

"""Transport over HTTP: what is sent, what is believed, and what is refused."""

from pathlib import Path

import pytest

from ashore import cbor
from ashore.fdo.errors import PeerError
from ashore.fdo.messages import ErrorMessage
from ashore_device.errors import TransportError
from ashore_device.transport import LARGEST_ANSWER, HttpTransport, Reply, Tls
from tests.unit.device.web import HANG, Answer, certificate, http, serve

ERROR = ErrorMessage(6, 30, "no such device", 1, 0).encode()


async def post(answer: Answer, *, seconds: float = 10.0, token: str | None = None) -> Reply:
    async with serve(answer) as web, HttpTransport(timeout=seconds) as transport:
        return await transport.post(web.url, 30, b"body", token)


def always(answer: bytes) -> Answer:
    return lambda _request: answer


async def test_a_message_is_posted_and_its_answer_comes_back() -> None:
    answer = http(b"answer", message_type=31, authorization="Bearer abc")
    async with serve(always(answer)) as web, HttpTransport() as transport:
        assert await transport.post(web.url + "/prefix/", 30, b"body", None) == Reply(31, b"answer", "abc")
        await transport.post(web.url, 32, b"", "abc")
    first, second = web.requests
    assert (first.method, first.path, first.body) == ("POST", "/prefix/fdo/101/msg/30", b"body")
    assert first.headers["content-type"] == "application/cbor"
    assert first.headers["content-length"] == "4"
    assert "authorization" not in first.headers
    assert second.headers["authorization"] == "Bearer abc"


async def test_the_connection_is_kept_alive() -> None:
    async with serve(always(http(message_type=31))) as web, HttpTransport() as transport:
        for _ in range(5):
            await transport.post(web.url, 30, b"", None)
        assert web.connections == 1


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("abc", "abc"), ("Bearer", None)]
)
async def test_a_token_is_taken_with_and_without_its_scheme(header: str, token: str | None) -> None:
    assert (await post(always(http(message_type=31, authorization=header)))).token == token


@pytest.mark.parametrize(
    "answer",
    [
        http(ERROR, message_type=255),
        http(ERROR, status="500 Internal Server Error", content_type="application/cbor"),
        http(ERROR, status="429 Too Many Requests", content_type="application/cbor", message_type=255),
    ],
)
async def test_an_error_message_is_a_peer_error(answer: bytes) -> None:
    with pytest.raises(PeerError, match="no such device") as caught:
        await post(always(answer))
    assert (caught.value.peer_code, caught.value.message_number) == (6, 30)


async def test_an_error_message_that_cannot_be_read_is_a_peer_error_too() -> None:
    tagged = cbor.dumps([6, 30, "x", "yesterday", None])
    with pytest.raises(PeerError, match="cannot be read"):
        await post(always(http(tagged, message_type=255)))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (http(b"<html>", status="500 Internal Server Error", content_type="text/html"), "status 500"),
        (http(status="404 Not Found"), "status 404"),
        (http(status="302 Found", location="http://192.0.2.1/"), "status 302"),
        (http(status="204 No Content", message_type=31), "status 204"),
        (http(), "Message-Type"),
        (http(message_type="x"), "Message-Type"),
        (http(message_type="-1"), "Message-Type"),
        (http(message_type="9" * 9), "Message-Type"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "cannot be reached"),
        (b"", "cannot be reached"),
        (http(bytes(LARGEST_ANSWER + 1), message_type=31), "more than 65535 bytes"),
    ],
)
async def test_what_is_no_answer_of_an_fdo_service_is_refused(answer: bytes, text: str) -> None:
    with pytest.raises(TransportError, match=text):
        await post(always(answer))


async def test_the_largest_message_is_taken() -> None:
    assert len((await post(always(http(bytes(LARGEST_ANSWER), message_type=31)))).body) == LARGEST_ANSWER


async def test_a_packed_answer_is_not_unpacked() -> None:
    async def ask() -> Reply:
        return await post(always(http(b"\x1f\x8b", message_type=31, content_encoding="gzip")))

    assert (await ask()).body == b"\x1f\x8b"


async def test_a_service_that_does_not_answer_in_time_is_given_up() -> None:
    with pytest.raises(TransportError, match="did not answer within"):
        await post(always(HANG), seconds=0.1)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://", "ftp://x", "http://a b/", "http://[::1", "x", ""])
async def test_an_address_that_leads_nowhere_is_an_error_that_names_it(url: str) -> None:
    async with HttpTransport() as transport:
        with pytest.raises(TransportError, match="cannot be reached"):
            await transport.post(url, 30, b"", None)


async def test_tls_is_verified_by_default(tmp_path: Path) -> None:
    context, authority = certificate(tmp_path)
    async with serve(always(http(message_type=31)), context) as web:
        async with HttpTransport() as transport:
            with pytest.raises(TransportError, match=r"CERTIFICATE_VERIFY_FAILED.*give the authority's certificate"):
                await transport.post(web.url, 30, b"", None)
        for tls in (Tls(ca_file=authority), Tls(insecure=True)):
            async with HttpTransport(tls=tls) as transport:
                assert (await transport.post(web.url, 30, b"", None)).number == 31


async def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"nobody\.pem"):
        HttpTransport(tls=Tls(ca_file=tmp_path / "nobody.pem"))

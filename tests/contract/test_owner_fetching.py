"""Files that the owner fetches: from allowed networks only, bounded, and once for all devices."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from ashore.config import SettingsError
from ashore.fdo.serviceinfo import StepFailedError
from ashore.fdo.serviceinfo.download import Content
from ashore_owner import fetching
from ashore_owner.config import OwnerSettings
from ashore_owner.downloads import KEPT_SECONDS, Downloads
from ashore_owner.fetching import Networks, Unfetched, fetch, parse
from tests.unit.device.web import Request, certificate, http, serve

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha384(CONTENT).hexdigest()
HERE = Networks(["127.0.0.0/8"])

PAGES = {
    "/file": http(CONTENT),
    "/empty": http(),
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "/until-the-end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it",
    "/short": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\nall of it",
    "/early": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http(b"hinted"),
    "/nonsense": b"SSH-2.0-OpenSSH\r\n\r\n",
    "/endless-head": b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 4000,
    **{
        path: http(status="302 Found", location=target)
        for path, target in {
            "/moved": "/file",
            "/ftp": "ftp://127.0.0.1/file",
            "/local": "file:///etc/passwd",
            "/plain": "http://127.0.0.1:1/file",
            "/loop": "/loop",
            "/inward": "http://10.1.2.3/secret",
            "/metadata": "http://169.254.169.254/latest/meta-data",
        }.items()
    },
}


def site(request: Request) -> bytes:
    return PAGES.get(request.path.partition("?")[0], http(status="404 Not Found"))


async def got(url: str, *, networks: Networks = HERE, limit: int = 1 << 20, tls=None) -> bytes:
    pieces: list[bytes] = []
    async with asyncio.timeout(20):
        await fetch(url, pieces.append, networks=networks, limit=limit, tls=tls)
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/file", CONTENT),
        ("/moved", CONTENT),
        ("/file?key=1", CONTENT),
        ("/empty", b""),
        ("/chunked", b"abc"),
        ("/until-the-end", b"all of it"),
        ("/early", b"hinted"),
    ],
)
async def test_a_file_arrives_whole(path: str, content: bytes) -> None:
    async with serve(site) as web:
        assert await got(web.url + path) == content
    assert web.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nothing", "status 404"),
        ("/short", "broke off after 9 bytes"),
        ("/nonsense", "cannot be fetched"),
        ("/endless-head", "bytes of headers"),
        ("/loop", "redirected more than 5 times"),
        ("/ftp", "not of the form"),
        ("/local", "not of the form"),
        ("/inward", r"10\.1\.2\.3 is at 10\.1\.2\.3, from where this service may not fetch"),
        ("/metadata", "ASHORE_DOWNLOAD_NETWORKS"),
    ],
)
async def test_what_cannot_be_fetched_is_explained(path: str, text: str) -> None:
    async with serve(site) as web:
        with pytest.raises(Unfetched, match=text):
            await got(web.url + path)


@pytest.mark.parametrize("path", ["/file", "/chunked"])
async def test_a_file_that_is_too_long_is_given_up(path: str) -> None:
    async with serve(site) as web:
        with pytest.raises(Unfetched, match="more than 2 bytes: raise ASHORE_DOWNLOAD_LIMIT"):
            await got(web.url + path, limit=2)


async def test_by_default_nothing_is_asked_of_this_machine() -> None:
    async with serve(site) as web:
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"):
            with pytest.raises(Unfetched, match=r"may not fetch|no address"):
                await got(f"http://{host}:{web.port}/file", networks=Networks())
        assert web.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ],
)  # fmt: skip
def test_no_address_within_is_public(address: str) -> None:
    assert not Networks().allow(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_addresses_of_the_open_internet_are_public(address: str) -> None:
    assert Networks().allow(address)
    assert not Networks(["none"]).allow(address)
    assert not Networks(["10.0.0.0/8"]).allow(address)


def test_a_network_that_is_named_is_allowed_and_no_more() -> None:
    networks = Networks(["10.2.0.0/16", "fd00:1::/32"])
    assert networks.allow("10.2.3.4")
    assert networks.allow("fd00:1::9")
    assert not networks.allow("10.3.0.1")
    assert not networks.allow("64:ff9b::a03:1")


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@example.com/", "ftp://example.com/", "http:///x", "http://[::1", "http://example.com:x/",
        "http://example.com/a b", "http://example.com/a\r\nHost: b", "http://example.com/\u00fc", "//example.com/", "",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Unfetched) as refused:
        parse(url)
    assert "secret" not in str(refused.value)


async def test_what_follows_a_question_mark_is_not_told() -> None:
    async with serve(site) as web:
        with pytest.raises(Unfetched, match="/nothing answered") as refused:
            await got(f"{web.url}/nothing?token=secret")
    assert "secret" not in str(refused.value)


async def test_https_is_verified_by_the_name_and_never_left(tmp_path: Path) -> None:
    context, authority = certificate(tmp_path)
    trusted = fetching.ssl.create_default_context(cafile=str(authority))
    async with serve(site, context) as web:
        assert await got(f"{web.url}/moved", tls=trusted) == CONTENT
        with pytest.raises(Unfetched, match="from https to http"):
            await got(f"{web.url}/plain", tls=trusted)
        with pytest.raises(Unfetched, match="CERTIFICATE_VERIFY_FAILED"):
            await got(f"{web.url}/file")
        with pytest.raises(Unfetched, match="CERTIFICATE_VERIFY_FAILED"):
            await got(f"https://localhost:{web.port}/file", tls=trusted, networks=Networks(["127.0.0.0/8", "::1"]))


async def arrived(downloads: Downloads, url: str, sha384: str | None = None) -> Content:
    arrive = downloads.begin(url, sha384)
    async with asyncio.timeout(20):
        while (content := arrive()) is None:  # noqa: ASYNC110 - a step asks as often as its device comes
            await asyncio.sleep(0.01)
    return content


async def test_a_thousand_devices_fetch_a_file_once(tmp_path: Path) -> None:
    async with serve(site) as web:
        downloads = Downloads(HERE, folder=tmp_path)
        contents = await asyncio.gather(*(arrived(downloads, f"{web.url}/file", DIGEST) for _ in range(1000)))
        assert {bytes(content.sha384) for content in contents} == {bytes.fromhex(DIGEST)}
        assert bytes(contents[-1].data) == CONTENT
        assert len(web.requests) == 1
        del contents
        await downloads.close()
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_with_a_hash_it_is_kept_and_without_one_it_is_fetched_anew(tmp_path: Path) -> None:
    now = [0.0]
    async with serve(site) as web:
        downloads = Downloads(HERE, folder=tmp_path, clock=lambda: now[0])
        for _ in range(2):
            for sha384 in (DIGEST, None):
                assert bytes((await arrived(downloads, f"{web.url}/file", sha384)).data) == CONTENT
        assert len(web.requests) == 2
        now[0] = KEPT_SECONDS + 1
        for sha384 in (DIGEST, None):
            await arrived(downloads, f"{web.url}/file", sha384)
        assert len(web.requests) == 3
        await downloads.close()


async def test_a_wrong_hash_is_refused_and_not_asked_for_again_at_once(tmp_path: Path) -> None:
    now = [0.0]
    async with serve(site) as web:
        downloads = Downloads(HERE, folder=tmp_path, clock=lambda: now[0])
        for _ in range(3):
            with pytest.raises(StepFailedError, match=f"has the SHA-384 {DIGEST} and not the expected one"):
                await arrived(downloads, f"{web.url}/file", "0" * 96)
        assert len(web.requests) == 1
        now[0] = 60
        with pytest.raises(StepFailedError):
            await arrived(downloads, f"{web.url}/file", "0" * 96)
        assert len(web.requests) == 2
        await downloads.close()


async def test_what_nobody_asks_for_makes_room(tmp_path: Path) -> None:
    async with serve(site) as web:
        downloads = Downloads(HERE, folder=tmp_path, limit=len(CONTENT))
        for number in range(6):
            await arrived(downloads, f"{web.url}/file?{number}", DIGEST)
        await arrived(downloads, f"{web.url}/file?5", DIGEST)
        assert len(web.requests) == 6
        await arrived(downloads, f"{web.url}/file?0", DIGEST)
        assert len(web.requests) == 7
        await downloads.close()


async def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    async with serve(site) as web:
        downloads = Downloads(HERE, folder=tmp_path)
        assert await arrived(downloads, f"{web.url}/empty") == Content(memoryview(b""), hashlib.sha384().digest())
        await downloads.close()


async def test_a_service_that_stops_gives_up_what_is_on_its_way(tmp_path: Path) -> None:
    async with serve(lambda _: b"hang") as web:
        downloads = Downloads(HERE, folder=tmp_path)
        arrive = downloads.begin(f"{web.url}/file", None)
        while not web.requests:  # noqa: ASYNC110 - it happens at the server
            await asyncio.sleep(0.01)
        assert arrive() is None
        await downloads.close()
        with pytest.raises(StepFailedError, match="stopping"):
            arrive()


def test_networks_that_are_none_are_told() -> None:
    with pytest.raises(SettingsError, match=r"ASHORE_DOWNLOAD_NETWORKS has '10\.2': expected public, none"):
        OwnerSettings.load({"ASHORE_DOWNLOAD_NETWORKS": "public,10.2"})
    assert OwnerSettings.load({}).download_networks == ["public"]

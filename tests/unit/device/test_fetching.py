"""Fetching from URLs: sizes, redirects, schemes, and what is left when it fails."""

import hashlib
from pathlib import Path

import pytest

from ashore.fdo.serviceinfo.host import Fetched, HostError
from ashore_device.fetching import Fetcher
from ashore_device.host import FolderHost
from ashore_device.transport import Tls
from tests.unit.device.web import HANG, Request, certificate, http, serve

CONTENT = bytes(range(256)) * 400


PAGES = {
    "/file": http(CONTENT),
    "/empty": http(),
    "/packed": http(b"\x1f\x8b packed", content_encoding="gzip"),
    "/hang": HANG,
    **{
        path: http(status="302 Found", location=target)
        for path, target in {
            "/moved": "/file",
            "/ftp": "ftp://127.0.0.1/file",
            "/local": "file:///etc/passwd",
            "/plain": "http://127.0.0.1:1/file",
            "/loop": "/loop",
        }.items()
    },
}


def site(request: Request) -> bytes:
    return PAGES.get(request.path, http(status="404 Not Found"))


async def fetch(
    url: str, folder: Path, *, limit: int = 1 << 20, tls: Tls | None = None, seconds: float = 10
) -> Fetched:
    async with Fetcher(tls, seconds=seconds) as fetcher:
        transfer = await FolderHost(folder, fetcher).fetch_url(url, "got/file.part", limit=limit)
        result = await transfer.wait(10)
        assert result is not None
        return result


async def test_a_file_arrives_with_its_length_and_hash(tmp_path: Path) -> None:
    async with serve(site) as web:
        assert await fetch(f"{web.url}/moved", tmp_path) == Fetched(
            length=len(CONTENT), sha384=hashlib.sha384(CONTENT).digest()
        )
    assert (tmp_path / "got" / "file.part").read_bytes() == CONTENT


async def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    async with serve(site) as web:
        assert (await fetch(f"{web.url}/empty", tmp_path)).length == 0
    assert (tmp_path / "got" / "file.part").read_bytes() == b""


async def test_packed_content_stays_packed(tmp_path: Path) -> None:
    async with serve(site) as web:
        await fetch(f"{web.url}/packed", tmp_path)
    assert (tmp_path / "got" / "file.part").read_bytes() == b"\x1f\x8b packed"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/nothing", "status 404"),
        ("/ftp", "redirects to ftp"),
        ("/local", "redirects to file"),
        ("/loop", "more than 5 redirects"),
    ],
)
async def test_what_cannot_be_fetched_is_explained(tmp_path: Path, path: str, text: str) -> None:
    async with serve(site) as web:
        with pytest.raises(HostError, match=text):
            await fetch(web.url + path, tmp_path)


async def test_a_redirect_from_https_to_http_is_not_followed(tmp_path: Path) -> None:
    context, authority = certificate(tmp_path)
    async with serve(site, context) as web:
        tls = Tls(ca_file=authority)
        assert (await fetch(f"{web.url}/file", tmp_path, tls=tls)).length == len(CONTENT)
        with pytest.raises(HostError, match="redirects to http"):
            await fetch(f"{web.url}/plain", tmp_path, tls=tls)
        with pytest.raises(HostError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(f"{web.url}/file", tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "/etc/passwd", "", "http://[::1"])
async def test_other_schemes_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(HostError):
        await fetch(url, tmp_path)


async def test_a_file_that_is_too_long_is_given_up(tmp_path: Path) -> None:
    async with serve(site) as web:
        with pytest.raises(HostError, match="more than 1000 bytes"):
            await fetch(f"{web.url}/file", tmp_path, limit=1000)


async def test_a_name_that_leads_out_is_refused(tmp_path: Path) -> None:
    async with serve(site) as web, Fetcher() as fetcher:
        transfer = await FolderHost(tmp_path / "in", fetcher).fetch_url(f"{web.url}/file", "../out", limit=1 << 20)
        with pytest.raises(HostError, match="not a name below"):
            await transfer.wait(10)
    assert not (tmp_path / "out").exists()


async def test_a_transfer_that_takes_too_long_is_given_up_or_cancelled(tmp_path: Path) -> None:
    async with serve(site) as web:
        with pytest.raises(HostError, match="took more than"):
            await fetch(f"{web.url}/hang", tmp_path, seconds=0.1)
        async with Fetcher() as fetcher:
            transfer = await FolderHost(tmp_path, fetcher).fetch_url(f"{web.url}/hang", "x", limit=10)
            assert await transfer.wait(0.05) is None
            await transfer.cancel()

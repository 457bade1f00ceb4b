"""Fetching files from URLs for fdo.wget: http and https, bounded in size and time, straight to the disk.

Redirects are followed a few times, since download sites live on them, but never from https to something weaker and
never to another scheme. Whether the content is the right one is for the module to say: it knows the hash.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from typing import Final, Self

import httpx

from ashore.fdo.serviceinfo.host import Fetched, HostError, Transfer
from ashore_device.transport import Tls

FETCH_SECONDS: Final = 3600.0
"""How long one file may take."""
_IDLE_SECONDS: Final = 60.0
_REDIRECTS: Final = 5
_SCHEMES: Final = ("http", "https")


class Fetcher:
    """HTTP for any number of devices; the connections are made when they are first needed."""

    def __init__(self, tls: Tls | None = None, *, proxy: str | None = None, seconds: float = FETCH_SECONDS) -> None:
        self._tls = tls or Tls()
        self._proxy = proxy
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def fetch(self, url: str, write: Callable[[bytes], None], limit: int) -> "Download":
        """Begin to fetch; `write` gets the pieces, and may raise HostError."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=self._tls.context(),
                timeout=_IDLE_SECONDS,
                proxy=self._proxy,
                trust_env=False,
                # The hash is of what is stored at the URL, so nothing may pack it on the way.
                headers={"Accept-Encoding": "identity", "User-Agent": "ashore-device"},
            )
        return Download(asyncio.create_task(_run(self._client, url, write, limit, self._seconds), name=f"fetch {url}"))


class Download(Transfer):
    """A URL that is being fetched."""

    def __init__(self, task: asyncio.Task[Fetched]) -> None:
        self._task = task
        # A failure that nobody asks for, because the conversation is over, is none.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def wait(self, seconds: float) -> Fetched | None:
        """Give the result, or None when `seconds` are over before."""
        done, _ = await asyncio.wait((self._task,), timeout=seconds)
        return self._task.result() if done else None

    async def cancel(self) -> None:
        """Give up."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError, HostError):
            await self._task


async def _run(
    client: httpx.AsyncClient, url: str, write: Callable[[bytes], None], limit: int, seconds: float
) -> Fetched:
    try:
        async with asyncio.timeout(seconds):
            for _ in range(_REDIRECTS + 1):
                _check(url)
                async with client.stream("GET", url) as response:
                    if not response.has_redirect_location:
                        return await _store(response, write, limit)
                    url = _next(response)
    except TimeoutError as error:
        raise HostError(f"{url} took more than {seconds:g} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise HostError(f"{url} cannot be fetched: {error or type(error).__name__}") from error
    raise HostError(f"{url} was reached by more than {_REDIRECTS} redirects")


async def _store(response: httpx.Response, write: Callable[[bytes], None], limit: int) -> Fetched:
    if response.status_code != httpx.codes.OK:
        raise HostError(f"{response.url} answered with status {response.status_code}")
    digest, length = hashlib.sha384(), 0
    write(b"")
    async for piece in response.aiter_raw():
        length += len(piece)
        if length > limit:
            raise HostError(f"{response.url} has more than {limit} bytes")
        digest.update(piece)
        write(piece)
    return Fetched(length=length, sha384=digest.digest())


def _check(url: str) -> None:
    if httpx.URL(url).scheme not in _SCHEMES:
        raise HostError(f"{url} is neither http nor https")


def _next(response: httpx.Response) -> str:
    target = response.url.join(response.headers["Location"])
    if target.scheme not in _SCHEMES or (response.url.scheme == "https" and target.scheme != "https"):
        raise HostError(f"{response.url} redirects to {target.scheme}, which is not followed")
    return str(target)

"""As whom the launcher comes to an API server: nobody, a token, a password, a file or a program that has a token.

Each answers with the value of the header `Authorization`. What it has read it keeps, until it is old, or until the API
server does not take it any more and `renew` is called. Client certificates belong to TLS and are not here.
"""

import asyncio
import base64
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from ashore_broker_launcher.cluster import Unreachable

_TOKEN: Final = re.compile(r"[!-~]{1,65536}")
_FILE_SECONDS: Final = 60.0
"""The kubelet writes a new token minutes before the old one ends."""
_EXEC_SECONDS: Final = 60.0
_EARLY_SECONDS: Final = 30.0
_LARGEST: Final = 1024 * 1024
EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

Clock = Callable[[], float]


class Credentials(Protocol):
    """Who the launcher is."""

    async def header(self) -> str:
        """The value of `Authorization`, or nothing; raise Unreachable where it cannot be had now."""
        ...

    def renew(self) -> bool:
        """The API server did not take it: whether there may be another one the next time."""
        ...


class Fixed:
    """Always the same: a token, a password, or nothing."""

    def __init__(self, header: str = "") -> None:
        self._header = header

    async def header(self) -> str:
        """What it was made with."""
        return self._header

    def renew(self) -> bool:
        """There is no other one."""
        return False


def by_token(token: str) -> Fixed:
    """Who has this token."""
    return Fixed(f"Bearer {checked(token, 'the kubeconfig')}")


def by_password(user: str, password: str) -> Fixed:
    """Who knows this password."""
    return Fixed("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


class TokenFile:
    """Who can read this file, which somebody else keeps fresh."""

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._header = ""
        self._old_at = 0.0

    async def header(self) -> str:
        """What the file says, a minute ago at most."""
        if not self._header or self._clock() >= self._old_at:
            try:
                token = self._path.read_text()
            except OSError as error:
                raise Unreachable(f"the token to log in with cannot be read: {error}") from error
            self._header = f"Bearer {checked(token, str(self._path))}"
            self._old_at = self._clock() + _FILE_SECONDS
        return self._header

    def renew(self) -> bool:
        """It is read again."""
        self._header = ""
        return True


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    expiration_timestamp: datetime | None = None
    client_certificate_data: str = ""


class _ExecCredential(msgspec.Struct, rename="camel"):
    status: _Status


class Program:
    """Who can run this program, as kubectl does (ExecCredential); it must print a token."""

    def __init__(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        version: str,
        clock: Clock = time.time,
    ) -> None:
        self._command = tuple(command)
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        self._environment = {**environment, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}
        self._clock = clock
        self._header = ""
        self._old_at: float | None = None
        self._one = asyncio.Lock()

    async def header(self) -> str:
        """What it printed last, until that ends."""
        async with self._one:
            if not self._header or (self._old_at is not None and self._clock() >= self._old_at):
                status = await self._ask()
                ends = status.expiration_timestamp
                self._header = f"Bearer {checked(status.token, self._command[0])}"
                self._old_at = ends.timestamp() - _EARLY_SECONDS if ends else None
            return self._header

    def renew(self) -> bool:
        """It is run again."""
        self._header = ""
        return True

    async def _ask(self) -> _Status:
        said = await self._run()
        try:
            status = msgspec.json.decode(said, type=_ExecCredential).status
        except msgspec.DecodeError as error:
            raise Unreachable(f"{self._command[0]}, by which to log in, printed no ExecCredential: {error}") from error
        if not status.token and status.client_certificate_data:
            raise Unreachable(f"{self._command[0]}, by which to log in, printed a certificate; only tokens are used")
        return status

    async def _run(self) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise Unreachable(f"{self._command[0]}, by which to log in, cannot be run: {error}") from error
        try:
            async with asyncio.timeout(_EXEC_SECONDS):
                return await self._read(process)
        except TimeoutError as error:
            raise Unreachable(f"{self._command[0]}, by which to log in, printed nothing in a minute") from error
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> bytes:
        said = b""
        while process.stdout and (part := await process.stdout.read(_LARGEST)):
            said += part
            if len(said) > _LARGEST:
                raise Unreachable(f"{self._command[0]}, by which to log in, prints without end")
        code = await process.wait()
        if code:
            raise Unreachable(f"{self._command[0]}, by which to log in, failed with exit code {code}")
        return said


def checked(token: str, source: str) -> str:
    """The token without the white space around it; raise Unreachable where it is none."""
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise Unreachable(f"what {source} holds is no token to log in with")
    return token

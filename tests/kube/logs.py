"""What containers have written, for an API server that asks the kubelet of a node that is not there."""

import asyncio
import ssl
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.tls_kit import certified


class Logs:
    """A kubelet's port, with logs and nothing else: `async with Logs(folder) as logs`."""

    def __init__(self, folder: Path) -> None:
        self.written: dict[str, bytes] = {}
        """By `namespace/pod/container`."""
        self._folder = folder

    async def __aenter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certified(self._folder).certificate)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def port(self) -> int:
        """For `Kubelets(logs_port=)`."""
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = self._answer(head.split(b" ")[1].decode())
            status = b"404 Not Found" if body is None else b"200 OK"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body or b"")))
            writer.write(b"Content-Type: text/plain\r\nConnection: close\r\n\r\n" + (body or b""))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, target: str) -> bytes | None:
        url = urlsplit(target)
        written = self.written.get(url.path.removeprefix("/containerLogs/"))
        if written is None:
            return None
        query = parse_qs(url.query)
        last = written.splitlines(keepends=True)[-int(query["tailLines"][0]) :] if "tailLines" in query else [written]
        return b"".join(last)[: int(query.get("limitBytes", ["1000000000"])[0])]

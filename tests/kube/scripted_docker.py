"""The few answers of a Docker engine that tell whether it can pull an image, as a test wants them.

`with Docker(images=[...], pull=...) as docker`: an engine on loopback that has those images, and whose pulls end as
told.
"""

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]] | None
"""Status and body; without it the engine says nothing until it ends."""


def pulled() -> Answer:
    """Nothing went wrong."""
    return 200, {"status": "Download complete"}


def silent() -> Answer:
    """Its registry does not answer."""
    return None


class Docker:
    """An engine within a block; `asked_for` are the images that somebody had pulled."""

    def __init__(self, images: Sequence[str] = (), pull: Callable[[], Answer] = pulled) -> None:
        self.asked_for: list[str] = []
        self._images, self._pull = images, pull
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        """As DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, target: str) -> Answer:
        address = urlsplit(target)
        if address.path == "/version":
            return 200, {"ApiVersion": "1.44", "MinAPIVersion": "1.24"}
        path = address.path.removeprefix("/v1.44/images/")
        if method == "POST" and path == "create":
            query = parse_qs(address.query)
            self.asked_for.append(f"{query['fromImage'][0]}:{query['tag'][0]}")
            return self._pull()
        there = path.removesuffix("/json") in self._images
        return (200, {"Id": "sha256:1"}) if there else (404, {"message": f"No such image: {path}"})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        docker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = docker._answer(self.command, self.path)
                if answer is None:
                    docker._over.wait()
                    return
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer[1]).encode())

            do_POST = do_GET  # noqa: N815 - so the base class calls it

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

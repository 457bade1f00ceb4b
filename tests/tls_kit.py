"""What tests of TLS share: certificates as the first start makes them, and a small web server."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ashore.server_certificates import ServerCertificates
from ashore.tls import client_context


class Certified(NamedTuple):
    """A server's key and certificate in one file, and the authority's certificate in PEM."""

    certificate: Path
    authority: str

    @property
    def client(self) -> ssl.SSLContext:
        """For a client that believes this authority, and no other."""
        return client_context(self.authority)


def certified(folder: Path, server: str = "nats") -> Certified:
    """A certificate for a server on this machine."""
    kept = ServerCertificates(folder)
    kept.keep(server, [])
    return Certified(kept.path(server), kept.authority)


class _Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        ready = self.path == "/readyz"
        body = b"{}" if ready else b'{"ready":false,"checks":{"bus":{}}}'
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[str]:
    """A web server that is ready; the port."""
    with http.server.ThreadingHTTPServer((address, 0), _Service) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield str(server.server_port)
        server.shutdown()
        thread.join()

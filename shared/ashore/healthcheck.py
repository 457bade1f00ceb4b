"""Ask a service of this machine whether it is ready: the health check of its container.

`python -m ashore.healthcheck [URL]`; without a URL it asks `/readyz` on port ASHORE_PORT. It exits with 0 for an
answer of 2xx, and otherwise prints the answer, which names what is missing, and exits with 1. It runs every few
seconds beside the service, so it is a socket and no HTTP library: that halves what it costs.
"""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

_SECONDS: Final = 4.0
_LARGEST: Final = 65_536


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Ask once; the answer is the exit code."""
    url = arguments[0] if arguments else default_url(environ)
    try:
        status, body = ask(urlsplit(url))
    except (OSError, ValueError) as error:
        status, body = "no answer:", str(error)
    if status.startswith("2"):
        return 0
    sys.stdout.write(f"{url}: {status} {body}\n")
    return 1


def default_url(environ: Mapping[str, str]) -> str:
    """The readiness of the service of this container, over TLS where it was given a certificate."""
    scheme = "https" if environ.get("ASHORE_TLS_CERTIFICATE") else "http"
    return f"{scheme}://127.0.0.1:{environ.get('ASHORE_PORT') or 8080}/readyz"


def ask(url: SplitResult) -> tuple[str, str]:
    """The status and the body of the answer; raise OSError without one, ValueError for what is not HTTP."""
    host, port = url.hostname or "127.0.0.1", url.port or 80
    with (
        socket.create_connection((host, port), _SECONDS) as plain,
        _secured(plain) if url.scheme == "https" else plain as connection,
    ):
        # With HTTP/1.0 the end of the connection is the end of the answer.
        connection.sendall(f"GET {url.path or '/'} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = _read(connection)
    head, _, body = answer.partition("\r\n\r\n")
    protocol, _, status = head.partition(" ")
    if not protocol.startswith("HTTP/1."):
        raise ValueError("the answer is not HTTP")
    return status.partition(" ")[0], body


def _secured(plain: socket.socket) -> socket.socket:
    import ssl  # noqa: PLC0415 - it doubles what a check costs, and most containers have no certificate

    # The question goes to this very machine, and the certificate is for the name that devices use.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def _read(connection: socket.socket) -> str:
    answer = b""
    while len(answer) < _LARGEST and (part := connection.recv(_LARGEST)):
        answer += part
    return answer.decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

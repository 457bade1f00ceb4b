"""The health check of containers, against real listeners."""

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ashore.certificates import self_signed
from ashore.healthcheck import main
from tests.tls_kit import serving


def test_a_ready_service_is_healthy() -> None:
    with serving() as port:
        assert main([], {"ASHORE_PORT": port}) == 0


def test_what_a_service_lacks_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as port:
        assert main([f"http://127.0.0.1:{port}/other"], {}) == 1
    assert '503 {"ready":false,"checks":{"bus":{}}}' in capsys.readouterr().out


def test_a_service_with_a_certificate_is_asked_over_tls(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem, path = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), tmp_path / "service.pem"
    path.write_bytes(pem + self_signed(key, "devices.example", datetime.now(UTC)).public_bytes(Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    with serving(context) as port:
        assert main([], {"ASHORE_PORT": port, "ASHORE_TLS_CERTIFICATE": str(path)}) == 0


def test_where_nothing_listens_nothing_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1/readyz"], {}) == 1
    assert "Connection refused" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [b"", b"+INFO\r\n", b"HTTP/1.1"])
def test_what_is_not_http_is_not_healthy(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, answer))
        thread.start()
        assert main([f"http://127.0.0.1:{listener.getsockname()[1]}/"], {}) == 1
        thread.join()


def _answer(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1024)
        connection.sendall(answer)

"""Whom a client of TLS believes: the authorities of its context.

It needs no cryptography library, so that small images can use it. Certificates are made in `server_certificates.py`;
the server's side is `http.server.tls_context`.
"""

import ipaddress
import logging
import ssl


class TlsError(Exception):
    """Authorities that cannot be used; the text says why."""


def client_context(authorities: str | None = None, *, system: bool = False) -> ssl.SSLContext:
    """A context that believes these authorities (PEM), or the system's where none are given, or both.

    Names are checked, and nothing below TLS 1.2 is spoken.
    """
    try:
        context = ssl.create_default_context(cadata=authorities or None)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise TlsError("expected certificates in PEM") from error
    if authorities and system:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Event loops warn when a server ends the TLS of httpx or nats-py, although nothing is wrong then.
    logging.getLogger("asyncio").addFilter(_is_worth_telling)
    return context


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine, so that nobody is on the way."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_worth_telling(record: logging.LogRecord) -> bool:
    return "eof_received() has no effect" not in record.getMessage()

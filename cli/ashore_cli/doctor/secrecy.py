"""TLS as clients meet it: how long a server's certificate lasts, who has signed it, and whether it is for its host."""

import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import SplitResult, urlsplit

from cryptography import x509

from ashore import certificates
from ashore_cli.doctor.finding import Finding, bad, well

ENOUGH: Final = timedelta(days=30)
_SECONDS: Final = 3.0
_PORTS: Final = {"https": 443, "tls": 4222}
# Codes of OpenSSL: verify(1) lists them.
_EXPIRED: Final = 10
_OTHER_HOST: Final = (62, 64)
_RENEW: Final = "start it anew: `ashore up` and `ashore init` renew certificates; own ones you renew yourself"


def examine(about: str, url: str, context: ssl.SSLContext, variable: str) -> Finding | None:
    """The server's certificate; None where nobody speaks there. `variable` names the authorities that are believed."""
    parts = urlsplit(url)
    try:
        end = _met(parts, context).not_valid_after_utc
    except ssl.SSLCertVerificationError as error:
        return _refused(about, parts, error, variable)
    except ssl.SSLError as error:
        return bad(
            about, f"TLS fails: {error.reason or error}", "see its log: is it a server of TLS?", unreachable=True
        )
    except (OSError, ValueError):
        return None
    return lasting(about, f"TLS certificate for {parts.hostname}", end, _RENEW)


def lasting(about: str, what: str, end: datetime, remedy: str, enough: timedelta = ENOUGH) -> Finding:
    """How many days something is still valid."""
    left = end - datetime.now(UTC)
    text = f"{what}: {max(left.days, 0)} days left, until {end:%Y-%m-%d}"
    return well(about, text) if left >= enough else bad(about, text, remedy)


def _refused(about: str, parts: SplitResult, error: ssl.SSLCertVerificationError, variable: str) -> Finding:
    host = parts.hostname or ""
    if error.verify_code in _OTHER_HOST:
        names = ", ".join(certificates.hosts(_met(parts, _credulous()))) or "nobody"
        remedy = f"use one of these in its URL, or add the name and start anew: `ashore init --address {host}`"
        return bad(about, f"its TLS certificate is not for {host} but for {names}", remedy, unreachable=True)
    if error.verify_code == _EXPIRED:
        end = _met(parts, _credulous()).not_valid_after_utc
        return bad(about, f"its TLS certificate has ended at {end:%Y-%m-%d}", _RENEW, unreachable=True)
    text = f"its TLS certificate is not believed: {error.verify_message}"
    return bad(about, text, f"name its authority's certificate: {variable}=PATH", unreachable=True)


def _met(parts: SplitResult, context: ssl.SSLContext) -> x509.Certificate:
    """The certificate that the server shows; raise OSError or ValueError."""
    address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
    with socket.create_connection(address, _SECONDS) as plain:
        if parts.scheme == "tls":
            _skip_greeting(plain)
        with context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")


def _skip_greeting(plain: socket.socket) -> None:
    """A NATS server says a line in plain text first; what comes after belongs to TLS, so it is read byte by byte."""
    while (letter := plain.recv(1)) != b"\n":
        if not letter:
            raise ValueError("it is no NATS server")


def _credulous() -> ssl.SSLContext:
    """For a look at a certificate that was refused: nothing is said over the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

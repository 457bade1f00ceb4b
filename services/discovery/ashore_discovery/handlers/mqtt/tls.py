"""How a broker is recognised, and how it recognises us."""

import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from ashore_discovery.handlers.mqtt.details import Tls


def tls_context(form: Tls, secret: Callable[[str], str]) -> ssl.SSLContext:
    """How to recognise the broker, and to be recognised by it; raise HandlerError or OSError."""
    context = ssl.create_default_context(cadata=secret(form.ca) if form.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if form.certificate:
        # The ssl module takes our own certificate from a file only.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(secret(form.certificate) + "\n" + (secret(form.key) if form.key else "") + "\n")
            file.flush()
            context.load_cert_chain(Path(file.name))
    context.check_hostname = form.server_name
    return context

"""nats-py's client, made to keep to TLS where the URL says `tls://`.

By itself it speaks TLS when the server asks for it, and so it would speak plain text with an impostor who does not.
"""

import ipaddress

import nats.errors
from nats.aio.client import Client


class SecretiveClient(Client):
    """A client that signs nothing and sends nothing to a `tls://` server before the connection is encrypted."""

    def _connect_command(self) -> bytes:
        # It is called once the handshake is over, and makes the first thing that is sent.
        wanted = self._current_server is not None and self._current_server.uri.scheme == "tls"
        if wanted and not self._server_info.get("tls_required"):
            raise nats.errors.Error("nats: the server speaks plain text, although its URL begins with tls://")
        return super()._connect_command()

    def learnt(self) -> list[str]:
        """URLs of all servers that are known by now, those of a cluster that this one has told of among them.

        Over TLS those told as bare addresses are left out: a certificate is for a name, and nobody has told which.
        """
        return [url.geturl() for url in self.servers if url.scheme != "tls" or not _is_address(url.hostname or "")]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

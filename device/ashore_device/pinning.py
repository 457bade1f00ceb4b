"""TLS to a server that the rendezvous info names by the hash of a certificate (FDO 1.1, section 3.7).

`RVSvCertHash` is the hash of the server's own certificate: that one is believed, whoever signed it and whatever the
clock says, since a new device may have no authorities and no time. `RVClCertHash` is the hash of an authority's: the
server shows it among its own, or the device has it, and the server must prove by it, with its name and its dates, as
usual. Both are looked at when the handshake ends, before a word of FDO is said.
"""

import ssl
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from ashore import cbor
from ashore.fdo.types import Hash, HashType, digest
from ashore_device.errors import TransportError

_REMEDY: Final = "give the server the right certificate, or the device a rendezvous info with the right hash"
_FAILED: Final = 1


class Pins(msgspec.Struct, frozen=True):
    """Hashes of certificates, as `ashore.fdo.rvinfo.Directive` has them; without any the usual authorities count."""

    server: str | None = None
    authority: str | None = None

    def __bool__(self) -> bool:
        return self.server is not None or self.authority is not None


class _Handshake(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        if isinstance(self.context, Context):
            self.context.look(self)


class Context(ssl.SSLContext):
    """Has a look at the server's certificates when a handshake ends; what `look` raises ends the connection."""

    sslobject_class = _Handshake
    look: Callable[[ssl.SSLObject], None]


def context_of(authority: bytes | None, server: str | None) -> Context:
    """For a client that believes one authority, in DER, or whoever has the one certificate, or both together."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        # It may be an intermediate one: to be named by the rendezvous info is what makes it trusted.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=authority)
    wanted = None if server is None else _hash(server)

    def look(connection: ssl.SSLObject) -> None:
        if wanted is not None:
            _check_server(connection, wanted)

    context.look = look
    return context


def spying_context(seen: list[bytes]) -> Context:
    """For a client that only wants to see the server's certificates, in DER: it hangs up when it has."""
    context = context_of(None, None)

    def look(connection: ssl.SSLObject) -> None:
        seen.extend(_chain(connection))
        raise ssl.SSLError(_FAILED, "the certificates have been seen")

    context.look = look
    return context


def find_authority(pin: str, certificates: Iterable[bytes]) -> bytes:
    """The certificate with this hash; raise TransportError where it is not among them."""
    wanted = _hash(pin)
    for certificate in certificates:
        if wanted.matches(certificate):
            return certificate
    raise TransportError(f"no authority of the server is the one that the rendezvous info names; {_REMEDY}")


def _check_server(connection: ssl.SSLObject, wanted: Hash) -> None:
    certificate = connection.getpeercert(binary_form=True) or b""
    if not wanted.matches(certificate):
        found = digest(HashType.SHA256, certificate).value.hex()
        text = f"the server's certificate (SHA-256 {found}) is not the one that the rendezvous info names; {_REMEDY}"
        raise ssl.SSLCertVerificationError(_FAILED, text)


def _hash(text: str) -> Hash:
    """A hash that cannot be read is no reason to believe anybody."""
    try:
        return msgspec.convert(cbor.loads(bytes.fromhex(text)), Hash)
    except ValueError as error:
        reason = "the rendezvous info names a certificate by a hash that cannot be read"
        raise TransportError(f"{reason}; initialise the device anew with SHA-256 or SHA-384") from error


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """All certificates that the server has sent; Python 3.13 is the first to give them without a detour."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    found = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found or ()]

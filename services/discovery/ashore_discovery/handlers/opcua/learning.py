"""What a server says of itself when it is asked for its endpoints: how it can be spoken with, and its certificate."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from ashore_discovery.handlers.opcua.book import Endpoint
from ashore_discovery.handlers.opcua.places import parse
from ashore_discovery.model import Facts, Identity, Learnt

_MOST_ENDPOINTS: Final = 15
_MOST_VALUES: Final = 32
_SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80
_MOST_LENGTH_BYTES: Final = 3


def learnt(endpoints: Sequence[Endpoint]) -> Learnt | None:
    """All endpoints as facts; None where there are none."""
    if not endpoints:
        return None
    server = endpoints[0].server
    facts: Facts = {
        "security_policies": _once(one.policy for one in endpoints),
        "security_modes": _once(one.mode for one in endpoints),
        "user_tokens": _once(token for one in endpoints for token in one.tokens),
        "application_name": server.name,
        "application_uri": server.uri,
        "application_type": server.kind,
        "product_uri": server.product,
    }
    identity: Identity = {}
    certificate = leaf(next((one.certificate for one in endpoints if one.certificate), b""))
    if certificate:
        # Every tool of OPC UA shows SHA-1; nobody can be told apart safely by that.
        facts["certificate_thumbprint"] = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
        identity["certificate"] = hashlib.sha256(certificate).hexdigest()
    urls = [place.url for one in endpoints if (place := parse(one.url)) is not None]
    return Learnt(
        facts={name: value for name, value in facts.items() if value not in ("", [])},
        identity=identity,
        endpoints=list(dict.fromkeys(urls))[:_MOST_ENDPOINTS],
    )


def leaf(chain: bytes) -> bytes:
    """The first certificate of a chain, which is the server's own; nothing where it is none.

    OPC 10000-6, 6.2.6: a chain is certificates in DER, one after the other. Only the outermost length is looked at.
    """
    if len(chain) < 2 or chain[0] != _SEQUENCE:  # noqa: PLR2004 - tag and length
        return b""
    first = chain[1]
    if first < _LONG_FORM:
        end = 2 + first
    else:
        count = first - _LONG_FORM
        if not 1 <= count <= _MOST_LENGTH_BYTES:
            return b""
        end = 2 + count + int.from_bytes(chain[2 : 2 + count], "big")
    return chain[:end] if end <= len(chain) else b""


def _once(values: Iterable[str]) -> list[str]:
    return sorted({one for one in values if one})[:_MOST_VALUES]

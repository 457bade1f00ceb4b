"""How a client proves that it knows a password without saying it: WS-Security's UsernameToken, and HTTP Digest. Pure.

A password is never sent as it is: who sends Basic or PasswordText to a stranger has given it away.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

import msgspec

_WSS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_PAIR: Final = re.compile(r'([a-zA-Z]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,512})"|([^\s,"]{1,512}))')
_HASHES: Final[dict[str, Callable[[bytes], "hashlib._Hash"]]] = {
    # RFC 7616 still has MD5, and cameras have nothing else.
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
}


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """What a server wants to see: `WWW-Authenticate: Digest ...`."""

    realm: str
    nonce: str
    opaque: str = ""
    algorithm: str = "MD5"
    qop: bool = False
    """Whether it knows `qop=auth`; older ones know nothing of it."""


def password_digest(nonce: bytes, created: str, password: str) -> str:
    """Base64(SHA-1(nonce + created + password)), as WS-Security's UsernameToken Profile 1.0 says in section 3.1."""
    plain = nonce + created.encode() + password.encode()
    return base64.b64encode(hashlib.sha1(plain, usedforsecurity=False).digest()).decode()


def username_token(username: str, password: str, nonce: bytes, at: float) -> str:
    """The header `Security`; `at` is the time by the device's clock, since many refuse what is minutes old."""
    created = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = password_digest(nonce, created, password)
    return (
        f'<wsse:Security xmlns:wsse="{_WSS}wssecurity-secext-1.0.xsd" xmlns:wsu="{_WSS}wssecurity-utility-1.0.xsd"'
        ' s:mustUnderstand="1">'
        f"<wsse:UsernameToken><wsse:Username>{escape(username)}</wsse:Username>"
        f'<wsse:Password Type="{_WSS}username-token-profile-1.0#PasswordDigest">{digest}</wsse:Password>'
        f'<wsse:Nonce EncodingType="{_WSS}soap-message-security-1.0#Base64Binary">'
        f"{base64.b64encode(nonce).decode()}</wsse:Nonce><wsu:Created>{created}</wsu:Created>"
        "</wsse:UsernameToken></wsse:Security>"
    )


def challenge(headers: list[str]) -> Challenge | None:
    """The strongest challenge that we can answer, of all `WWW-Authenticate` headers; none where it wants Basic, say."""
    found: list[Challenge] = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() != "digest":
            continue
        values = {
            match[1].lower(): re.sub(r"\\(.)", r"\1", match[2] or match[3] or "") for match in _PAIR.finditer(rest)
        }
        algorithm = values.get("algorithm", "MD5").upper()
        offered = [one.strip() for one in values.get("qop", "").split(",")]
        if algorithm in _HASHES and values.get("nonce") and ("auth" in offered or offered == [""]):
            found.append(
                Challenge(
                    realm=values.get("realm", ""),
                    nonce=values["nonce"],
                    opaque=values.get("opaque", ""),
                    algorithm=algorithm,
                    qop="auth" in offered,
                )
            )
    return max(found, key=lambda one: one.algorithm == "SHA-256", default=None)


def authorization(
    asked: Challenge, username: str, password: str, uri: str, *, cnonce: str, method: str = "POST"
) -> str:
    """The header `Authorization` that answers a challenge, for its first use."""

    def digest(plain: str) -> str:
        return _HASHES[asked.algorithm](plain.encode()).hexdigest()

    secret = digest(f"{username}:{asked.realm}:{password}")
    what = digest(f"{method}:{uri}")
    middle = f"{asked.nonce}:00000001:{cnonce}:auth" if asked.qop else asked.nonce
    response = digest(f"{secret}:{middle}:{what}")
    parts = [
        f'username="{_quoted(username)}"',
        f'realm="{_quoted(asked.realm)}"',
        f'nonce="{_quoted(asked.nonce)}"',
        f'uri="{_quoted(uri)}"',
        f'response="{response}"',
        f"algorithm={asked.algorithm}",
    ]
    if asked.opaque:
        parts.append(f'opaque="{_quoted(asked.opaque)}"')
    if asked.qop:
        parts += ["qop=auth", "nc=00000001", f'cnonce="{_quoted(cnonce)}"']
    return "Digest " + ", ".join(parts)


def _quoted(text: str) -> str:
    """As a quoted string; what is no printable character would end the header."""
    return re.sub(r'(["\\])', r"\\\1", "".join(letter for letter in text if letter.isprintable()))

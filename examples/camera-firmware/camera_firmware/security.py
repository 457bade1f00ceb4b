"""How one proves to know a password without saying it: WS-Security's UsernameToken, and HTTP Digest. Pure.

A password is never sent as it is: who sends Basic or PasswordText to a stranger has given it away.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from xml.sax.saxutils import escape

from camera_firmware.credentials import Credential

_WSS: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
_PAIR: Final = re.compile(r'([a-zA-Z]{1,32})\s*=\s*(?:"((?:[^"\\]|\\.){0,512})"|([^\s,"]{1,512}))')
_KNOWN: Final = ("MD5", "SHA-256")
"""RFC 7616 still has the former, and many cameras have nothing else."""


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """What a server wants to see: `WWW-Authenticate: Digest ...`."""

    realm: str
    nonce: str
    opaque: str
    algorithm: str
    qop: bool


def username_token(who: Credential, nonce: bytes, at: float) -> str:
    """The header `Security`; `at` is the time by the camera's clock, since many refuse what is minutes old."""
    created = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    plain = nonce + created.encode() + who.password.encode()
    digest = base64.b64encode(hashlib.sha1(plain, usedforsecurity=False).digest()).decode()
    return (
        f'<wsse:Security xmlns:wsse="{_WSS}wssecurity-secext-1.0.xsd" xmlns:wsu="{_WSS}wssecurity-utility-1.0.xsd"'
        ' s:mustUnderstand="1">'
        f"<wsse:UsernameToken><wsse:Username>{escape(who.username)}</wsse:Username>"
        f'<wsse:Password Type="{_WSS}username-token-profile-1.0#PasswordDigest">{digest}</wsse:Password>'
        f'<wsse:Nonce EncodingType="{_WSS}soap-message-security-1.0#Base64Binary">'
        f"{base64.b64encode(nonce).decode()}</wsse:Nonce><wsu:Created>{created}</wsu:Created>"
        "</wsse:UsernameToken></wsse:Security>"
    )


def challenge(headers: list[str]) -> Challenge | None:
    """The strongest challenge that can be answered; none where the server wants Basic, say."""
    found = [one for header in headers if (one := _challenge(header)) is not None]
    return max(found, key=lambda one: _KNOWN.index(one.algorithm), default=None)


def authorization(asked: Challenge, who: Credential, target: str, *, cnonce: str) -> str:
    """The header `Authorization` of a POST that answers a challenge, for its first use."""

    def digest(plain: str) -> str:
        data = plain.encode()
        if asked.algorithm == "MD5":
            return hashlib.md5(data, usedforsecurity=False).hexdigest()
        return hashlib.sha256(data).hexdigest()

    middle = f"{asked.nonce}:00000001:{cnonce}:auth" if asked.qop else asked.nonce
    secret, what = digest(f"{who.username}:{asked.realm}:{who.password}"), digest(f"POST:{target}")
    quoted = {
        "username": who.username,
        "realm": asked.realm,
        "nonce": asked.nonce,
        "uri": target,
        "opaque": asked.opaque,
    }
    parts = [f'{name}="{_quoted(value)}"' for name, value in quoted.items() if value or name != "opaque"]
    parts += [f'response="{digest(f"{secret}:{middle}:{what}")}"', f"algorithm={asked.algorithm}"]
    if asked.qop:
        parts += ["qop=auth", "nc=00000001", f'cnonce="{cnonce}"']
    return "Digest " + ", ".join(parts)


def _challenge(header: str) -> Challenge | None:
    scheme, _, rest = header.strip().partition(" ")
    pairs = {match[1].lower(): re.sub(r"\\(.)", r"\1", match[2] or match[3] or "") for match in _PAIR.finditer(rest)}
    algorithm = pairs.get("algorithm", "MD5").upper()
    offered = [one.strip() for one in pairs.get("qop", "").split(",")]
    usable = algorithm in _KNOWN and ("auth" in offered or offered == [""])
    if scheme.lower() != "digest" or not usable or not pairs.get("nonce"):
        return None
    return Challenge(
        realm=pairs.get("realm", ""),
        nonce=pairs["nonce"],
        opaque=pairs.get("opaque", ""),
        algorithm=algorithm,
        qop="auth" in offered,
    )


def _quoted(text: str) -> str:
    """As a quoted string; what is no printable character would end the header."""
    return re.sub(r'(["\\])', r"\\\1", "".join(letter for letter in text if letter.isprintable()))

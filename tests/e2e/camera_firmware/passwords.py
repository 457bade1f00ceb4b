"""How the simulated camera checks passwords: written from the specifications, and not from what the program does."""

import base64
import hashlib
import re
import secrets
from datetime import datetime
from email.message import Message
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

if TYPE_CHECKING:
    from tests.e2e.camera_firmware.simulated import Camera

_WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
_WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"
_DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
_FRESH_SECONDS = 5.0


class Passwords:
    """One camera's; nonces are good once."""

    def __init__(self, camera: "Camera") -> None:
        self._camera = camera
        self._given: set[str] = set()
        self._seen: set[str] = set()

    def wrong(self, root: Element, headers: "Message[str, str]", target: str) -> str:
        """Why a question is refused; empty where it is not."""
        accepts = self._camera.switches.accepts
        if accepts == "anybody":
            return ""
        if accepts == "digest":
            return self.wrong_digest(headers, target)
        return "nobody is let in" if accepts == "nobody" else self._wrong_token(root)

    def challenge(self) -> str:
        nonce = secrets.token_hex(16)
        self._given.add(nonce)
        return f'Digest realm="camera", nonce="{nonce}", qop="auth", algorithm=SHA-256, opaque="o"'

    def forget(self) -> None:
        self._given.clear()

    def wrong_digest(self, headers: "Message[str, str]", target: str) -> str:
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', headers.get("Authorization", "").removeprefix("Digest ")))
        if fields.get("nonce") not in self._given:
            return "no nonce that was given"
        self._given.remove(fields["nonce"])
        secret = _sha256(f"{self._camera.username}:{fields.get('realm')}:{self._camera.password}")
        middle = f"{fields['nonce']}:{fields.get('nc')}:{fields.get('cnonce')}:auth"
        right = fields.get("response") == _sha256(f"{secret}:{middle}:{_sha256(f'POST:{target}')}")
        return "" if right and fields.get("uri") == target and fields.get("nc") == "00000001" else "a wrong digest"

    def _wrong_token(self, root: Element) -> str:
        token = root.find(f".//{_WSSE}UsernameToken")
        if token is None:
            return "no token"
        said = {name: token.findtext(name) or "" for name in (f"{_WSSE}Username", f"{_WSSE}Password", f"{_WSSE}Nonce")}
        username, digest, nonce = said.values()
        created = token.findtext(f"{_WSU}Created") or ""
        if nonce in self._seen:
            return "a nonce for the second time"
        self._seen.add(nonce)
        plain = base64.b64decode(nonce, validate=True) + created.encode() + self._camera.password.encode()
        if digest != base64.b64encode(hashlib.sha1(plain).digest()).decode() or username != self._camera.username:
            return "a wrong digest"
        kind = token.find(f"{_WSSE}Password")
        if kind is None or kind.get("Type") != _DIGEST:
            return "no digest"
        age = abs(self._camera.now() - datetime.fromisoformat(created).timestamp())
        return "" if age < _FRESH_SECONDS else f"a token from another time, {age:.0f} s away"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

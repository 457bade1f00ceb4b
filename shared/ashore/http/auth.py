"""Bearer tokens with scopes for the management API.

The admin token has every scope and lies in a private file of the data folder, made at the first start. Further tokens
are given as lines `name:scope,scope:<SHA-256 of the token, hex>`, so that what is stored does not open anything.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from ashore import files
from ashore.http.problems import Problem

Scope = Literal["read", "write"]
SCOPES: Final[frozenset[str]] = frozenset(get_args(Scope))
ADMIN_TOKEN: Final = "admin-token"  # noqa: S105 - the name of a file
_LINE: Final = re.compile(r"([A-Za-z0-9._-]+):([a-z,]+):([0-9a-fA-F]{64})")


class TokensError(Exception):
    """The list of tokens cannot be read."""


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: a token's name and what it may do."""

    name: str
    scopes: frozenset[str]


ANYBODY: Final = Principal("anybody", SCOPES)


class Auth:
    """Knows tokens by their digests; a request is for whoever holds a matching token."""

    def __init__(self, principals: Iterable[tuple[bytes, Principal]], *, enabled: bool = True) -> None:
        self._principals = list(principals)
        self.enabled = enabled

    @classmethod
    def of(cls, admin: str, lines: str = "", *, enabled: bool = True) -> "Auth":
        """The admin's token and the further ones; raise TokensError for a line that is none."""
        tokens = [(digest(admin), Principal("admin", SCOPES)), *map(_principal, _significant(lines))]
        return cls(tokens, enabled=enabled)

    def principal(self, authorization: str | None) -> Principal:
        """Who sent this `Authorization` header; raise Problem 401."""
        if not self.enabled:
            return ANYBODY
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorised("no bearer token was sent")
        given, found = digest(token.strip()), None
        for known, principal in self._principals:
            # All are compared, each in constant time, so that time tells nothing.
            if hmac.compare_digest(known, given):
                found = principal
        if found is None:
            raise _unauthorised("this token is not known here")
        return found

    def require(self, authorization: str | None, scope: Scope | None) -> Principal:
        """Who is asking, if that one may; raise Problem 401 or 403. Without a scope anybody may."""
        if scope is None:
            return ANYBODY
        principal = self.principal(authorization)
        if scope not in principal.scopes:
            raise Problem(403, f"the token '{principal.name}' has no scope '{scope}'", remedy="use a token that has it")
        return principal


def admin_token(data_dir: Path) -> str:
    """The admin token in the data folder, made where it is missing; raise files.FilesError."""
    content = files.read_or_create(data_dir / ADMIN_TOKEN, lambda: secrets.token_urlsafe(32).encode() + b"\n")
    return content.decode("ascii", "replace").strip()


def digest(token: str) -> bytes:
    """What is stored of a token; tokens are random, so one round of SHA-256 suffices."""
    return hashlib.sha256(token.encode()).digest()


def _significant(text: str) -> list[str]:
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _principal(line: str) -> tuple[bytes, Principal]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise TokensError("a line of ASHORE_TOKENS is not 'name:scope,scope:<SHA-256 in hex>'")
    scopes = frozenset(match[2].split(","))
    if not scopes <= SCOPES:
        raise TokensError(f"the token '{match[1]}' has an unknown scope: there are {', '.join(sorted(SCOPES))}")
    return bytes.fromhex(match[3]), Principal(match[1], scopes)


def _unauthorised(detail: str) -> Problem:
    remedy = f"send 'Authorization: Bearer <token>'; the admin's is in the file {ADMIN_TOKEN} of the data folder"
    return Problem(401, detail, remedy=remedy, headers={"WWW-Authenticate": "Bearer"})

"""FDO sessions: sealed into the device's token first, in the memory of one replica after.

Until a device has proved who it is, its session travels in the bearer token, sealed, so that a flood of hellos leaves
nothing behind. From then on the session stands in a SessionTable. Tables and sets here are bounded, and the clock is
an argument. What a session is, and which message makes it move from one to the other, is the protocol's business.

The token is constant over a session, because the C client keeps only the first one it gets, and short, because that
client has 1,024 bytes for all headers of a response.
"""

import base64
import binascii
import heapq
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
EXPIRY_SIZE: Final = 5
_VERSION: Final = b"\x01"
_TAG_SIZE: Final = 16
_SHORTEST: Final = len(_VERSION) + NONCE_SIZE + EXPIRY_SIZE + _TAG_SIZE
_LONGEST_TEXT: Final = 4096


class SessionError(Exception):
    """A session cannot go on."""


class TokenInvalid(SessionError):  # noqa: N818 - the name tells what is so, as the port's contract has it
    """The token was not sealed here for this purpose, or was altered."""


class TokenExpired(SessionError):  # noqa: N818 - as above
    """The token was good once; the device starts the protocol again."""


class TooManySessions(SessionError):  # noqa: N818 - as above
    """No more sessions fit; the device tries again later."""


class Sealer:
    """Seals small states into URL-safe tokens: version, nonce, AES-256-GCM of expiry and payload, tag.

    Nonces are random, so one key seals at most 2**32 tokens: 50 days of a thousand hellos a second.
    """

    def __init__(self, key: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"a sealing key has {KEY_SIZE} bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self._random = random

    def seal(self, purpose: str, payload: bytes, *, expires_at: int) -> str:
        """A token that only `open` with the same purpose can read, until `expires_at` (seconds since 1970)."""
        nonce = self._random(NONCE_SIZE)
        content = expires_at.to_bytes(EXPIRY_SIZE, "big") + payload
        sealed = self._cipher.encrypt(nonce, content, purpose.encode())
        return base64.urlsafe_b64encode(_VERSION + nonce + sealed).rstrip(b"=").decode("ascii")

    def open(self, purpose: str, token: str, *, now: int) -> bytes:
        """The payload; raise TokenInvalid or TokenExpired."""
        raw = _decode(token)
        nonce, sealed = raw[1 : 1 + NONCE_SIZE], raw[1 + NONCE_SIZE :]
        try:
            content = self._cipher.decrypt(nonce, sealed, purpose.encode())
        except InvalidTag as error:
            raise TokenInvalid("the token was altered, or sealed elsewhere") from error
        if int.from_bytes(content[:EXPIRY_SIZE], "big") <= now:
            raise TokenExpired("the token has expired: start the protocol again")
        return content[EXPIRY_SIZE:]


def _decode(token: str) -> bytes:
    """Undo base64, and refuse a second spelling of the same bytes: a token is its text."""
    try:
        text = token.encode("ascii")
        raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)) if len(text) <= _LONGEST_TEXT else b""
    except (UnicodeEncodeError, binascii.Error) as error:
        raise TokenInvalid("the token is not base64") from error
    if len(raw) < _SHORTEST or raw[:1] != _VERSION or base64.urlsafe_b64encode(raw).rstrip(b"=") != text:
        raise TokenInvalid("this is not a token of ours")
    return raw


class SessionTable(Generic[T]):
    """Sessions by key, each kept for `lifetime` seconds after its last `put`; the oldest make room for new ones."""

    def __init__(
        self,
        capacity: int,
        lifetime: float,
        clock: Callable[[], float],
        on_expire: Callable[[str, T], None] | None = None,
    ) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._clock = clock
        self._on_expire = on_expire
        # The order of puts is the order of expiry, since all live equally long.
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def put(self, key: str, session: T) -> None:
        """Keep a session, new or moved on; its lifetime begins anew."""
        self.expire()
        self._entries[key] = (self._clock() + self._lifetime, session)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._drop_oldest()

    def get(self, key: str) -> T | None:
        """The session, unless there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock():
            return None
        return entry[1]

    def take(self, key: str) -> T | None:
        """The session, which is then no longer in the table; `on_expire` is not called."""
        session = self.get(key)
        if session is not None:
            del self._entries[key]
        return session

    def expire(self) -> int:
        """Drop every session whose time is over; tell how many."""
        now, before = self._clock(), len(self._entries)
        while self._entries and next(iter(self._entries.values()))[0] <= now:
            self._drop_oldest()
        return before - len(self._entries)

    def _drop_oldest(self) -> None:
        key, (_, session) = self._entries.popitem(last=False)
        if self._on_expire is not None:
            self._on_expire(key, session)


class Spent:
    """Which tokens were used already, each remembered until it expires anyway.

    A full set refuses further tokens instead of forgetting one, since a forgotten token could be used again.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._used: set[str] = set()
        self._by_expiry: list[tuple[int, str]] = []
        """A heap, because the clock may be set."""

    def __len__(self) -> int:
        return len(self._used)

    def __contains__(self, token: object) -> bool:
        return token in self._used

    def spend(self, token: str, *, expires_at: int, now: int) -> bool:
        """Use a token up; False where it was used before. Raise TooManySessions where the set is full."""
        if token in self._used:
            return False
        while self._by_expiry and self._by_expiry[0][0] <= now:
            self._used.discard(heapq.heappop(self._by_expiry)[1])
        if len(self._used) >= self._capacity:
            raise TooManySessions("too many sessions at once: try again later")
        self._used.add(token)
        heapq.heappush(self._by_expiry, (expires_at, token))
        return True

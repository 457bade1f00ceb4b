"""From bodies to Structs and back: what all messages have in common.

A message is a msgspec Struct in array form, or a `Signed` wrapper where its body is one COSE_Sign1. What a peer signed
or hashed is never re-made: bytes stay bytes.
"""

from typing import Any, ClassVar, Self, TypeVar

import msgspec

from ashore import cbor, cose
from ashore.cose import Sign1
from ashore.fdo.errors import MessageBodyError

T = TypeVar("T")


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A message whose body is an array."""

    number: ClassVar[int]
    after: ClassVar[tuple[int, ...]]
    """The states in which it is lawful: numbers of messages, or START."""
    encrypted: ClassVar[bool] = False

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read the plain body; raise MessageBodyError with the path of what is wrong."""
        return convert(_load(cls.number, body), cls)

    def encode(self) -> bytes:
        """The plain body."""
        return cbor.dumps(plain(self))


class Signed(Message):
    """A message whose whole body is one COSE_Sign1."""

    sign1: Sign1

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read the plain body; the signature is checked by who knows the key."""
        try:
            return cls(Sign1.of(_load(cls.number, body)))
        except cose.CoseError as error:
            raise MessageBodyError(f"message {cls.number}: {error}") from error

    def encode(self) -> bytes:
        """The plain body."""
        return self.sign1.encode()


def convert(value: object, kind: type[T]) -> T:
    """Check a decoded item against a type; raise MessageBodyError with the path of what is wrong."""
    try:
        return msgspec.convert(value, kind, builtin_types=(bytes,), dec_hook=_sign1)
    except (msgspec.ValidationError, cose.CoseError) as error:
        raise MessageBodyError(f"{kind.__name__}: {error}") from error


def plain(value: object) -> Any:
    """Turn Structs into what CBOR knows, without touching bytes that were received."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def _sign1(kind: type, value: object) -> object:
    if kind is Sign1:
        return Sign1.of(value)
    raise NotImplementedError(kind)


def _load(number: int, body: bytes) -> object:
    try:
        return cbor.loads(body)
    except cbor.CborError as error:
        raise MessageBodyError(f"the body of message {number} is not CBOR as FDO demands it: {error}") from error

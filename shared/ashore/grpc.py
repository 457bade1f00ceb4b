"""gRPC for small interfaces of others, without generated code: messages, their bytes, and a limit for each.

The interfaces that are spoken here are small and do not change, so their messages are described in a few lines and not
generated: generated code must fit the release of protobuf that is installed. grpclib reads a message of any length that
its sender promises, so messages are read here, from the stream below it. Needs the extra `grpc`.
"""

import asyncio
import re
from collections.abc import Awaitable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.protocol import Stream

MESSAGE_SECONDS: Final = 30.0
"""A message that has begun must have ended by then; between two of them any time may pass."""
SMALL: Final = Configuration(http2_connection_window_size=65_535, http2_stream_window_size=65_535)
"""For small messages on many connections: with windows as they are at first nothing need be agreed on."""
_HEAD: Final = 5


class CallError(Exception):
    """The call is over; the text says why."""


class MessageError(Exception):
    """What the other side has sent is no message of the interface; the text says why."""


class Bytes(CodecBase):
    """Messages stay as they are: they are read and written elsewhere."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        """As it is."""
        del message_type
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        """As it is."""
        del message_type
        return data


async def receive(stream: Stream, largest: int, wrapper: AbstractContextManager[Any] | None = None) -> bytes | None:
    """The next message, None after the last; raise CallError where it is too large or is compressed."""
    with wrapper or nullcontext():
        head = await _whole(stream.recv_data(_HEAD))
        if not head:
            return None
        size = int.from_bytes(head[1:])
        if head[0]:
            raise CallError("its messages are compressed, which nobody has asked for")
        if size > largest:
            raise CallError(f"a message of {size} bytes, and {largest} are taken")
        if not size:
            return b""
        async with asyncio.timeout(MESSAGE_SECONDS):
            return await _whole(stream.recv_data(size))


def plain(text: str) -> str:
    """Words of a stranger, for a log and for health."""
    return re.sub(r"[^\x20-\x7e]+", " ", text)[:300]


class Messages:
    """The messages of one interface, from a description of a line each: `Device id:1:string mounts:2:Mount*`.

    `*` says that a field is repeated, `?` that an absent one is another thing than an empty one. A map is, on the wire,
    a repeated pair of `key` and `value`; an enumeration is a number.
    """

    def __init__(self, package: str, description: str) -> None:
        file = descriptor_pb2.FileDescriptorProto(name=f"ashore/{package}.proto", package=package, syntax="proto3")
        for line in description.strip().splitlines():
            name, *fields = line.split()
            kind = file.message_type.add(name=name)
            for text in fields:
                _describe(kind, package, text)
        pool = descriptor_pool.DescriptorPool()
        pool.AddSerializedFile(file.SerializeToString())
        names = [kind.name for kind in file.message_type]
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in names
        }

    def new(self, name: str, **fields: Any) -> Any:
        """A message with these fields."""
        return self._classes[name](**fields)

    def read(self, name: str, body: bytes) -> Any:
        """A message from its bytes; raise MessageError."""
        found = self._classes[name]()
        try:
            found.ParseFromString(body)
        except (message.DecodeError, ValueError, RecursionError) as error:
            raise MessageError(f"this is no {name}: {error}") from error
        return found


def _describe(kind: descriptor_pb2.DescriptorProto, package: str, text: str) -> None:
    field_of = descriptor_pb2.FieldDescriptorProto
    field_name, number, type_name = text.split(":")
    field = kind.field.add(name=field_name, number=int(number))
    plain_name = type_name.rstrip("*?")
    field.label = field_of.LABEL_REPEATED if type_name.endswith("*") else field_of.LABEL_OPTIONAL
    if plain_name[0].isupper():
        field.type, field.type_name = field_of.TYPE_MESSAGE, f".{package}.{plain_name}"
    else:
        field.type = field_of.Type.Value(f"TYPE_{plain_name.upper()}")
    if type_name.endswith("?"):
        # `optional` of proto3: an empty text is another thing than none.
        kind.oneof_decl.add(name=f"_{field_name}")
        field.proto3_optional, field.oneof_index = True, len(kind.oneof_decl) - 1


async def _whole(reading: Awaitable[bytes]) -> bytes:
    try:
        return await reading
    except AssertionError as error:
        raise CallError("it has ended in the middle of a message") from error

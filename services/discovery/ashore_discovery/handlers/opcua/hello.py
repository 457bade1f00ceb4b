"""The handshake of OPC UA over TCP (OPC 10000-6, 7.1.2): Hello, and Acknowledge or Error. All it needs is a socket.

Two small messages, no secure channel, no session: the cheapest proof that a server is there, and that what listens is
OPC UA. A server that answers with an Error is there, too.
"""

import asyncio
import errno
import struct
from typing import Final, Literal, NamedTuple

from ashore_discovery.handlers.opcua.places import Target

LONGEST_ANSWER: Final = 8 + 4 + 4 + 4096
"""An Error with the longest reason that there may be."""
PATIENCE_SECONDS: Final = 1.5
"""One packet that is lost while a connection is opened is sent again after a second, and is no reason for suspicion."""
_BUFFER: Final = 65_536
_HEADER: Final = struct.Struct("<4sI")
_NUMBERS: Final = struct.Struct("<5I")
_ERROR: Final = struct.Struct("<Ii")

Answer = Literal["answers", "refuses", "silent", "foreign", "unreachable"]
"""`refuses`: its host is there, and nobody listens; `foreign`: who listens speaks no OPC UA; `unreachable`: there is
no way there, so it is our own link that is down."""


class HelloError(ValueError):
    """What came is no answer to a Hello; the text says why."""


class Acknowledge(NamedTuple):
    """The server is there, and takes messages of these sizes."""

    version: int
    receive_buffer: int
    send_buffer: int
    longest_message: int
    most_chunks: int


class Refused(NamedTuple):
    """The server is there, and does not want to speak with us now."""

    status: int
    reason: str


def hello(url: str) -> bytes:
    """Hello: who we want to speak with, and what we can take."""
    text = url.encode()[:4096]
    body = _NUMBERS.pack(0, _BUFFER, _BUFFER, 0, 0) + struct.pack("<i", len(text)) + text
    return _HEADER.pack(b"HELF", _HEADER.size + len(body)) + body


def length(header: bytes) -> int:
    """How long the body of an answer is, by its header of 8 bytes; raise HelloError."""
    kind, size = _HEADER.unpack(header)
    if kind not in (b"ACKF", b"ERRF"):
        raise HelloError(f"it answers with {kind!r}, and not with ACKF or ERRF: this is no OPC UA")
    if not _HEADER.size <= size <= LONGEST_ANSWER:
        raise HelloError(f"an answer of {size} bytes; {LONGEST_ANSWER} are taken")
    return int(size) - _HEADER.size


def decode(message: bytes) -> Acknowledge | Refused:
    """A whole answer; raise HelloError."""
    if len(message) < _HEADER.size or length(message[: _HEADER.size]) != len(message) - _HEADER.size:
        raise HelloError(f"{len(message)} bytes are not the length that the message says")
    body = message[_HEADER.size :]
    if message.startswith(b"ACK"):
        if len(body) < _NUMBERS.size:
            raise HelloError("an Acknowledge is cut off")
        return Acknowledge(*_NUMBERS.unpack_from(body))
    if len(body) < _ERROR.size:
        raise HelloError("an Error is cut off")
    status, count = _ERROR.unpack_from(body)
    text = body[_ERROR.size :]
    if count > len(text):
        raise HelloError("the reason of an Error is cut off")
    return Refused(status, text[: max(count, 0)].decode(errors="replace"))


async def ask(target: Target, seconds: float = PATIENCE_SECONDS) -> Answer:
    """Say hello to a server and hang up."""
    try:
        async with asyncio.timeout(seconds):
            await _shake(target)
    except TimeoutError:
        return "silent"
    except (HelloError, asyncio.IncompleteReadError):
        return "foreign"
    except ConnectionRefusedError:
        return "refuses"
    except ConnectionError:
        return "silent"
    except OSError as error:
        return "unreachable" if error.errno in (errno.ENETUNREACH, errno.ENETDOWN) else "silent"
    return "answers"


async def _shake(target: Target) -> Acknowledge | Refused:
    reader, writer = await asyncio.open_connection(target.address, target.port, limit=LONGEST_ANSWER)
    try:
        writer.write(hello(target.url))
        header = await reader.readexactly(_HEADER.size)
        return decode(header + await reader.readexactly(length(header)))
    finally:
        writer.close()

"""JetStream's API over plain requests: what ashore uses of it, and its errors as ours.

nats-py's own JetStream layer is not used: its `fetch` leaves pull requests behind and its key-value store loses the
time to live on update. Requests and answers are those of the server's JSON API.
"""

from collections.abc import Mapping

import msgspec
from nats.aio.msg import Msg

from ashore.bus import BusRefused, BusUnavailable, Conflict, NoResponder, StoreFull
from ashore.bus.nats.link import Connection

JSON = dict[str, object]
API_SECONDS = 5.0
NANOSECONDS = 1_000_000_000

_WRONG_LAST_SEQUENCE = {10071, 10164}
_MAXIMUM_BYTES = {10047, 10077}
_NO_SUCH_SEQUENCE = 10043
_UNAVAILABLE = 503
_NOT_FOUND = 404


class ApiError(msgspec.Struct, frozen=True):
    """What the server says went wrong."""

    code: int
    description: str = ""
    err_code: int = 0


class _Answer(msgspec.Struct, frozen=True):
    error: ApiError | None = None
    seq: int = 0


class NotFound(BusRefused):
    """There is no such stream, consumer or message."""


async def call(connection: Connection, operation: str, request: Mapping[str, object] | None = None) -> JSON:
    """Ask `$JS.API.<operation>`; NotFound, BusRefused or BusUnavailable when the server says no."""
    body = msgspec.json.encode(request) if request is not None else b""
    message = await _ask(connection, f"$JS.API.{operation}", body, {}, API_SECONDS)
    answer = msgspec.json.decode(message.data, type=_Answer)
    if answer.error is not None:
        raise _as_ours(answer.error, operation)
    return msgspec.json.decode(message.data, type=JSON)


async def store(
    connection: Connection, subject: str, body: bytes, headers: Mapping[str, str], *, seconds: float
) -> int:
    """Publish into a stream and return the sequence once the server has stored it."""
    message = await _ask(connection, subject, body, headers, seconds)
    answer = msgspec.json.decode(message.data, type=_Answer)
    if answer.error is not None:
        raise _as_ours(answer.error, subject)
    return answer.seq


async def _ask(connection: Connection, subject: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Msg:
    try:
        return await connection.request(subject, body, seconds=seconds, headers=headers)
    except NoResponder as error:
        raise BusUnavailable(f"no stream takes {subject}; it may have no leader, or is not declared yet") from error


def _as_ours(error: ApiError, what: str) -> Exception:
    text = f"{what}: {error.description}"
    if error.err_code in _WRONG_LAST_SEQUENCE:
        return Conflict(text)
    if error.err_code in _MAXIMUM_BYTES:
        return StoreFull(text)
    if error.code == _NOT_FOUND or error.err_code == _NO_SUCH_SEQUENCE:
        return NotFound(text)
    # 503: no leader at the moment, no space on the disk. 500: the server stumbled. Both may pass.
    return BusUnavailable(text) if error.code in (500, _UNAVAILABLE) else BusRefused(text)

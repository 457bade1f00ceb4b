"""Service info: what owner and device say to each other in messages 68 and 69 of TO2 (FDO 1.1, section 3.8).

A conversation is a sequence of key-values. A key is `module:message`, a value is one CBOR item. The rules of the
exchange stand in `owner` and `device`, the cutting into messages in `chunking`, and each module (FSIM) has one file
with both its sides: `devmod`, `fdo_sys`, `command`, `download`, `upload`, `wget`.

Everything here is pure: no clock, no files, no processes. What a device really does goes through the port in `host`;
how long a reply may be held back is only suggested (`OwnerTurn.pause`).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from ashore.fdo.errors import FdoError, MessageBodyError
from ashore.fdo.messages import DEFAULT_SERVICE_INFO_SIZE

SMALLEST_SIZE: Final = 256
LARGEST_SIZE: Final = 65_400
"""What fits into an HTTP body of 65,535 bytes (the limit of the Go peers) after encryption."""
MAX_KEY: Final = 63
MAX_MODULE: Final = 31
MAX_MESSAGE: Final = 30


class ServiceInfoError(MessageBodyError):
    """The service info is malformed, or beyond a limit."""


class StepFailedError(FdoError):
    """A step that must succeed did not, so the onboarding ends here."""


KeyValue = tuple[str, bytes]
"""One pair as it stands on the wire: the key `module:message`, and one encoded CBOR item, or a fragment of one."""


class DeviceTurn(msgspec.Struct, frozen=True):
    """What the device says in DeviceServiceInfo (68)."""

    is_more: bool = False
    items: Sequence[KeyValue] = ()


class OwnerTurn(msgspec.Struct, frozen=True):
    """What the owner says in OwnerServiceInfo (69)."""

    is_more: bool = False
    is_done: bool = False
    items: Sequence[KeyValue] = ()
    pause: float = 0.0
    """Seconds that the reply may be held back, because nothing can happen before the device has made progress.

    Not on the wire. The Go client polls without any delay of its own while a command runs.
    """


def message_size(announced: int | None) -> int:
    """Bytes that one message may have, from what the receiver announced; raise ServiceInfoError for nonsense."""
    if announced is None:
        return DEFAULT_SERVICE_INFO_SIZE
    if announced < SMALLEST_SIZE:
        raise ServiceInfoError(f"a service info size of {announced} bytes was announced, at least 256 are needed")
    return min(announced, LARGEST_SIZE)


@lru_cache(maxsize=1024)
def split_key(key: str) -> tuple[str, str]:
    """Give module and message of a key; raise ServiceInfoError unless both have a lawful length."""
    module, colon, message = key.partition(":")
    if not colon or not 0 < len(module) <= MAX_MODULE or not 0 < len(message) <= MAX_MESSAGE:
        raise ServiceInfoError(f"service info key {key[:MAX_KEY]!r} is not of the form module:message")
    return module, message

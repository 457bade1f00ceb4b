"""Readers for values that came from the other side: each gives a checked value, or raises ServiceInfoError.

`name` checks the shape of a file name only. Where a name leads (links, mounts, the working folder) is the host's
business, see `host`.
"""

from typing import Final

from ashore.fdo.serviceinfo import ServiceInfoError

MAX_TEXT: Final = 4096
MAX_NAME: Final = 255
MAX_ARGUMENTS: Final = 256
SHA384_SIZE: Final = 48
_LARGEST: Final = 1 << 63


def boolean(value: object, what: str) -> bool:
    """Read true or false."""
    if isinstance(value, bool):
        return value
    raise _unexpected(what, "a boolean", value)


def integer(value: object, what: str, low: int = -_LARGEST, high: int = _LARGEST - 1) -> int:
    """Read an integer between `low` and `high`, both included."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unexpected(what, "an integer", value)
    if not low <= value <= high:
        raise ServiceInfoError(f"{what} is {value}, outside {low} to {high}")
    return value


def text(value: object, what: str, limit: int = MAX_TEXT) -> str:
    """Read a text of at most `limit` characters."""
    if not isinstance(value, str):
        raise _unexpected(what, "a text", value)
    if len(value) > limit:
        raise ServiceInfoError(f"{what} has {len(value)} characters, at most {limit} are accepted")
    return value


def blob(value: object, what: str) -> bytes:
    """Read a byte string; its size is bounded by the message."""
    if isinstance(value, bytes):
        return value
    raise _unexpected(what, "a byte string", value)


def digest(value: object, what: str) -> bytes:
    """Read a SHA-384 digest; an empty one means none."""
    data = blob(value, what)
    if len(data) not in (0, SHA384_SIZE):
        raise ServiceInfoError(f"{what} has {len(data)} bytes, not 48")
    return data


def array(value: object, what: str) -> list[object]:
    """Read an array."""
    if isinstance(value, list):
        return value
    raise _unexpected(what, "an array", value)


def texts(value: object, what: str) -> list[str]:
    """Read an array of texts, such as the arguments of a command."""
    entries = array(value, what)
    if len(entries) > MAX_ARGUMENTS:
        raise ServiceInfoError(f"{what} has {len(entries)} entries, at most {MAX_ARGUMENTS} are accepted")
    return [text(entry, what) for entry in entries]


def name(value: object, what: str) -> str:
    """Read a relative file name which stays below the folder that it is meant for."""
    path = text(value, what, MAX_NAME)
    if not path or not path.isprintable() or "\\" in path or path.startswith("/") or path[1:2] == ":":
        raise ServiceInfoError(f"{what} {path!r} is not a relative file name")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ServiceInfoError(f"{what} {path!r} leads out of the working folder")
    return path


def _unexpected(what: str, expected: str, value: object) -> ServiceInfoError:
    return ServiceInfoError(f"{what} must be {expected}, not {type(value).__name__}")

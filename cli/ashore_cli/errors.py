"""Errors for people: what happened, what to do next, and the exit code; never a traceback.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 a service or the bus cannot be reached. `ASHORE_DEBUG=1`
shows the traceback of what nobody has foreseen.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cyclopts import CycloptsError, UnusedCliTokensError

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
_CONTENT: Final = (400, 422)
_CONNECT_FAILED: Final = re.compile(r"\[Errno \d+\] Connect call failed \([^)]*\)")

_WHO: Final = re.compile(r"^the \S+ service refused: (the body is not what this operation takes: )?")
_ERRNO: Final = re.compile(r"\[Errno -?\d+\] ")
_STRANGER: Final = ("Authorization Violation", "nkeys:")
"""What the bus, or its library, says to those without the seed of a user."""


class CommandError(Exception):
    """The command cannot do what was asked: `remedy` says what to do next."""

    def __init__(self, text: str, *, remedy: str = "", code: int = REFUSED) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.code = code


@contextmanager
def naming(what: str, *, remedy: str) -> Iterator[None]:
    """Name what a service refuses: it has seen no file, and knows nothing of the user's next step."""
    from ashore.client import ClientError, Unreachable  # noqa: PLC0415 - see `_ours`

    try:
        yield
    except Unreachable:
        raise
    except ClientError as error:
        if error.status not in _CONTENT:
            raise
        raise CommandError(f"{what}: {_WHO.sub('', error.detail)}", remedy=remedy) from error


def explain(error: Exception) -> int:
    """Tell on the terminal what went wrong; the answer is the exit code."""
    text, remedy, code = _words(error)
    say(text, remedy)
    return code


def say(text: str, remedy: str = "") -> None:
    """One error on the terminal."""
    # Words of a device or of another service may be among them, so they must not reach the terminal as they are.
    lines = [f"ashore: {printable(text)}", *([f"  to do: {printable(remedy)}"] if remedy else [])]
    sys.stderr.write("\n".join(lines) + "\n")


def printable(text: str) -> str:
    """The text without anything that a terminal would obey; it keeps its lines."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def _words(error: Exception) -> tuple[str, str, int]:
    return _usage(error) if isinstance(error, CycloptsError) else _ours(error)


def _usage(error: CycloptsError) -> tuple[str, str, int]:
    words = " ".join(("ashore", *(error.command_chain or ())))
    text = str(error).strip()
    if isinstance(error, UnusedCliTokensError):
        text = f"`{words}` does not take {', '.join(repr(token) for token in error.unused_tokens or ())}"
    return f"{text[:1].lower()}{text[1:]}", f"see `{words} --help`", USAGE


def _ours(error: Exception) -> tuple[str, str, int]:
    # These modules are slow to import, and only a command that has imported them can raise their errors.
    from ashore.bus import BusError, BusUnavailable  # noqa: PLC0415 - see above
    from ashore.client import ClientError, Unreachable  # noqa: PLC0415 - see above

    match error:
        case CommandError():
            return str(error), error.remedy, error.code
        case Unreachable():
            return error.detail, error.remedy, UNREACHABLE
        case ClientError():
            return error.detail, error.remedy, REFUSED
        case BusUnavailable():
            start = "start it (`ashore up`), or say where it is: --nats-url or ASHORE_NATS_URL"
            return *words_of_bus(str(error), start), UNREACHABLE
        case BusError():
            return str(error), "", REFUSED
    return _foreign(error)


def words_of_bus(text: str, remedy: str) -> tuple[str, str]:
    """What the bus says, and the remedy; another one for who has not the seed of a user."""
    if any(sign in text for sign in _STRANGER):
        return text, "name the data folder of what runs on this machine: --data PATH; else give ASHORE_NATS_SEED_FILE"
    return _ERRNO.sub("", _CONNECT_FAILED.sub("nothing listens there", text)), remedy


def _foreign(error: Exception) -> tuple[str, str, int]:
    from ashore.certificates import CertificateError  # noqa: PLC0415 - see `_ours`
    from ashore.fdo.errors import FdoError  # noqa: PLC0415 - see `_ours`
    from ashore.files import FilesError  # noqa: PLC0415 - see `_ours`
    from ashore.keys import KeysError  # noqa: PLC0415 - see `_ours`
    from ashore.tls import TlsError  # noqa: PLC0415 - see `_ours`
    from ashore_device.errors import DeviceError, describe  # noqa: PLC0415 - see `_ours`

    match error:
        case DeviceError() | FdoError():
            return describe(error), "", REFUSED
        case FilesError() | KeysError() | CertificateError() | TlsError():
            return str(error), "", REFUSED
        case PermissionError():
            remedy = "run this as the user who ran `ashore up`, or use another folder: --data"
            return f"{error.filename or 'the system'}: {error.strerror or error}", remedy, REFUSED
        case OSError():
            return f"{error.filename or 'the system'}: {error.strerror or error}", "", REFUSED
    if os.environ.get("ASHORE_DEBUG"):
        raise error
    return (
        f"something that nobody has foreseen: {type(error).__name__}: {error}",
        "run the command again with ASHORE_DEBUG=1, and report what it shows",
        REFUSED,
    )

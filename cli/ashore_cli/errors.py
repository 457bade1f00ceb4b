"""Errors for people: what happened, what to do next, and the exit code; never a traceback.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage (cyclopts sees to that), 3 a service or the bus cannot be
reached. `ASHORE_DEBUG=1` shows the traceback of what nobody has foreseen.
"""

import os
import re
import sys
from typing import Final

DONE: Final = 0
REFUSED: Final = 1
UNREACHABLE: Final = 3
_CONNECT_FAILED: Final = re.compile(r"\[Errno \d+\] Connect call failed \([^)]*\)")


class CommandError(Exception):
    """The command cannot do what was asked: `remedy` says what to do next."""

    def __init__(self, text: str, *, remedy: str = "", code: int = REFUSED) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.code = code


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
            text = _CONNECT_FAILED.sub("nothing listens there", str(error))
            return text, "start it (`ashore up`), or say where it is: --nats-url or ASHORE_NATS_URL", UNREACHABLE
        case BusError():
            return str(error), "", REFUSED
    return _foreign(error)


def _foreign(error: Exception) -> tuple[str, str, int]:
    from ashore.certificates import CertificateError  # noqa: PLC0415 - see `_words`
    from ashore.fdo.errors import FdoError  # noqa: PLC0415 - see `_words`
    from ashore.files import FilesError  # noqa: PLC0415 - see `_words`
    from ashore.keys import KeysError  # noqa: PLC0415 - see `_words`
    from ashore.tls import TlsError  # noqa: PLC0415 - see `_words`
    from ashore_device.errors import DeviceError, describe  # noqa: PLC0415 - see `_words`

    match error:
        case DeviceError() | FdoError():
            return describe(error), "", REFUSED
        case FilesError() | KeysError() | CertificateError() | TlsError():
            return str(error), "", REFUSED
        case OSError():
            return f"{error.filename or 'the system'}: {error.strerror or error}", "", REFUSED
    if os.environ.get("ASHORE_DEBUG"):
        raise error
    return (
        f"something that nobody has foreseen: {type(error).__name__}: {error}",
        "run the command again with ASHORE_DEBUG=1, and report what it shows",
        REFUSED,
    )

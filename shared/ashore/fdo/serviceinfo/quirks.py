"""What real devices do differently, recognised by their devmod.

The standard text of fdo.command leaves room, and its implementations do not agree:

|             | arguments              | `execute`         | answers `active` | joins fragments | `may_fail` |
|-------------|------------------------|-------------------|------------------|-----------------|------------|
| FSIM text   | array in a byte string | null              | yes              | yes             | heeded     |
| Go library  | array in a byte string | null, empty array | yes              | yes             | ignored    |
| C client    | array, not empty       | all but null      | no               | no              | ignored    |
| Java device | array                  | anything          | no               | no              | ignored    |

An empty array for `execute` suits all of them; no encoding of the arguments does.
"""

from typing import Final

import msgspec


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """How to speak with one kind of device; the defaults are the standard's."""

    plain_arguments: bool = False
    """fdo.command takes its arguments as an array, and `execute` must not be null."""
    needs_arguments: bool = False
    """fdo.command refuses a command without arguments."""
    failure_is_fatal: bool = False
    """A command that fails ends the whole onboarding, whatever `may_fail` says, and often without a word."""
    returns_output: bool = True
    """fdo.command gives stdout and stderr back."""
    doubles_newlines: bool = False
    """Each line of output comes as one byte string with a second newline at its end."""
    answers_active: bool = True
    """The device confirms the activation of a module that it has."""
    joins: bool = True
    """A value may be cut into several key-values."""
    max_argument: int = 4096
    """Bytes of the longest argument of a command."""
    max_name: int = 255
    """Bytes of the longest file name."""
    repeats_eot: bool = False
    """After a failed fdo_sys:fetch the device says so again in every message, which hides all other modules."""
    silent_when_empty: bool = False
    """fdo.download of an empty file is never confirmed."""
    has_shell: bool = False
    """There is a POSIX shell in its usual place."""


_SHELL_SYSTEMS: Final = ("linux", "darwin", "freebsd", "openbsd", "netbsd")
STANDARD: Final = Quirks()
GO: Final = Quirks(failure_is_fatal=True, doubles_newlines=True)
C_CLIENT: Final = Quirks(
    plain_arguments=True,
    needs_arguments=True,
    failure_is_fatal=True,
    returns_output=False,
    answers_active=False,
    joins=False,
    max_argument=99,
    max_name=149,
    repeats_eot=True,
    silent_when_empty=True,
)
JAVA: Final = Quirks(
    plain_arguments=True, failure_is_fatal=True, returns_output=False, answers_active=False, joins=False
)


def quirks_of(device: str, modules: tuple[str, ...], system: str) -> Quirks:
    """Recognise a device by `devmod:device`, its list of modules and its operating system."""
    return msgspec.structs.replace(_family(device, modules), has_shell=system.lower() in _SHELL_SYSTEMS)


def _family(device: str, modules: tuple[str, ...]) -> Quirks:
    if device.startswith("Intel-FDO"):
        return C_CLIENT
    if device == "FDO-Pri-Device":
        return JAVA
    # Only the Go library counts devmod among the modules that it offers.
    return GO if "devmod" in modules else STANDARD

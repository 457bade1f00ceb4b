"""How every program of ashore begins: settings from the environment, then a log in which its name stands."""

import os
import sys
from typing import Final, TypeVar

import structlog

from ashore import telemetry
from ashore.config import Settings, SettingsError

EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 2

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

S = TypeVar("S", bound=Settings)


def begin(name: str, settings_type: type[S]) -> S | None:
    """Load the settings and begin the log; None where they are wrong, which people are told on standard error."""
    if sys.argv[1:]:
        _explain(name, settings_type)
    try:
        settings = settings_type.load(os.environ)
    except SettingsError as error:
        tell(name, error)
        return None
    telemetry.configure(settings.log_level, settings.log_format, service=name)
    for warning in settings_type.warnings(os.environ):
        log.warning(warning)
    return settings


def _explain(name: str, settings_type: type[Settings]) -> None:
    """Answer `--help` with the settings; a program takes no other argument. Ends the process."""
    import argparse  # noqa: PLC0415 - only those who ask need it

    argparse.ArgumentParser(
        prog=f"python -m ashore_{name.replace('-', '_')}",
        description="It takes no arguments: every setting is an environment variable.",
        epilog="\n".join(f"{one.variable}={one.default}\n    {one.description}" for one in settings_type.describe()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


def tell(name: str, error: SettingsError) -> None:
    """Say on standard error what is wrong with the settings, a line for each."""
    sys.stderr.write("".join(f"{name}: {problem}\n" for problem in error.problems))

"""`ashore init`: keys, tokens, users of the bus and public bundles, made once."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ashore_cli.options import Data


def init(
    *,
    data: Data = Path(".ashore"),
    separate: Annotated[
        Path | None,
        Parameter(help="Also make a folder for each service here, with only the secrets it needs: for containers."),
    ] = None,
) -> None:
    """Make what is missing in a data folder."""
    # Cryptography is slow to import, and `--help` needs none.
    from ashore_cli.local.making import make  # noqa: PLC0415 - see above

    make(data, separate)

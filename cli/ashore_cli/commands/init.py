"""`ashore init`: keys, tokens, users of the bus, certificates and public bundles, made once."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ashore_cli.options import Data


def init(
    *,
    data: Data = Path(".ashore"),
    address: Annotated[
        tuple[str, ...],
        Parameter(help="A name or an address under which the services are found, for their certificates.", negative=""),
    ] = (),
    separate: Annotated[
        Path | None,
        Parameter(help="Also make a folder for each service here, with only the secrets it needs: for containers."),
    ] = None,
) -> None:
    """Make what is missing in a data folder."""
    # Cryptography is slow to import, and `--help` needs none.
    from ashore_cli.local.making import make  # noqa: PLC0415 - see above

    make(data, separate, address)

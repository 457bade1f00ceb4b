"""`ashore demo`: the first minutes with ashore."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ashore_cli.options import Data, Tls


async def demo(
    *,
    data: Data = Path(".ashore"),
    once: Annotated[
        bool, Parameter(help="Stop everything as soon as the device is ashore: for tests.", negative="")
    ] = False,
    tls: Tls = False,
    port_offset: Annotated[
        int | None, Parameter(help="Added to every port; by default 0, or more where ports are taken.")
    ] = None,
) -> int:
    """Start everything on this machine and bring a new virtual device ashore."""
    # The stack is slow to import, and `--help` does not need it.
    from ashore_cli.local.demo import run_demo  # noqa: PLC0415 - see above

    return await run_demo(data, once=once, tls=tls, port_offset=port_offset)

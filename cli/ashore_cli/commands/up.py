"""`ashore up`: everything on one machine until Ctrl-C."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ashore_cli.options import Data, Tls


async def up(
    *,
    data: Data = Path(".ashore"),
    port_offset: Annotated[int, Parameter(help="Added to every port, for a second stack on this machine.")] = 0,
    address: Annotated[
        str, Parameter(help="Address of this machine on which the services listen, and under which devices find them.")
    ] = "127.0.0.1",
    tls: Tls = False,
    kubernetes: Annotated[
        bool,
        Parameter(
            help="Start workloads in the cluster that kubectl would use; without it they are only shown.", negative=""
        ),
    ] = False,
    logs: Annotated[bool, Parameter(help="Show what the services log, too.", negative="")] = False,
) -> int:
    """Run NATS and all services on this machine until Ctrl-C."""
    # The stack is slow to import, and `--help` does not need it.
    from ashore_cli.local.running import run_up  # noqa: PLC0415 - see above
    from ashore_cli.stack import Ports  # noqa: PLC0415 - see above

    return await run_up(data, Ports.moved(port_offset), address, tls=tls, kubernetes=kubernetes, logs=logs)

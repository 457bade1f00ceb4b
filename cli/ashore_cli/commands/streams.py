"""`ashore streams`: the streams of the bus, and the dead letters in one of them."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.commands.letters import app as letters
from ashore_cli.errors import CommandError
from ashore_cli.options import Connection
from ashore_cli.output import say

app = App(name="streams", help="The streams of the bus.")
app.command(letters)
HERE: Final = Connection()


@app.command
async def declare(
    *,
    seed_file: Annotated[
        Path | None,
        Parameter(
            env_var="ASHORE_NATS_SEED_FILE",
            help="NKey seed of the bus user `admin`; by default nats/nkeys/admin.nk in the data folder.",
        ),
    ] = None,
    replicas: Annotated[int, Parameter(help="Copies of each new stream; 3 in a cluster of three servers.")] = 1,
    options: Connection = HERE,
) -> None:
    """Make the streams what this release needs.

    `ashore up` does it by itself; a NATS cluster of your own needs it once for each release.
    """
    from ashore_cli.joining import joined  # noqa: PLC0415 - NATS is slow to import

    path = seed_file or options.data / "nats" / "nkeys" / "admin.nk"
    try:
        seed = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="give it: --seed-file PATH") from error
    async with joined(options.context(), user="admin", seed=seed, replicas=replicas) as bus:
        await bus.declare()
    say("The streams are what this release needs.")

"""`ashore streams`: the streams of the bus."""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from ashore_cli.errors import CommandError
from ashore_cli.options import Options, bus
from ashore_cli.output import Column, age, say, show_list

app = App(name="streams", help="The streams of the bus.")
HERE: Final = Options()


@app.command
async def declare(
    *,
    seed_file: Annotated[
        Path | None, Parameter(env_var="ASHORE_NATS_ADMIN_SEED_FILE", help="NKey seed of the bus user `admin`.")
    ] = None,
    replicas: Annotated[int, Parameter(help="Copies of each new stream; 3 in a cluster of three servers.")] = 1,
    options: Options = HERE,
) -> None:
    """Make the streams what this release needs. `ashore up` does it by itself; a NATS cluster needs it once a release."""
    from ashore.bus.nats import connect  # noqa: PLC0415 - see `options`

    path = seed_file or options.data / "nats" / "nkeys" / "admin.nk"
    try:
        seed = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="give the admin's: --seed-file") from error
    joined = await connect(options.context().nats.url, name="admin", seed=seed, replicas=replicas)
    try:
        await joined.declare()
    finally:
        await joined.close()
    say("The streams are what this release needs.")


@app.command(name="list")
async def list_(*, options: Options = HERE) -> None:
    """List the streams, with what they keep and for how long."""
    from ashore.events import STREAMS, Stream  # noqa: PLC0415 - see `options`

    columns: list[Column[Stream]] = [
        Column("name", lambda one: one.name),
        Column("keeps", lambda one: age_of(one.max_age_seconds)),
        Column("subjects", lambda one: ", ".join(one.subjects)),
    ]
    async with bus(options.context()):
        show_list(list(STREAMS), columns, options, empty="")


def age_of(seconds: int) -> str:
    """A limit for people."""
    return f"{seconds // 86_400}d" if seconds else "for ever"


__all__ = ["age", "app"]

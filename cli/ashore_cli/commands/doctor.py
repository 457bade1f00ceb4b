"""`ashore doctor`: how everything is, and what to do."""

from typing import Final

from ashore_cli.options import Options

HERE: Final = Options()


async def doctor(*, options: Options = HERE) -> int:
    """Ask every service, the bus, the clocks, the certificates and the disk how they are.

    Each line says `ok`, or what to do. Exit codes: 0 all is well, 1 something is not, 3 something cannot be reached.
    """
    # The clients are slow to import, and `--help` does not need them.
    from ashore_cli.doctor import examine  # noqa: PLC0415 - see above

    return await examine(options)

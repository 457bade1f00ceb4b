"""`ashore doctor`: how everything is, and what to do."""

from typing import Final

from ashore_cli.options import Options

HERE: Final = Options()


async def doctor(*, options: Options = HERE) -> int:
    """Examine everything; the answer is the exit code."""
    # The clients are slow to import, and `--help` does not need them.
    from ashore_cli.doctor import examine  # noqa: PLC0415 - see above

    return await examine(options)

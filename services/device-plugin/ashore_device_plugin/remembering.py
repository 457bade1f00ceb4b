"""Which device each virtual id was given for, beyond the end of this process.

The launcher's usage says it too, but goes with the instance. The file is small, and lost without harm: then a container
whose device was away while this ended is told as a problem.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta

from ashore.events.workloads import Name
from ashore.files import FilesError, private_directory, replace_private
from ashore.slots import Number
from ashore_device_plugin.claims import Claim
from ashore_device_plugin.health import Health

FILE: Final = "virtual-slots.json"
_ABOUT: Final = "memory"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Kept(msgspec.Struct, frozen=True, order=True):
    """One virtual id, as it is written."""

    namespace: Name
    id: Annotated[str, Meta(max_length=318, pattern=r"^[a-z0-9.-]+$(?!\n)")]
    instance: Name
    slot: Number


class Memory:
    """The file."""

    def __init__(self, folder: Path, health: Health) -> None:
        self._path = folder / FILE
        self._health = health
        self._written: list[Kept] | None = None
        """None until it is read, and nothing is written before."""

    def read(self) -> list[Claim]:
        """What an earlier run has given; nothing where there is no file that can be read."""
        self._written = []
        try:
            self._written = msgspec.json.decode(self._path.read_bytes(), type=list[Kept])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.warning(
                "which devices were given cannot be read; the launcher is asked, and it is written anew",
                file=str(self._path),
                reason=str(error),
            )
        return [
            Claim(namespace=one.namespace, instance=one.instance, slot=one.slot, holder=f"C:{one.id}")
            for one in self._written
        ]

    def write(self, claims: Iterable[Claim]) -> None:
        """Keep what is given now."""
        kept = sorted(Kept(one.namespace, one.virtual, one.instance, one.slot) for one in claims)
        if self._written is None or kept == self._written:
            return
        try:
            private_directory(self._path.parent)
            replace_private(self._path, msgspec.json.encode(kept))
        except FilesError as error:
            self._health.say(_ABOUT, f"which devices were given is not kept for a restart: {error}")
        else:
            self._written = kept
            self._health.say(_ABOUT, "")

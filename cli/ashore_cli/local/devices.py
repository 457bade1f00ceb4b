"""Virtual devices below one folder, for the demo and for `ashore device`."""

import glob
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from ashore.client import Context
from ashore.keys import KeyKind
from ashore_device.credential_file import CredentialFile, Record
from ashore_device.device import CREDENTIAL, Device, Settings
from ashore_device.errors import CredentialFileError
from ashore_device.fetching import Fetcher
from ashore_device.fleet import Fleet
from ashore_device.initialise import Request
from ashore_device.onboard import Options
from ashore_device.progress import Report, ignore
from ashore_device.transport import HttpTransport, Tls

OPTIONS: Final = Options(rounds=8, first_delay=0.5, longest_delay=8.0)
"""A person waits for a virtual device, so it is more impatient than a real one, and gives up."""
MODEL: Final = "virtual device"


class Virtual:
    """The devices of one data folder."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self._folder = folder
        self.fleet = fleet

    @classmethod
    @asynccontextmanager
    async def folder(
        cls, context: Context, *, options: Options = OPTIONS, report: Report = ignore
    ) -> AsyncIterator[Self]:
        """The devices of a context, with connections for the length of a block."""
        tls = Tls(ca_file=context.ca_file)
        async with HttpTransport(tls=tls) as transport, Fetcher(tls) as fetcher:
            path = context.data_dir / "devices"
            fleet = Fleet(path, transport, fetcher, settings=Settings(options=options), report=report)
            yield cls(path, fleet)

    def device(self, serial: str) -> Device:
        """One of them."""
        return self.fleet.device(serial)

    def files(self, serial: str) -> Path:
        """Where modules put its files."""
        return self.device(serial).files


def request(serial: str = "", kind: KeyKind = "p256", encoding: str = "x509", model: str = MODEL) -> Request:
    """What a virtual device says of itself at its manufacturer."""
    return Request(kind=kind, encoding=encoding, serial=serial or None, device_info=model)


def records(folder: Path) -> list[tuple[str, Record | None]]:
    """All devices below a folder by their serial numbers; None for one whose credential cannot be read."""
    return [(path.parent.name, _record(path)) for path in sorted(folder.glob(f"*/{CREDENTIAL}"))]


def next_serials(folder: Path, prefix: str, count: int) -> list[str]:
    """Serial numbers that no device below the folder has: `demo-0001` and so on."""
    pattern = re.compile(rf"{re.escape(prefix)}-(\d+)")
    found = (pattern.fullmatch(path.name) for path in folder.glob(f"{glob.escape(prefix)}-*"))
    first = max((int(match[1]) for match in found if match), default=0) + 1
    return [f"{prefix}-{number:04}" for number in range(first, first + count)]


def _record(path: Path) -> Record | None:
    try:
        return CredentialFile(path).load()
    except CredentialFileError:
        return None

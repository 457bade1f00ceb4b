"""Virtual devices below one folder, for the demo and for `ashore device`."""

import glob
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from ashore.client import Context
from ashore.fdo import rvinfo
from ashore.keys import KeyKind
from ashore_cli.errors import CommandError
from ashore_device.credential_file import CredentialFile
from ashore_device.device import CREDENTIAL, FILES, Device, Settings
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


class Known(msgspec.Struct, kw_only=True):
    """What there is to tell of a device on this machine, without its secrets."""

    serial: str
    guid: str
    state: str
    """`initialising`, `initialised`, `finishing`, `onboarded`; `damaged` where its credential cannot be read."""
    device_info: str
    owner_url: str
    rendezvous: list[str]
    folder: str
    files: list[str]


def known(folder: Path) -> list[Known]:
    """All devices below a folder, by their serial numbers."""
    return [_known(path) for path in sorted(folder.glob(f"*/{CREDENTIAL}"))]


def one_known(folder: Path, serial: str) -> Known:
    """One of them; raise CommandError where there is none."""
    path = folder / serial / CREDENTIAL
    if Path(serial).name != serial or not path.is_file():
        raise CommandError(f"there is no device '{serial}' in {folder}", remedy="list them: `ashore device list`")
    return _known(path)


def next_serials(folder: Path, prefix: str, count: int) -> list[str]:
    """Serial numbers that no device below the folder has: `demo-0001` and so on."""
    pattern = re.compile(rf"{re.escape(prefix)}-(\d+)")
    found = (pattern.fullmatch(path.name) for path in folder.glob(f"{glob.escape(prefix)}-*"))
    first = max((int(match[1]) for match in found if match), default=0) + 1
    return [f"{prefix}-{number:04}" for number in range(first, first + count)]


def _known(path: Path) -> Known:
    files = sorted(str(each.relative_to(path.parent)) for each in path.parent.glob(f"{FILES}/**/*") if each.is_file())
    facts = _facts(path)
    return Known(**facts, folder=str(path.parent), files=files)


def _facts(path: Path) -> dict[str, Any]:
    try:
        record = CredentialFile(path).load()
    except CredentialFileError:
        record = None
    if record is None:
        name = path.parent.name
        return {"serial": name, "guid": "", "state": "damaged", "device_info": "", "owner_url": "", "rendezvous": []}
    likeliest = record.candidates[0]
    return {
        "serial": record.serial,
        "guid": record.guid,
        "state": record.state,
        "device_info": record.device_info,
        "owner_url": likeliest.owner_url or "",
        "rendezvous": [url for one in rvinfo.decode(likeliest.credential.rv_info) for url in one.urls()],
    }

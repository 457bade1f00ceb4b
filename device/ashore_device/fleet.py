"""Many virtual devices at once, each in a folder of its own, a bounded number of them at a time.

A fleet is restartable: what has been done is on disk, so the same call goes on where it was stopped.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from ashore.fdo.errors import FdoError
from ashore_device.credential_file import CredentialFile
from ashore_device.device import CREDENTIAL, Device, Settings
from ashore_device.errors import DeviceError
from ashore_device.fetching import Fetcher
from ashore_device.initialise import Request
from ashore_device.progress import Report, ignore
from ashore_device.transport import Transport

CONCURRENCY: Final = 16

State = Literal["initialised", "onboarded", "failed"]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one device."""

    serial: str
    state: State
    guid: str = ""
    seconds: float = 0.0
    error: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the fleet, in the order of the serials."""

    members: list[Member]
    seconds: float

    def count(self, state: State) -> int:
        """How many ended so."""
        return sum(member.state == state for member in self.members)


class Fleet:
    """Virtual devices below one folder."""

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        fetcher: Fetcher,
        *,
        settings: Settings | None = None,
        report: Report = ignore,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._folder = folder
        self._transport = transport
        self._fetcher = fetcher
        self._settings = settings or Settings()
        self._report = report
        self._concurrency = concurrency

    def device(self, serial: str) -> Device:
        """One of them; raise DeviceError for a serial that cannot be a folder's name."""
        if serial in ("", ".", "..") or "/" in serial or "\0" in serial:
            raise DeviceError(f"{serial!r} cannot be the name of a folder: choose another serial number")
        path = self._folder / serial
        return Device(path, self._transport, self._fetcher, settings=self._settings, report=self._report)

    async def run(
        self, serials: Sequence[str], manufacturer_url: str, request: Request | None = None, *, onboard: bool = True
    ) -> Summary:
        """Initialise those that are not, then onboard those that are not; no failure of one stops another."""
        started = time.monotonic()
        gate = asyncio.Semaphore(self._concurrency)

        async def one(serial: str) -> Member:
            async with gate:
                return await self._one(serial, manufacturer_url, request or Request(), onboard=onboard)

        members = await asyncio.gather(*(one(serial) for serial in dict.fromkeys(serials)))
        return Summary(members=list(members), seconds=round(time.monotonic() - started, 3))

    async def _one(self, serial: str, url: str, request: Request, *, onboard: bool) -> Member:
        started = time.monotonic()
        try:
            state, guid = await self._bring(serial, url, request, onboard=onboard)
            return Member(serial=serial, state=state, guid=guid, seconds=round(time.monotonic() - started, 3))
        except (DeviceError, FdoError) as error:
            seconds = round(time.monotonic() - started, 3)
            return Member(serial=serial, state="failed", guid=self._guid(serial), seconds=seconds, error=str(error))

    def _guid(self, serial: str) -> str:
        """Of a device that has failed, where it had got one: its owner knows it by that."""
        try:
            record = CredentialFile(self.device(serial).folder / CREDENTIAL).load()
        except DeviceError:
            return ""
        return record.guid if record is not None and record.state != "initialising" else ""

    async def _bring(self, serial: str, url: str, request: Request, *, onboard: bool) -> tuple[State, str]:
        device = self.device(serial)
        record = CredentialFile(device.folder / CREDENTIAL).load()
        if record is None or record.state == "initialising":
            record = await device.initialise(url, msgspec.structs.replace(request, serial=serial))
        if record.state == "onboarded":
            return "onboarded", record.guid
        if not onboard:
            return "initialised", record.guid
        return "onboarded", (await device.onboard()).guid


def serials(prefix: str, count: int, *, first: int = 1) -> list[str]:
    """Serial numbers of a batch: `prefix-0001` and so on."""
    width = max(4, len(str(first + count - 1)))
    return [f"{prefix}-{number:0{width}}" for number in range(first, first + count)]

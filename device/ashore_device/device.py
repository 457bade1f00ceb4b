"""One device in one folder: the API for the command line, for fleets and for tests.

The folder holds `credential.json` and `files/`, where modules put what the owner gives. The private key lies outside of
`files/`, so no module can fetch it; programs can, as they run as the same user.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ashore_device import devmod
from ashore_device.credential_file import CredentialFile, Record
from ashore_device.errors import StateError
from ashore_device.fetching import Fetcher
from ashore_device.host import FolderHost, Limits, Policy
from ashore_device.initialise import Request, initialise
from ashore_device.onboard import Onboarded, Onboarding, Options, Site
from ashore_device.progress import Report, ignore
from ashore_device.transport import Transport

CREDENTIAL: Final = "credential.json"
FILES: Final = "files"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a device does in its own way."""

    options: Options = Options()
    policy: Policy = Policy()
    limits: Limits = Limits()
    environment: Mapping[str, str] = {}
    """Added to what programs get."""
    files: Path | None = None
    """Where modules put files; None is `files` in the device's own folder."""
    mud_url: str = ""


class Device:
    """One device. Transport and fetcher may be shared by many."""

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        fetcher: Fetcher,
        *,
        settings: Settings | None = None,
        report: Report = ignore,
    ) -> None:
        self.folder = folder
        self._file = CredentialFile(folder / CREDENTIAL)
        self._transport = transport
        self._fetcher = fetcher
        self._settings = settings or Settings()
        self._report = report

    @property
    def files(self) -> Path:
        """Where modules put files."""
        return self._settings.files or self.folder / FILES

    def show(self) -> Record:
        """What the device knows; raise StateError where there is none, CredentialFileError where it cannot be read."""
        record = self._file.load()
        if record is None:
            raise StateError(f"there is no device in {self.folder}: initialise it first")
        return record

    async def initialise(self, manufacturer_url: str, request: Request | None = None) -> Record:
        """DI: get the first credential; raise InitialisationError, or StateError where there is one already."""
        return await initialise(self._file, self._transport, manufacturer_url, request or Request(), self._report)

    async def onboard(self, *, again: bool = False) -> Onboarded:
        """TO1 and TO2, until the device is onboarded or the rounds are used up: raise OnboardingError then."""
        record = self.show()
        host = FolderHost(
            self.files,
            self._fetcher,
            policy=self._settings.policy,
            limits=self._settings.limits,
            environment={"DEVICE_SERIAL": record.serial, **self._settings.environment},
        )
        facts = devmod.facts(record.serial, record.device_info, self.files, self._settings.mud_url)
        site = Site(modules=host.modules, facts=facts)
        onboarding = Onboarding(self._file, self._transport, site, self._settings.options, self._report)
        return await onboarding.run(again=again)

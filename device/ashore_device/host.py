"""What an owner may do to this machine: files, programs and URLs of one folder.

It is the adapter behind the port `ashore.fdo.serviceinfo.host.Host`.
Files stay below the folder (`folder`); programs run in it, as the user who runs this device (`programs`). A program can
do whatever that user can: the owner of a device is master of the machine, and FDO is how it proves to be the owner.
Where that is too much, `Policy` switches modules off, and no program is run at all with `run_programs` false.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ashore.fdo.serviceinfo.command import CommandDevice
from ashore.fdo.serviceinfo.download import DownloadDevice
from ashore.fdo.serviceinfo.fdo_sys import FdoSysDevice
from ashore.fdo.serviceinfo.host import HostError, Process, Transfer
from ashore.fdo.serviceinfo.modules import DeviceModule
from ashore.fdo.serviceinfo.upload import UploadDevice
from ashore.fdo.serviceinfo.wget import WgetDevice
from ashore_device.fetching import Fetcher
from ashore_device.folder import Folder
from ashore_device.programs import Program

MODULES: Final = ("fdo_sys", "fdo.command", "fdo.download", "fdo.upload", "fdo.wget")
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one onboarding may take, bytes."""

    file: int = 1 << 30
    total: int = 8 << 30
    """Written to files by modules, all together."""
    output: int = 16 << 20
    """Of each stream of one program."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What owners may ask of this device."""

    modules: tuple[str, ...] = MODULES
    run_programs: bool = True


class FolderHost:
    """The machine, seen from one folder. `environment` is added to the little that programs inherit."""

    def __init__(
        self,
        folder: Path,
        fetcher: Fetcher,
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = Folder(folder)
        self._fetcher = fetcher
        self._policy = policy or Policy()
        self._limits = limits or Limits()
        self._environment = _environment() | dict(environment or {})
        self._written = 0

    def modules(self) -> list[DeviceModule]:
        """Fresh modules for one conversation, as the policy has it."""
        every: list[DeviceModule] = [
            FdoSysDevice(self),
            CommandDevice(self),
            DownloadDevice(self),
            UploadDevice(self),
            WgetDevice(self),
        ]
        self._written = 0
        return [module for module in every if self._allowed(module.name)]

    async def write(self, name: str, data: bytes, *, append: bool) -> None:
        """Append to a file, or begin it anew; folders in between are made."""
        self._write(name, data, append=append)

    async def rename(self, name: str, new_name: str) -> None:
        """Give a file its final name, in one step, in place of any older one."""
        self._folder.replace(name, new_name)

    async def remove(self, name: str) -> None:
        """Remove a file; nothing happens when there is none."""
        self._folder.remove(name)

    async def size(self, name: str) -> int:
        """Give a file's size in bytes; raise HostError when there is no such file."""
        return self._folder.size(name)

    async def read(self, name: str, offset: int, length: int) -> bytes:
        """Read at most `length` bytes from `offset`; empty at the end."""
        with self._folder.opened(name, os.O_RDONLY) as descriptor:
            return os.pread(descriptor, length, offset)

    async def run(self, arguments: Sequence[str], *, lifetime: float) -> Process:
        """Start a program, without a shell, in the working folder; killed after `lifetime` seconds."""
        if not self._policy.run_programs:
            raise HostError(f"{arguments[0]} is not run: this device runs no programs for its owner")
        try:
            self._folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise HostError(f"the working folder cannot be used: {error.strerror}") from error
        return await Program.start(
            arguments, self._folder.path, self._environment, lifetime=lifetime, output_limit=self._limits.output
        )

    async def fetch_url(self, url: str, name: str, *, limit: int) -> Transfer:
        """Begin to fetch a URL into a file, of at most `limit` bytes."""
        begun = False

        def write(data: bytes) -> None:
            nonlocal begun
            self._write(name, data, append=begun)
            begun = True

        return self._fetcher.fetch(url, write, min(limit, self._limits.file))

    def _allowed(self, module: str) -> bool:
        needs_programs = module == CommandDevice.name
        return module in self._policy.modules and (self._policy.run_programs or not needs_programs)

    def _write(self, name: str, data: bytes, *, append: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        with self._folder.opened(name, flags) as descriptor:
            if os.fstat(descriptor).st_size + len(data) > self._limits.file:
                raise HostError(f"{name} would be longer than {self._limits.file} bytes")
            if self._written + len(data) > self._limits.total:
                raise HostError(f"more than {self._limits.total} bytes were to be written in one onboarding")
            self._written += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]


def _environment() -> dict[str, str]:
    """A program inherits only what it needs to find its way: this process may have been given tokens by environment."""
    found = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {"PATH": os.defpath, **found}

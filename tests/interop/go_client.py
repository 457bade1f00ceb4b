"""go-fdo-client, unmodified, as a device in a folder of its own.

Its version stands in `go.mod` beside this file; it is built once and kept below ASHORE_CACHE (~/.cache/ashore).
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cbor2

HERE = Path(__file__).parent
COMPLETE = "FIDO Device Onboard Complete"
ONBOARDED = 3
"""The state in the blob of a device that came ashore."""
READY = 2
"""The state in the blob of a device that waits for its owner."""
_MODULE = re.compile(r"^\s*github\.com/fido-device-onboard/go-fdo-client (v\S+)", re.MULTILINE)
_SECONDS = 60


class ToolMissingError(Exception):
    """There is no Go compiler."""


def version() -> str:
    """The version that is asked for."""
    found = _MODULE.search((HERE / "go.mod").read_text())
    assert found, "go.mod requires no go-fdo-client"
    return found[1]


def build() -> Path:
    """The client's binary; raise ToolMissingError where it would have to be built and cannot."""
    cache = Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore")
    binary = cache / f"go-fdo-client-{version()}" / "go-fdo-client"
    if binary.exists():
        return binary
    compiler = shutil.which("go")
    if compiler is None:
        raise ToolMissingError("go is not installed, and go-fdo-client must be built from source")
    binary.parent.mkdir(parents=True, exist_ok=True)
    # Two runs may build at the same time; each moves a whole file into place.
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [compiler, "build", "-mod=readonly", "-o", folder, "tool"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"go-fdo-client cannot be built: {done.stderr}"
        (Path(folder) / binary.name).replace(binary)
    return binary


class GoDevice:
    """One device; what it writes lands in `folder`."""

    def __init__(self, binary: Path, folder: Path, key: str) -> None:
        self._binary = binary
        self.key = key
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def initialise(self, url: str, *, serial: str, device_info: str = "gotest", encoding: str = "x509") -> str:
        """DI; the answer is the GUID, hex."""
        about = ["--serial-number", serial, "--device-info", device_info, "--key-enc", encoding]
        done = self._run("device-init", url, *about)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.guid

    def onboard(self, kex: str, cipher: str = "A128GCM", *options: str) -> str:
        """TO1 and TO2; the answer is what it said."""
        done = self._run(*self._onboard(kex, cipher, options))
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert COMPLETE in said, said
        return said

    @contextmanager
    def onboarding(self, kex: str, cipher: str = "A128GCM", *options: str) -> Iterator[None]:
        """TO1 and TO2, again and again, until the block ends: so it does where an onboarding fails, or is a reuse."""
        command = self._command(*self._onboard(kex, cipher, options))
        with (self.folder / "client.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)

    @property
    def said(self) -> str:
        """What it said during `onboarding`."""
        return (self.folder / "client.log").read_text()

    @property
    def guid(self) -> str:
        """The GUID that it has now, hex."""
        credential, _ = self._blob()
        return credential[3].hex()

    @property
    def state(self) -> int:
        """ONBOARDED, READY or another."""
        return self._blob()[1]

    def _blob(self) -> tuple[list[bytes], int]:
        credential, state = cbor2.loads((self.folder / "credential.bin").read_bytes())
        return credential, state

    def _onboard(self, kex: str, cipher: str, options: tuple[str, ...]) -> list[str]:
        return ["onboard", "--kex", kex, "--cipher", cipher, "--default-working-dir", str(self.folder), *options]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self._command(*arguments)
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace"
        )

    def _command(self, *arguments: str) -> list[str]:
        return [str(self._binary), "--blob", "credential.bin", "--key", self.key, *arguments]

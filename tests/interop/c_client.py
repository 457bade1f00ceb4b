"""client-sdk-fidoiot's linux-client, unmodified, as a device in a folder of its own.

The curve is chosen when the client is built, so the folder holds a key for either.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

INITIALISED = "@FIDO Device Initialization Complete@"
COMPLETE = "@FIDO Device Onboard Complete@"
_SECONDS = 90
_GUID = re.compile(r"GUID after DI: ([0-9a-fA-F-]{36})")
_EMPTY = (
    "platform_iv.bin",
    "platform_hmac_key.bin",
    "platform_aes_key.bin",
    "Normal.blob",
    "Secure.blob",
    "raw.blob",
    "mfg_proxy.dat",
    "rv_proxy.dat",
    "owner_proxy.dat",
)
_KEYS: dict[str, ec.EllipticCurve] = {
    "ecdsa256privkey.dat": ec.SECP256R1(),
    "ecdsa384privkey.dat": ec.SECP384R1(),
}


class CDevice:
    """One device; what it writes lands in `folder`."""

    def __init__(self, binary: Path, folder: Path, url: str, *, serial: str, size: int | None = None) -> None:
        self._binary = binary
        self.folder = folder
        self._data = folder / "data"
        self._data.mkdir(parents=True)
        for name in _EMPTY:
            (self._data / name).touch()
        for name, curve in _KEYS.items():
            # The bare scalar.
            scalar = ec.generate_private_key(curve).private_numbers().private_value
            (self._data / name).write_bytes(scalar.to_bytes((curve.key_size + 7) // 8, "big"))
        # No line ends: they would become a part of the serial number.
        (self._data / "manufacturer_addr.bin").write_text(url)
        (self._data / "manufacturer_sn.bin").write_text(serial)
        (self._data / "manufacturer_mod.bin").write_text("c-client")
        (self._data / "max_serviceinfo_sz.bin").write_text("" if size is None else str(size))

    def initialise(self) -> str:
        """DI; the answer is the GUID, hex."""
        done = self.run()
        assert done.returncode == 0, done.stdout
        assert INITIALISED in done.stdout
        found = _GUID.search(done.stdout)
        assert found, done.stdout
        return found[1].replace("-", "").lower()

    def onboard(self) -> str:
        """TO1 and TO2; the answer is what it said."""
        done = self.run()
        assert done.returncode == 0, done.stdout
        assert COMPLETE in done.stdout, done.stdout
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it once; it decides by its state what there is to do."""
        return subprocess.run(
            [str(self._binary), *arguments],
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends: it tries again and again where it fails."""
        process = subprocess.Popen(
            [str(self._binary)],
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(10)


def _environment() -> dict[str, str]:
    """Ours, but for a proxy: its library would use it for loopback, too."""
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}

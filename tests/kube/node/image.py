"""The one image of the node's containers, their pause container too: a static busybox, made here from Debian's package.

No registry is asked: containerd is given it as a file, in the form of `docker save`.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.kube.binaries import ToolMissingError, cache

NAME: Final = "ashore.test/busybox:1"
_PACKAGE: Final = "busybox-static"
_APPLETS: Final = ("sh", "cat", "echo", "env", "ls", "sleep", "true")
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write(path: Path) -> Path:
    """The image as a file."""
    layer = _layer(_busybox())
    config = json.dumps(
        {
            "architecture": _MACHINES[platform.machine()],
            "os": "linux",
            # The pause container runs what the image says.
            "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "2147483647"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]).encode()
    path.write_bytes(_tar({"layer.tar": layer, "config.json": config, "manifest.json": manifest}))
    return path


def _busybox() -> bytes:
    """From the distribution's package, fetched once."""
    program = cache() / _PACKAGE / "busybox"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
            _run(scratch, "apt-get", "--quiet", "download", _PACKAGE)
            (package,) = Path(scratch).glob("*.deb")
            _run(scratch, "dpkg-deb", "--extract", package.name, ".")
            (Path(scratch) / "bin" / "busybox").replace(program)
    return program.read_bytes()


def _run(folder: str, *command: str) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    except FileNotFoundError as error:
        raise ToolMissingError(f"{_PACKAGE} cannot be fetched: {error}") from error
    except subprocess.CalledProcessError as error:
        raise ToolMissingError(f"{_PACKAGE} cannot be fetched: {error.stderr[-1000:]}") from error


def _layer(busybox: bytes) -> bytes:
    return _tar({"bin/busybox": busybox}, {f"bin/{name}": "busybox" for name in _APPLETS})


def _tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, body in files.items():
            archive.addfile(_member(name, size=len(body), mode=0o755), io.BytesIO(body))
        for name, target in (links or {}).items():
            archive.addfile(_member(name, type=tarfile.SYMTYPE, linkname=target))
    return written.getvalue()


def _member(name: str, **fields: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(found, field, value)
    return found

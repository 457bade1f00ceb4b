"""The data folder of this machine: who may read it, how full its disk is, how long its certificates last."""

import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from ashore.client import Context
from ashore_cli.doctor.finding import Finding, bad, well
from ashore_cli.doctor.secrecy import lasting

_SECRETS: Final = (
    "*-token",
    "keys/*",
    "tls/*",
    "nats/nkeys/*",
    "nats/nats-server.conf",
    "devices/*/credential.json",
    "*.db",
)
_ENOUGH_BYTES: Final = 1 << 30
_ENOUGH_DAYS: Final = 30
_ENOUGH_DAYS_OF_AUTHORITY: Final = 365


def examine(context: Context) -> Iterator[Finding]:
    """Everything about the folder; one line where there is none, since services may be elsewhere."""
    folder = context.data_dir
    if not folder.is_dir():
        yield well("data folder", f"none at {folder}: the services run elsewhere, or `ashore up` has never run here")
        return
    yield _modes(folder)
    yield _disk(folder)
    yield from _certificates(folder)
    yield from _tls(folder)


def _modes(folder: Path) -> Finding:
    places = [folder, *(path for pattern in _SECRETS for path in folder.glob(pattern))]
    open_ones = [path for path in places if _is_open(path)]
    if not open_ones:
        return well("data folder", f"{folder}, which only its owner can read")
    names = ", ".join(map(str, open_ones[:3]))
    return bad("data folder", f"others can read {names}", f"chmod -R go= {folder}")


def _is_open(path: Path) -> bool:
    # SQLite makes its files by the umask; the folder's own mode is what keeps strangers out of them.
    wanted = stat.S_IWGRP | stat.S_IWOTH if path.suffix == ".db" else stat.S_IRWXG | stat.S_IRWXO
    return bool(path.stat().st_mode & wanted)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / _ENOUGH_BYTES:.1f} GiB free"
    if free >= _ENOUGH_BYTES:
        return well("disk", text)
    return bad("disk", f"only {text}", "make room: a full disk keeps devices from coming ashore")


def _certificates(folder: Path) -> Iterator[Finding]:
    paths = sorted((folder / "keys").glob("*.crt"))
    soon = [(path, end) for path in paths if (end := _end(path)) < datetime.now(UTC) + timedelta(days=_ENOUGH_DAYS)]
    if not soon and paths:
        yield well("certificates", f"those of all {len(paths)} keys are valid for more than {_ENOUGH_DAYS} days")
    for path, end in soon:
        yield bad("certificates", f"{path} ends at {end:%Y-%m-%d}", "put a renewed chain in its place, and restart")


def _tls(folder: Path) -> Iterator[Finding]:
    """The authority, which must outlive what it signs, and of the servers' certificates the one that ends first."""
    ends = {path: _end(path) for path in sorted((folder / "tls").glob("*.pem"))}
    authority = ends.pop(folder / "tls" / "ca.pem", None)
    if authority is not None:
        remedy = f"remove {folder / 'tls'}, start anew, and give the new ca.pem to all clients"
        yield lasting("authority", "TLS authority", authority, remedy, timedelta(days=_ENOUGH_DAYS_OF_AUTHORITY))
    if ends:
        first = min(ends, key=lambda path: ends[path])
        what = f"TLS certificate of {first.stem}, the first of {len(ends)} to end"
        yield lasting("certificates", what, ends[first], "start anew: `ashore up` and `ashore init` renew them")


def _end(path: Path) -> datetime:
    """When the first certificate of a chain ends; one that cannot be read has ended."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return datetime.min.replace(tzinfo=UTC)
    return min(certificate.not_valid_after_utc for certificate in chain)

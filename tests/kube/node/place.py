"""Where a whole node runs: a folder, a mount namespace and a cgroup of its own, and nothing is left of them afterwards.

A kubelet has paths that cannot be chosen, /var/lib/kubelet/device-plugins first of all. In the node's mount namespace
they are folders of the node's own, so that nobody else's kubelet is disturbed, and what is mounted goes with the
namespace. What outlives its parent (containerd's shims, containers) is found by that namespace and that cgroup, and is
ended by process id.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Self

from tests.kube.processes import Program

KUBELET: Final = Path("/var/lib/kubelet")
_OWN: Final = {KUBELET: "kubelet", Path("/var/log"): "log", Path("/run/containerd"): "shims"}
"""Paths that the node has for itself, and what they are called in its folder."""
_CGROUPS: Final = Path("/sys/fs/cgroup")
_SECONDS: Final = 20.0
_MOUNT: Final = """
while [ $# -gt 1 ]; do mount --bind "$1" "$2" || exit 1; shift 2; done
touch "$1"
exec sleep infinity
"""


class Place:
    """Make it, and end all that runs in it: `with Place() as place`."""

    def __init__(self) -> None:
        # Paths of sockets have 107 bytes: fewer than a folder of pytest's leaves.
        self.root = Path(tempfile.mkdtemp(prefix="ashore-node-"))
        self.cgroup = self.root.name
        pairs = [str(path) for there, name in _OWN.items() for path in (self.root / name, there)]
        held = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", *pairs, str(self.root / "mounted")]
        self._holder = Program("mount namespace", held, self.root / "mounts.log")
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, self.root, ignore_errors=True)
            for there, name in _OWN.items():
                (self.root / name).mkdir()
                if not there.exists():
                    there.mkdir(parents=True)
                    undo.callback(there.rmdir)
            for folder in _hierarchies():
                undo.callback(_remove, folder / self.cgroup)
                _make(folder, self.cgroup)
            undo.callback(self._end_all)
            self._holder.start()
            self._holder.wait((self.root / "mounted").exists)
            self._ending = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def inside(self, *command: str | Path) -> list[str]:
        """The command that does this in the node's mount namespace, as the same process."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *map(str, command)]

    def run(self, *command: str | Path) -> str:
        """Do this there, and wait for what it says."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def _end_all(self) -> None:
        end = time.monotonic() + _SECONDS
        while pids := self._pids():
            assert time.monotonic() < end, f"processes of the node do not end: {pids}"
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self._holder.kill()

    def _pids(self) -> set[int]:
        """Who lives in its namespace or its cgroups, but for who holds the namespace."""
        inside = _namespace(str(self._holder.pid)) if self._holder.pid else ""
        found = {int(name.name) for name in Path("/proc").glob("[0-9]*") if inside and _namespace(name.name) == inside}
        for folder in _hierarchies():
            for file in (folder / self.cgroup).rglob("cgroup.procs"):
                with suppress(OSError):
                    found.update(map(int, file.read_text().split()))
        return found - {self._holder.pid}


def _namespace(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


def _hierarchies() -> list[Path]:
    """The cgroup hierarchies of this machine: one with cgroup v2, else one for each controller."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [folder for folder in sorted(_CGROUPS.iterdir()) if (folder / "cgroup.procs").exists()]


def _make(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    for file in ("cpuset.cpus", "cpuset.mems"):
        # A cpuset of cgroup v1 begins empty, and then nothing can run in it.
        if folder != _CGROUPS and (folder / file).exists():
            (folder / name / file).write_text((folder / file).read_text())


def _remove(folder: Path) -> None:
    """Remove a cgroup with those below it; it takes a moment until the last process has left."""
    end = time.monotonic() + _SECONDS
    while folder.exists():
        for path in sorted((one.parent for one in folder.rglob("cgroup.procs")), reverse=True):
            with suppress(OSError):
                path.rmdir()
        assert time.monotonic() < end, f"{folder} cannot be removed"
        time.sleep(0.02)

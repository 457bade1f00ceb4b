"""Cameras for the tests of this folder."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# The program is no member of the workspace, and nothing installs it.
sys.path.insert(0, str(Path(__file__).parents[3] / "examples/camera-firmware"))

from tests.e2e.camera_firmware.kit import Desk
from tests.e2e.camera_firmware.simulated import Camera, Switches, running


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Power a camera with these switches, and lay out what is mounted for it."""
    with ExitStack() as stack:

        def make(model: str = "M1", version: str = "1.0.0", host: str = "", **switches: Any) -> Desk:
            camera = stack.enter_context(running(Camera(model, version, Switches(**switches), host=host)))
            folder = tmp_path / camera.host
            folder.mkdir()
            return Desk(folder, camera)

        yield make

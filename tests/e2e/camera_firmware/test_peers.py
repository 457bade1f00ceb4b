"""With a camera that nobody here wrote: ipycam, which checks WS-Security, and which takes no firmware.

No camera that does was found in a registry; the whole way is walked with the simulated one alone.
"""

import asyncio
from pathlib import Path

import pytest
from camera_firmware.outcomes import Exit

from tests.discovery.namespaces import NEEDS_NAMESPACES, lan
from tests.discovery.onvif_peers import ipycam
from tests.e2e.camera_firmware.kit import Desk, Run, command
from tests.e2e.camera_firmware.simulated import Camera

pytestmark = [pytest.mark.interop, NEEDS_NAMESPACES]


async def run(folder: Path, wanted: str, password: str = "correct-horse") -> Run:
    """The program and ipycam, each on a host of its own."""
    desk = Desk(folder, Camera(password=password))
    async with lan(2) as (here, there), ipycam(there, folder, username="admin", password="correct-horse"):
        url = f"http://{there.address}:8080/onvif/device_service"
        environment = desk.environment(ONVIF_DEVICE_SERVICE_URL=url, FIRMWARE_VERSION=wanted, CAMERA_POLL_SECONDS="5")
        process = await here.start(*command(), env=environment, stdout=asyncio.subprocess.PIPE)
        log, _ = await process.communicate()
    return Run(process.returncode or 0, log.decode())


async def test_it_tells_its_version_to_who_knows_the_password(tmp_path: Path) -> None:
    done = await run(tmp_path, wanted="1.2.3")
    done.ended(Exit.DONE, "current", "1.2.3")


async def test_it_takes_no_firmware_and_that_is_told(tmp_path: Path) -> None:
    done = await run(tmp_path, wanted="2.0.0")
    done.ended(Exit.NO_WAY, "refused", "no firmware over ONVIF")


async def test_it_refuses_a_wrong_password(tmp_path: Path) -> None:
    done = await run(tmp_path, wanted="1.2.3", password="wrong-battery")
    done.ended(Exit.UNAUTHORISED, "refused", "'admin'")

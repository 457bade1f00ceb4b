"""A run may be killed at any point, and be started again: the camera gets its firmware, once, and is never harmed."""

import signal
import subprocess
from collections.abc import Callable

import pytest
from camera_firmware.outcomes import Exit

from tests.e2e.camera_firmware.kit import Desk
from tests.e2e.camera_firmware.simulated import image_for

pytestmark = pytest.mark.e2e
At = Callable[..., Desk]
BEFORE = ["GetDeviceInformation", "GetSystemDateAndTime", "GetServiceCapabilities", "StartFirmwareUpgrade"]
DURING = ["upload", "half"]
LARGE = 12_000_000
"""More than fits into the buffers of a connection."""
AFTER = ["taken", "gone", "back"]


def interrupted(desk: Desk, moment: str, number: signal.Signals) -> "subprocess.Popen[str]":
    """A run that gets this signal when the camera's journal gets that entry."""
    started: list[subprocess.Popen[str]] = []

    def interrupt() -> None:
        started[0].send_signal(number)
        if number == signal.SIGKILL:
            started[0].wait()

    desk.camera.at[moment] = interrupt
    started.append(desk.start())
    return started[0]


@pytest.mark.parametrize("moment", [*BEFORE, *DURING, *AFTER])
def test_killed_there_and_started_again_it_upgrades(at: At, moment: str) -> None:
    desk = at(flash_seconds=0.5)
    desk.put(image_for("M1", "2.0.0", size=LARGE))
    process = interrupted(desk, moment, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    run = desk.run(CAMERA_REBOOT_SECONDS="3")
    assert ("broken" in desk.camera.journal) == (moment in DURING)
    run.ended(Exit.DONE, "upgraded")
    assert (run.report["from"], run.report["to"]) == ("1.0.0", "2.0.0")
    assert desk.camera.uploads == 1
    assert not list(desk.state.iterdir())
    desk.run().ended(Exit.DONE, "current")


def test_killed_at_every_point_one_after_the_other_it_upgrades_in_the_end(at: At) -> None:
    desk = at()
    desk.put(image_for("M1", "2.0.0", size=LARGE))
    for moment in [*BEFORE, *DURING]:
        process = interrupted(desk, moment, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, moment
    desk.run().ended(Exit.DONE, "upgraded")
    assert desk.camera.uploads == 1


@pytest.mark.parametrize("moment", AFTER[:1])
def test_without_notes_a_camera_that_is_busy_says_so_itself(at: At, moment: str) -> None:
    desk = at(flash_seconds=1.5)
    process = interrupted(desk, moment, signal.SIGKILL)
    process.communicate()
    desk.run(["CAMERA_STATE_DIR"]).ended(Exit.DECLINED, "failed", "starts no upgrade")
    assert desk.camera.settled.wait(20)
    desk.run(["CAMERA_STATE_DIR"]).ended(Exit.DONE, "current")
    assert desk.camera.uploads == 1


def test_a_camera_that_an_earlier_run_has_lost_is_waited_for(at: At) -> None:
    desk = at(returns=False)
    desk.run(CAMERA_REBOOT_SECONDS="1").ended(Exit.NOT_BACK, "failed")
    desk.run(CAMERA_REBOOT_SECONDS="1").ended(Exit.UNREACHABLE, "failed")
    desk.camera.version = "2.0.0"
    desk.camera.power_on()
    desk.run().ended(Exit.DONE, "current")


def test_an_earlier_upload_of_another_version_is_waited_for_too(at: At) -> None:
    desk = at(flash_seconds=1.0)
    process = interrupted(desk, "taken", signal.SIGKILL)
    process.communicate()
    run = desk.run(FIRMWARE_VERSION="3.0.0", FIRMWARE_MODELS="M9")
    run.ended(Exit.MODEL, "refused")
    assert run.report["from"] == "2.0.0"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"until": "x"}', '{"until": NaN, "before": 1, "wanted": {}}'])
def test_a_note_that_is_damaged_is_no_hindrance(at: At, text: str) -> None:
    desk = at(returns=False)
    desk.run(CAMERA_REBOOT_SECONDS="1").ended(Exit.NOT_BACK, "failed")
    note = next(desk.state.iterdir())
    note.write_text(text)
    desk.camera.version = "2.0.0"
    desk.camera.power_on()
    desk.run().ended(Exit.DONE, "current")


@pytest.mark.parametrize("moment", BEFORE)
def test_a_drained_node_ends_it_while_nothing_was_sent(at: At, moment: str) -> None:
    desk = at(upload_delay="PT2S")
    desk.finish(interrupted(desk, moment, signal.SIGTERM)).ended(Exit.STOPPED, "failed", "SIGTERM")
    assert "upload" not in desk.camera.journal


@pytest.mark.parametrize("moment", [*DURING, *AFTER[:2]])
def test_a_drained_node_waits_for_an_upload(at: At, moment: str) -> None:
    desk = at()
    run = desk.finish(interrupted(desk, moment, signal.SIGTERM))
    run.ended(Exit.DONE, "upgraded")
    assert "SIGTERM: the upgrade is finished first" in run.log

"""A camera gets its firmware, in each of the ways in which cameras take it and ask for passwords."""

import resource
from collections.abc import Callable
from typing import Any

import pytest
from camera_firmware.outcomes import Exit

from tests.e2e.camera_firmware.images import serving
from tests.e2e.camera_firmware.kit import Desk, Run
from tests.e2e.camera_firmware.simulated import image_for

pytestmark = pytest.mark.e2e
At = Callable[..., Desk]
YEARS = 20 * 365 * 86400.0


def upgraded(desk: Desk, run: Run) -> None:
    run.ended(Exit.DONE, "upgraded")
    assert (run.report["from"], run.report["to"]) == ("1.0.0", "2.0.0")
    assert desk.camera.version == "2.0.0"
    assert desk.camera.uploads == 1
    assert not list(desk.state.iterdir())


@pytest.mark.parametrize(
    "switches",
    [
        pytest.param({}, id="WS-Security"),
        pytest.param({"accepts": "digest"}, id="HTTP Digest"),
        pytest.param({"accepts": "digest", "upload_wants_digest": True}, id="HTTP Digest for the upload too"),
        pytest.param({"upload_wants_digest": True}, id="HTTP Digest for the upload alone"),
        pytest.param(
            {"accepts": "digest", "upload_wants_digest": True, "upload_knows_nonces": False},
            id="HTTP Digest for the upload with nonces of its own",
        ),
        pytest.param({"says_continue": True}, id="100 Continue without being asked"),
        pytest.param({"accepts": "anybody"}, id="no password at all"),
        pytest.param({"clock": -YEARS}, id="a clock of another century"),
        pytest.param({"clock": 3600.0, "clock_after": -YEARS}, id="a clock that a reboot sets back"),
        pytest.param({"way": "mtom"}, id="MTOM"),
        pytest.param({"way": "mtom", "accepts": "digest"}, id="MTOM with HTTP Digest"),
        pytest.param({"way": "mtom", "clock": YEARS}, id="MTOM with a clock of another century"),
        pytest.param({"way": "old"}, id="only GetCapabilities"),
        pytest.param({"hangs_up": True}, id="a restart instead of an answer"),
        pytest.param({"flash_seconds": 1.0}, id="the old version while it writes its flash"),
        pytest.param({"upload_uri": "path only"}, id="an upload URI without a host"),
    ],
)
def test_a_camera_gets_its_firmware(at: At, switches: dict[str, Any]) -> None:
    desk = at(**switches)
    desk.put(image_for("M1", "2.0.0", size=12_000_000))
    upgraded(desk, desk.run())


def test_a_camera_that_has_the_version_is_not_touched(at: At) -> None:
    desk = at(version="2.0.0")
    run = desk.run(MAINTENANCE_FROM="00:00", MAINTENANCE_UNTIL="00:01", FIRMWARE_IMAGE="/there/is/none")
    run.ended(Exit.DONE, "current")
    assert set(desk.camera.journal) <= {"GetDeviceInformation", "GetSystemDateAndTime"}


def test_a_second_run_finds_it_current(at: At) -> None:
    desk = at()
    upgraded(desk, desk.run())
    desk.run().ended(Exit.DONE, "current")
    assert desk.camera.uploads == 1


def test_properties_with_the_digest_of_an_instance_are_enough(at: At) -> None:
    desk = at()
    plain = ["ONVIF_DEVICE_SERVICE_URL", "FIRMWARE_VERSION"]
    given = {f"{name}_4294EA": desk.environment()[name] for name in plain}
    upgraded(desk, desk.run(plain, **given))


def test_properties_of_two_instances_are_refused(at: At) -> None:
    desk = at()
    name = "ONVIF_DEVICE_SERVICE_URL"
    given = {f"{name}_4294EA": desk.camera.url, f"{name}_0A0B0C": "http://10.0.0.1/"}
    desk.run([name], **given).ended(Exit.SETTINGS, "refused", "several devices")


def test_a_camera_may_have_a_password_of_its_own(at: At) -> None:
    desk = at()
    uuid = desk.environment()["ONVIF_DEVICE_UUID"].replace("-", "_")
    (desk.secrets / "password").write_text("of all the others")
    (desk.secrets / f"username_{uuid}").write_text(desk.camera.username)
    (desk.secrets / f"password_{uuid}").write_text(desk.camera.password)
    upgraded(desk, desk.run())


def test_an_image_comes_from_a_url(at: At) -> None:
    desk = at()
    with serving(desk.image.read_bytes()) as url:
        upgraded(desk, desk.run(FIRMWARE_IMAGE=url))


def test_a_large_image_is_not_held_in_memory(at: At) -> None:
    desk = at()
    desk.put(image_for("M1", "2.0.0", size=96 * 1024 * 1024))
    process = desk.start()
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (64 * 1024 * 1024,) * 2)
    upgraded(desk, desk.finish(process))


def test_several_cameras_at_once_do_not_meet(at: At) -> None:
    desks = [at(), at(accepts="digest"), at(way="mtom")]
    processes = [desk.start() for desk in desks]
    for desk, process in zip(desks, processes, strict=True):
        upgraded(desk, desk.finish(process))

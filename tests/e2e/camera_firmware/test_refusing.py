"""What ends a run, at which code, and what is left of the camera: nothing of it was touched before, none is bricked."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from camera_firmware.outcomes import Exit

from tests.e2e.camera_firmware.answers import TRICKS
from tests.e2e.camera_firmware.images import serving
from tests.e2e.camera_firmware.kit import Desk
from tests.e2e.camera_firmware.simulated import image_for

pytestmark = pytest.mark.e2e
At = Callable[..., Desk]
BERLIN = ZoneInfo("Europe/Berlin")


def untouched(desk: Desk) -> None:
    assert not {"StartFirmwareUpgrade", "upload"} & set(desk.camera.journal)
    assert desk.camera.version == "1.0.0"


@pytest.mark.parametrize(
    ("changed", "code", "word"),
    [
        ({"FIRMWARE_MODELS": "M2*,X"}, Exit.MODEL, "'M1'"),
        ({"FIRMWARE_FROM": "0.9*"}, Exit.START_VERSION, "1.0.0"),
        ({"FIRMWARE_IMAGE": "/there/is/none"}, Exit.IMAGE, "/there/is/none"),
        ({"FIRMWARE_IMAGE": "/dev/zero"}, Exit.IMAGE, "no file"),
        ({"FIRMWARE_IMAGE_LIMIT_MB": "0.01"}, Exit.IMAGE, "bytes"),
        ({"FIRMWARE_IMAGE": "http://127.0.77.1:9/image"}, Exit.IMAGE, "cannot be fetched"),
        ({"FIRMWARE_IMAGE": "http://8.8.8.8/image"}, Exit.IMAGE, "FIRMWARE_IMAGE_NETWORKS"),
        ({"FIRMWARE_SHA256": "0" * 64}, Exit.CHECKSUM, "0" * 64),
    ],
)
def test_what_does_not_fit_leaves_the_camera_alone(at: At, changed: dict[str, str], code: Exit, word: str) -> None:
    desk = at()
    run = desk.run(**changed)
    run.ended(code, "refused", word)
    assert run.report["from"] == run.report["to"] == "1.0.0"
    untouched(desk)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"ONVIF_DEVICE_SERVICE_URL": ""}, "ONVIF_DEVICE_SERVICE_URL is missing"),
        ({"ONVIF_DEVICE_SERVICE_URL": "http://8.8.8.8/onvif"}, "leads out of CAMERA_NETWORKS"),
        ({"ONVIF_DEVICE_SERVICE_URL": "http://[::ffff:8.8.8.8]/onvif"}, "leads out of CAMERA_NETWORKS"),
        ({"ONVIF_DEVICE_SERVICE_URL": "http://localhost/onvif"}, "an address"),
        ({"ONVIF_DEVICE_SERVICE_URL": "file:///etc/passwd"}, "no http(s) URL"),
        ({"ONVIF_DEVICE_SERVICE_URL": "http://a:b@127.0.0.1/"}, "no http(s) URL"),
        ({"CAMERA_NETWORKS": "everywhere"}, "everywhere"),
        ({"FIRMWARE_VERSION": " "}, "FIRMWARE_VERSION is missing"),
        ({"FIRMWARE_MODELS": ""}, "FIRMWARE_MODELS is missing"),
        ({"FIRMWARE_SHA256": "abc"}, "64 hex digits"),
        ({"CAMERA_REBOOT_SECONDS": "-1"}, "CAMERA_REBOOT_SECONDS"),
        ({"CAMERA_REBOOT_SECONDS": "nan"}, "CAMERA_REBOOT_SECONDS"),
        ({"MAINTENANCE_DAYS": "mon"}, "MAINTENANCE_FROM"),
        ({"MAINTENANCE_FROM": "2 o'clock", "MAINTENANCE_UNTIL": "04:00"}, "no time of a day"),
        ({"MAINTENANCE_FROM": "02:00", "MAINTENANCE_UNTIL": "04:00", "MAINTENANCE_DAYS": "monday"}, "'monday'"),
        ({"MAINTENANCE_FROM": "02:00", "MAINTENANCE_UNTIL": "04:00", "MAINTENANCE_TIME_ZONE": "../x"}, "'../x'"),
        ({"MAINTENANCE_FROM": "02:00", "MAINTENANCE_UNTIL": "04:00", "MAINTENANCE_TIME_ZONE": "Europe"}, "'Europe'"),
    ],
)
def test_settings_that_cannot_be_are_told_before_anything_is_asked(at: At, changed: dict[str, str], word: str) -> None:
    desk = at()
    desk.run(**changed).ended(Exit.SETTINGS, "refused", word)
    assert not desk.camera.journal


def test_all_that_is_wrong_is_told_at_once(at: At) -> None:
    desk = at()
    run = desk.run(FIRMWARE_VERSION="", FIRMWARE_SHA256="abc", CAMERA_POLL_SECONDS="x")
    run.ended(Exit.SETTINGS, "refused", "FIRMWARE_VERSION", "FIRMWARE_SHA256", "CAMERA_POLL_SECONDS")


def hours(now: datetime, begin: float, end: float, days: str = "") -> dict[str, str]:
    times = [(now + timedelta(hours=one)).strftime("%H:%M") for one in (begin, end)]
    return {
        "MAINTENANCE_FROM": times[0],
        "MAINTENANCE_UNTIL": times[1],
        "MAINTENANCE_TIME_ZONE": "Europe/Berlin",
        "MAINTENANCE_DAYS": days,
    }


def test_outside_the_window_it_says_when_that_opens(at: At) -> None:
    desk, now = at(), datetime.now(BERLIN)
    run = desk.run(**hours(now, 2, 3))
    run.ended(Exit.WINDOW, "waiting", "opens at")
    opens = datetime.fromisoformat(run.report["opens"])
    assert opens > now
    assert opens.astimezone(BERLIN).strftime("%H:%M") == hours(now, 2, 3)["MAINTENANCE_FROM"]
    untouched(desk)


def test_within_the_window_it_goes_on(at: At) -> None:
    desk = at()
    desk.run(**hours(datetime.now(BERLIN), -2, 2)).ended(Exit.DONE, "upgraded")


@pytest.mark.parametrize(
    ("switches", "code", "outcome", "word"),
    [
        ({"accepts": "nobody"}, Exit.UNAUTHORISED, "refused", "'admin'"),
        ({"way": "none"}, Exit.NO_WAY, "refused", "no firmware over ONVIF"),
        ({"upload_uri": "http://127.0.77.1:9/upload"}, Exit.ELSEWHERE, "refused", "127.0.77.1:9"),
        ({"upload_uri": "http://camera.example/upload"}, Exit.ELSEWHERE, "refused", "camera.example"),
        ({"upload_uri": "file:///etc/passwd"}, Exit.UNUSABLE, "failed", "file:///etc/passwd"),
        ({"upload_uri": " "}, Exit.UNUSABLE, "failed", "no URL"),
        ({"upload_delay": "P300D"}, Exit.UNUSABLE, "failed", "wants to wait"),
        ({"busy": True}, Exit.DECLINED, "failed", "ActionNotSupported"),
    ],
)
def test_a_camera_that_will_not_gets_no_image(
    at: At, switches: dict[str, Any], code: Exit, outcome: str, word: str
) -> None:
    desk = at(**switches)
    desk.run().ended(code, outcome, word)
    assert "upload" not in desk.camera.journal
    assert not list(desk.state.iterdir())


@pytest.mark.parametrize(
    ("switches", "code", "outcome", "word"),
    [
        ({"upload_status": 415}, Exit.IMAGE_REFUSED, "failed", "415"),
        ({"upload_status": 415, "way": "mtom"}, Exit.IMAGE_REFUSED, "failed", "InvalidFirmware"),
        ({"upload_status": 500}, Exit.UPLOAD_FAILED, "failed", "500"),
        ({"upload_status": 302}, Exit.UPLOAD_FAILED, "failed", "302"),
        ({"upload_wants_digest": True, "accepts": "nobody"}, Exit.UNAUTHORISED, "refused", "'admin'"),
        ({"returns": False}, Exit.NOT_BACK, "failed", "was not back within 5 s"),
        ({"returns_with": "1.0.0"}, Exit.VERSION, "failed", "has come back, with 1.0.0 and not with 2.0.0"),
        ({"returns_with": "1.5.0"}, Exit.VERSION, "failed", "with 1.5.0"),
        ({"hangs_up": True, "returns_with": "1.0.0"}, Exit.VERSION, "failed", "has come back, with 1.0.0"),
        ({"forgets_users": True}, Exit.LOCKED_OUT, "failed", "after the upload"),
    ],
)
def test_an_upload_that_does_not_help_is_told(
    at: At, switches: dict[str, Any], code: Exit, outcome: str, word: str
) -> None:
    desk = at(**switches)
    desk.run().ended(code, outcome, word)
    assert desk.camera.journal.count("upload") <= 1


def test_a_connection_that_breaks_in_the_middle_is_told(at: At) -> None:
    desk = at()
    desk.camera.at["half"] = desk.camera.hang_up
    desk.run(CAMERA_REBOOT_SECONDS="1").ended(Exit.UPLOAD_BROKEN, "failed", "broke off", "has not gone")
    desk.run().ended(Exit.DONE, "upgraded")


def test_the_report_tells_the_version_with_which_a_camera_came_back(at: At) -> None:
    desk = at(returns_with="1.5.0")
    report = desk.run().report
    assert (report["from"], report["to"]) == ("1.0.0", "1.5.0")


def test_an_upload_that_wants_another_password_is_not_tried_for_ever(at: At) -> None:
    desk = at(upload_wants_digest=True, accepts="token")
    desk.camera.at["upload"] = lambda: setattr(desk.camera.passwords, "wrong_digest", lambda *_: "always wrong")
    desk.run().ended(Exit.UNAUTHORISED, "refused", "upload")
    assert desk.camera.journal.count("upload") == 2


def test_a_wrong_password_is_told_and_tried_once(at: At) -> None:
    desk = at()
    (desk.secrets / "password").write_text("wrong-battery")
    run = desk.run()
    run.ended(Exit.UNAUTHORISED, "refused", "'admin'")
    assert "wrong-battery" not in run.log
    assert desk.camera.journal == ["GetDeviceInformation", "GetSystemDateAndTime", "GetDeviceInformation"]


def test_a_missing_password_is_told(at: At) -> None:
    desk = at()
    (desk.secrets / "username").unlink()
    desk.run().ended(Exit.UNAUTHORISED, "refused", "there are none")


def test_half_a_credential_is_told(at: At) -> None:
    desk = at()
    (desk.secrets / "password").unlink()
    desk.run().ended(Exit.SETTINGS, "refused", "no password beside it")


def test_nobody_at_the_address_is_told(at: At) -> None:
    desk = at()
    desk.camera.power_off()
    run = desk.run()
    run.ended(Exit.UNREACHABLE, "failed", desk.camera.host)
    assert run.log.count("asked again") == 2


def test_an_image_behind_a_redirect_is_not_taken(at: At) -> None:
    desk = at()
    with serving(desk.image.read_bytes(), status=302) as url:
        desk.run(FIRMWARE_IMAGE=url).ended(Exit.IMAGE, "refused", "302")
    untouched(desk)


def test_an_image_that_is_too_large_is_not_fetched_to_its_end(at: At) -> None:
    desk = at()
    with serving(image_for("M1", "2.0.0", size=3_000_000)) as url:
        run = desk.run(FIRMWARE_IMAGE=url, FIRMWARE_IMAGE_LIMIT_MB="1")
    run.ended(Exit.IMAGE, "refused", "more than")


def test_a_folder_for_notes_that_cannot_be_written_ends_it_before_the_upload(at: At) -> None:
    desk = at()
    desk.run(CAMERA_STATE_DIR=str(desk.image)).ended(Exit.SETTINGS, "refused", "CAMERA_STATE_DIR")
    assert "upload" not in desk.camera.journal


def test_a_folder_for_notes_that_is_lost_on_the_way_ends_nothing(at: At) -> None:
    desk = at()
    desk.put(image_for("M1", "2.0.0", size=12_000_000))
    desk.camera.at["half"] = lambda: shutil.rmtree(desk.state)
    run = desk.run()
    run.ended(Exit.DONE, "upgraded")
    assert "CAMERA_STATE_DIR cannot be written" in run.log


@pytest.mark.parametrize("switches", [{"returns": False}, {"forgets_users": True}])
def test_the_report_tells_no_version_that_nobody_knows(at: At, switches: dict[str, Any]) -> None:
    desk = at(**switches)
    report = desk.run(CAMERA_REBOOT_SECONDS="2").report
    assert (report["from"], report["to"]) == ("1.0.0", "")


@pytest.mark.parametrize("trick", [one for one in TRICKS if one not in ("a drop at a time", "lines and colours")])
def test_a_hostile_answer_ends_it(at: At, trick: str) -> None:
    desk = at(answers_with=trick)
    desk.run().ended(Exit.UNUSABLE, "failed")
    untouched(desk)


def test_an_answer_that_drips_ends_it(at: At) -> None:
    desk = at(answers_with="a drop at a time")
    desk.run(CAMERA_ANSWER_SECONDS="0.5").ended(Exit.UNREACHABLE, "failed", "within 0.5 s")


def test_words_of_a_camera_make_no_lines_and_no_colours(at: At) -> None:
    desk = at(answers_with="lines and colours")
    run = desk.run()
    run.ended(Exit.MODEL, "refused")
    assert run.log.count("\n") == 2
    assert not [letter for letter in run.log if letter != "\n" and not letter.isprintable()]


@pytest.mark.parametrize("uuid", ["../../etc/passwd", "a/b", "x" * 300])
def test_a_uuid_leads_to_no_other_file(at: At, uuid: str) -> None:
    desk = at()
    there = sorted(desk.folder.rglob("*"))
    desk.run(ONVIF_DEVICE_UUID=uuid).ended(Exit.DONE, "upgraded")
    assert sorted(desk.folder.rglob("*")) == there

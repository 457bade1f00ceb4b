"""Cameras that speak TLS: with an authority they are checked, without one they are not, and none leads out of TLS."""

from collections.abc import Callable
from pathlib import Path

import pytest
from camera_firmware.outcomes import Exit

from tests.e2e.camera_firmware.kit import Desk
from tests.e2e.camera_firmware.simulated import image_for
from tests.tls_kit import Certified, certified

pytestmark = pytest.mark.e2e
At = Callable[..., Desk]
# For this address its certificate is.
HOST = "127.0.0.1"


@pytest.fixture
def certificate(tmp_path: Path) -> Certified:
    return certified(tmp_path / "certificate")


def test_a_camera_that_signs_its_certificate_itself_gets_its_firmware(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate)
    desk.put(image_for("M1", "2.0.0", size=12_000_000))
    desk.run().ended(Exit.DONE, "upgraded")


def test_a_camera_that_wants_http_digest_over_tls_gets_its_firmware(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate, accepts="digest", upload_wants_digest=True)
    desk.put(image_for("M1", "2.0.0", size=12_000_000))
    desk.run().ended(Exit.DONE, "upgraded")


def test_a_camera_of_the_authority_gets_its_firmware(at: At, certificate: Certified, tmp_path: Path) -> None:
    desk = at(certificate=certificate.certificate, host=HOST)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(certificate.authority)
    desk.run(CAMERA_CA_FILE=str(ca_file)).ended(Exit.DONE, "upgraded")


def test_a_camera_of_another_authority_is_not_believed(at: At, certificate: Certified, tmp_path: Path) -> None:
    desk = at(certificate=certificate.certificate, host=HOST)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(certified(tmp_path / "other").authority)
    desk.run(CAMERA_CA_FILE=str(ca_file)).ended(Exit.UNREACHABLE, "failed", "certificate verify failed")
    assert not desk.camera.journal


def test_an_authority_that_is_not_there_is_told(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate)
    desk.run(CAMERA_CA_FILE="/there/is/none").ended(Exit.SETTINGS, "refused", "CAMERA_CA_FILE")


def test_an_image_does_not_leave_tls(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate)
    desk.camera.switches.upload_uri = desk.camera.url.replace("https", "http")
    desk.run().ended(Exit.ELSEWHERE, "refused", "http://")


def test_an_answer_that_drips_over_tls_ends_it(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate, answers_with="a drop at a time")
    desk.run(CAMERA_ANSWER_SECONDS="1").ended(Exit.UNREACHABLE, "failed", "within 1 s")


def test_a_camera_that_refuses_early_over_tls_is_heard(at: At, certificate: Certified) -> None:
    desk = at(certificate=certificate.certificate, upload_status=415)
    desk.put(image_for("M1", "2.0.0", size=12_000_000))
    desk.run().ended(Exit.IMAGE_REFUSED, "failed", "415")

"""The sample Configuration, the image and the page say the same as the program."""

import re
from pathlib import Path
from typing import Any

import yaml
from camera_firmware import settings
from camera_firmware.outcomes import NEXT, Exit

from ashore_broker_launcher.admission import checks
from ashore_discovery.configurations.schema import read
from ashore_discovery.handlers.onvif.details import OnvifDetails, problems

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "examples/camera-firmware"
PAGE = (ROOT / "docs/how-to/upgrade-camera-firmware.md").read_text("utf-8")
SAMPLE: dict[str, Any] = yaml.safe_load((FOLDER / "configuration.yaml").read_text("utf-8"))
SPEC = SAMPLE["spec"]
JOB = SPEC["brokerSpec"]["brokerJobSpec"]


def mounted(path: str) -> bool:
    mounts = JOB["template"]["spec"]["containers"][0]["volumeMounts"]
    return any(path == one["mountPath"] or path.startswith(one["mountPath"] + "/") for one in mounts)


def test_the_launcher_accepts_it() -> None:
    # The API server adds the namespace before anybody judges it.
    sample = {**SAMPLE, "metadata": {**SAMPLE["metadata"], "namespace": "default"}}
    assert checks.problems(sample) == []
    assert checks.warnings(sample) == []


def test_its_properties_are_all_that_the_program_needs() -> None:
    camera = {"ONVIF_DEVICE_SERVICE_URL": "http://192.168.1.9/onvif/device_service"}
    found = settings.read({**camera, **SPEC["brokerProperties"]})
    assert found.models == ["M1", "M1-*"]
    assert found.window is not None


def test_its_properties_are_texts_and_known() -> None:
    names = set(re.findall(r'"([A-Z][A-Z0-9]+_[A-Z0-9_]+)"', "".join(path.read_text() for path in sources())))
    assert set(SPEC["brokerProperties"]) <= names
    assert all(isinstance(value, str) for value in SPEC["brokerProperties"].values())


def test_its_window_is_the_same_in_both_places() -> None:
    window, given = SPEC["rollout"]["maintenanceWindow"], SPEC["brokerProperties"]
    names = {"from": "MAINTENANCE_FROM", "until": "MAINTENANCE_UNTIL", "timeZone": "MAINTENANCE_TIME_ZONE"}
    assert {name: given[other] for name, other in names.items()} | {"days": window["days"]} == window
    assert given["MAINTENANCE_DAYS"].split(",") == window["days"]


def test_its_handler_understands_its_details() -> None:
    assert SPEC["discoveryHandler"]["name"] == "onvif"
    details = read(OnvifDetails, yaml.safe_load(SPEC["discoveryHandler"]["discoveryDetails"]), "discoveryDetails")
    assert not list(problems(details))


def test_what_the_program_reads_and_writes_is_mounted() -> None:
    given = SPEC["brokerProperties"]
    assert all(mounted(given[name]) for name in ("FIRMWARE_IMAGE", "CAMERA_SECRETS_DIR", "CAMERA_STATE_DIR"))
    assert mounted("/tmp")


def test_a_job_is_given_up_at_the_codes_that_need_somebody() -> None:
    ends = next(rule["onExitCodes"] for rule in JOB["podFailurePolicy"]["rules"] if rule["action"] == "FailJob")
    retried = {Exit.DONE, Exit.UPLOAD_FAILED, Exit.UPLOAD_BROKEN, Exit.BUG}
    retried |= {code for code in Exit if Exit.UNREACHABLE <= code < Exit.IMAGE_REFUSED}
    assert ends["values"] == sorted(set(Exit) - retried)
    assert ends["containerName"] == JOB["template"]["spec"]["containers"][0]["name"]
    # Kubernetes has this policy only for pods that are not restarted in place.
    assert JOB["template"]["spec"]["restartPolicy"] == "Never"


def test_every_exit_code_has_its_remedy_and_its_line_on_the_page() -> None:
    assert set(NEXT) == set(Exit)
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert told == {int(code) for code in Exit}


def test_every_setting_is_on_the_page() -> None:
    names = set(
        re.findall(r'"((?:FIRMWARE|CAMERA|MAINTENANCE)_[A-Z0-9_]+)"', "".join(p.read_text() for p in sources()))
    )
    assert not [name for name in names if f"`{name}`" not in PAGE]


def test_the_image_has_what_the_lock_has() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    wanted = re.sub(r"^#.*\n", "", (FOLDER / "requirements.txt").read_text("utf-8"), flags=re.MULTILINE)
    assert wanted.strip() in lock


def test_the_program_imports_only_what_the_image_has() -> None:
    found = {one for path in sources() for one in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE)}
    import sys

    assert found - set(sys.stdlib_module_names) == {"camera_firmware", "defusedxml"}


def test_no_module_of_it_is_longer_than_a_person_reads() -> None:
    assert all(len(path.read_text("utf-8").splitlines()) <= 300 for path in sources())


def sources() -> list[Path]:
    return sorted((FOLDER / "camera_firmware").glob("*.py"))

"""Serial number and model, from machines that know them and from those that do not."""

from pathlib import Path

import pytest

from ashore_device import devmod
from ashore_device.identity import identify


def machine(root: Path, **files: str) -> Path:
    for name, content in files.items():
        path = (
            root
            / {
                "serial": "sys/class/dmi/id/product_serial",
                "board": "sys/class/dmi/id/board_serial",
                "uuid": "sys/class/dmi/id/product_uuid",
                "vendor": "sys/class/dmi/id/sys_vendor",
                "product": "sys/class/dmi/id/product_name",
                "tree_serial": "proc/device-tree/serial-number",
                "tree_model": "proc/device-tree/model",
                "machine_id": "etc/machine-id",
            }[name]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_firmware_tells_serial_and_model(tmp_path: Path) -> None:
    found = identify(machine(tmp_path, serial="ABC 123/4\n", vendor="ACME Inc.\n", product="Edge Box 9\n"))
    assert (found.serial, found.device_info) == ("ABC-123-4", "ACME-Inc-Edge-Box-9")


def test_a_board_tells_it_in_its_device_tree(tmp_path: Path) -> None:
    found = identify(machine(tmp_path, tree_serial="10000000abcd\0", tree_model="Raspberry Pi 4 Model B\0"))
    assert (found.serial, found.device_info) == ("10000000abcd", "Raspberry-Pi-4-Model-B")


@pytest.mark.parametrize(
    "template",
    [
        "To be filled by O.E.M.",
        "Default string",
        "None",
        "Not Specified",
        "System Serial Number",
        "0",
        "000000000000",
        "00000000-0000-0000-0000-000000000000",
        "0123456789",
        "123456789",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "N/A",
        "INVALID",
        "",
    ],
)
def test_what_the_template_said_is_no_serial_number(tmp_path: Path, template: str) -> None:
    assert identify(machine(tmp_path, serial=template, board="B-77", vendor=template)).serial == "B-77"


def test_a_machine_id_is_hashed(tmp_path: Path) -> None:
    secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    found = identify(machine(tmp_path, machine_id=secret + "\n"))
    assert found.serial.startswith("m-")
    assert secret not in found.serial
    assert identify(tmp_path) == found


def test_a_machine_that_knows_nothing_gets_a_random_serial_number(tmp_path: Path) -> None:
    first, second = identify(tmp_path), identify(tmp_path)
    assert first.serial != second.serial
    assert first.device_info.startswith("linux-")


def test_this_machine_has_a_name_that_every_manufacturer_takes() -> None:
    found = identify()
    for text in (found.serial, found.device_info):
        assert 0 < len(text) <= 64
        assert text.replace("-", "").replace("_", "").isalnum()


def test_devmod_tells_facts(tmp_path: Path) -> None:
    facts = devmod.facts("S-1", "box", tmp_path, "https://mud.example/box")
    assert (facts.os, facts.device, facts.sn, facts.nl) == ("linux", "box", "S-1", "\n")
    assert facts.dir == f"{tmp_path}/"
    assert facts.mudurl == "https://mud.example/box"
    assert all((facts.arch, facts.version, facts.sep, facts.bin, facts.pathsep, facts.tmp.endswith("/"), facts.progenv))

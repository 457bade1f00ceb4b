"""linux-client of client-sdk-fidoiot, unmodified, against the three services.

ASHORE_FDO_C_CLIENT names its binary, or several with a colon between them: curve and cipher are chosen when it is
built. It does what it is told as whoever runs the tests, in a folder of its own.
"""

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ashore.fdo.serviceinfo.fdo_sys import Exec, ExecPolled, FetchFile, WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from tests.interop.c_client import CDevice
from tests.interop.in_process import InProcess
from tests.interop.services import Services

BINARIES = [Path(name) for name in os.environ.get("ASHORE_FDO_C_CLIENT", "").split(os.pathsep) if name]
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not BINARIES, reason="ASHORE_FDO_C_CLIENT names no linux-client binary"),
]
LARGE = os.urandom(1_000_000)
MANY = 20
SERIALS = itertools.count(1)


class Shore:
    """The services, and devices that are made for them."""

    def __init__(self, services: Services, binary: Path, folder: Path) -> None:
        self.services, self._binary, self._folder = services, binary, folder

    def device(self, *, size: int | None = None, state: str = "registered") -> tuple[CDevice, str]:
        """A device whose voucher the owner has, and its GUID."""
        serial = f"C-{next(SERIALS)}"
        device = CDevice(self._binary, self._folder / serial, self.services.manufacturer, serial=serial, size=size)
        guid = device.initialise()
        self.services.await_sold(guid, state=state)
        return device, guid

    def told(self, *steps: object, size: int | None = None, **more: object) -> tuple[CDevice, str]:
        """A device whose profile has these steps."""
        device, guid = self.device(size=size)
        self.services.profile(f"for-{guid}", steps, **more)
        self.services.choose(guid, f"for-{guid}")
        return device, guid


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Everything, with names for addresses: some builds of the client know no other."""
    with Services(tmp_path_factory.mktemp("stack"), host="localhost") as running:
        greeting = {"step": "run_script", "text": 'printf "%s" "$GREETING" > greeting.txt', "name": "greet.sh"}
        running.profile("greeting", [greeting], variables={"GREETING": "it's $HOME; `id`"})
        running.call("PUT", "owner", "rules", [{"profile": "greeting"}])
        yield running


@pytest.fixture(params=BINARIES, ids=lambda path: path.name)
def binary(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


@pytest.fixture
def shore(services: Services, binary: Path, tmp_path: Path) -> Shore:
    return Shore(services, binary, tmp_path)


def was_greeted(device: CDevice) -> bool:
    return (device.folder / "greeting.txt").read_text() == "it's $HOME; `id`"


def test_devices_come_ashore_and_know_it(shore: Shore) -> None:
    """So many that some of their signatures and coordinates lack a leading zero."""
    for _ in range(MANY):
        device, guid = shore.device()
        device.onboard()
        assert was_greeted(device)
        assert shore.services.await_onboarded(guid)[0]["new_guid"] != guid
    assert "already complete" in device.run().stdout


def test_a_device_finds_its_owner_without_any_rendezvous(shore: Shore) -> None:
    shore.services.lead_to_owner()
    try:
        device, guid = shore.device(state="owned")
        device.onboard()
    finally:
        shore.services.lead_to_rendezvous()
    assert was_greeted(device)
    assert guid not in shore.services.log("rendezvous")


def test_a_credential_is_reused_as_often_as_the_device_comes_back(shore: Shore) -> None:
    device, guid = shore.told(credential="reuse")
    device.onboard()
    device.onboard()
    ledger = shore.services.await_onboarded(guid, times=2)
    assert [one["credential_reuse"] for one in ledger[:2]] == [True, True]


def test_a_device_is_sold_on_and_comes_ashore_again(shore: Shore) -> None:
    device, first = shore.device()
    device.onboard()
    guid = shore.services.await_onboarded(first)[0]["new_guid"]
    shore.services.resell(guid)
    assert "Set Resale complete" in device.run("-r").stdout
    device.onboard()
    # The onboarding in which it got the GUID is told as well.
    assert [one["guid"] for one in shore.services.await_onboarded(guid, times=2)] == [guid, first]


@pytest.mark.parametrize("size", [None, 8000, 64000])
def test_files_go_both_ways(shore: Shore, size: int | None) -> None:
    shore.services.call("PUT", "owner", "resources/one", b"x")
    shore.services.call("PUT", "owner", "resources/large", LARGE)
    device, guid = shore.told(
        {"step": "write_file", "name": "empty.txt", "text": ""},
        {"step": "write_file", "name": "note.txt", "text": "æ" * 20_000},
        {"step": "download", "name": "one.bin", "resource": "one"},
        {"step": "download", "name": "large.bin", "resource": "large"},
        {"step": "fetch_file", "name": "note.txt"},
        {"step": "fetch_file", "name": "large.bin"},
        {"step": "fetch_file", "name": "missing.bin", "may_fail": True},
        {"step": "write_file", "name": "last.txt", "text": "last"},
        size=size,
    )
    device.onboard()
    [onboarding] = shore.services.await_onboarded(guid)
    assert [step["state"] for step in onboarding["steps"]] == [*["done"] * 6, "failed", "done"]
    assert (device.folder / "empty.txt").read_bytes() == b""
    assert (device.folder / "one.bin").read_bytes() == b"x"
    assert (device.folder / "large.bin").read_bytes() == LARGE
    assert (device.folder / "last.txt").read_bytes() == b"last"
    kept = [shore.services.call("GET", "owner", f"onboardings/{onboarding['id']}/files/{step}") for step in (4, 5)]
    assert kept == ["æ".encode() * 20_000, LARGE]


def test_a_command_that_may_fail_does_no_harm(shore: Shore) -> None:
    device, guid = shore.told(
        {"step": "run_command", "arguments": ["sh", "-c", "exit 3"], "may_fail": True},
        {"step": "run_command", "arguments": ["touch", "done.txt"]},
    )
    device.onboard()
    assert shore.services.await_onboarded(guid)[0]["steps"][1]["exit_code"] == 0
    assert (device.folder / "done.txt").exists()


def test_a_command_that_must_not_fail_ends_the_onboarding(shore: Shore) -> None:
    device, guid = shore.told({"step": "run_command", "arguments": ["false"]})
    with device.running():
        failure = shore.services.until(
            lambda: (found := shore.services.device(guid)["failure"]) and found["message_number"] == 69 and found,
            "the command did not fail",
        )
    assert failure["code"] == 100


async def test_programs_run_by_fdo_sys(binary: Path, tmp_path: Path) -> None:
    """What profiles do not use where there is fdo.command; Portainer asks for it."""
    steps: list[OwnerModule] = [
        WriteFile("go.sh", b"sleep 2\necho went > went.txt\n"),
        Exec(["/bin/sh", "-c", "echo first > first.txt"]),
        ExecPolled(["/bin/sh", "go.sh"], poll_seconds=1),
        ExecPolled(["/bin/sh", "-c", "exit 3"], may_fail=True),
        FetchFile("missing.txt", may_fail=True),
        FetchFile("went.txt"),
        FetchFile("first.txt"),
    ]

    async def planned(*_arguments: object) -> list[OwnerModule]:
        return steps

    async with InProcess(tmp_path, host="localhost") as services:
        services.owner._catalogue.modules = planned  # type: ignore[assignment, method-assign]  # no profile asks for these
        device = CDevice(binary, tmp_path / "device", services.manufacturer, serial="C-1")
        await asyncio.to_thread(device.initialise)
        await services.await_registered()
        await asyncio.to_thread(device.onboard)
    assert [step.outcome.state for step in steps] == ["done", "done", "done", "failed", "failed", "done", "done"]
    assert [step.outcome.exit_code for step in steps[1:4]] == [0, 0, 3]
    assert [step.outcome.content for step in steps[5:]] == [b"went\n", b"first\n"]

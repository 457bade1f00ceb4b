"""go-fdo-client, unmodified, against the three services: every key, key exchange, cipher, encoding and FSIM it has."""

import hashlib
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.interop.go_client import ONBOARDED, READY, GoDevice
from tests.interop.services import Services
from tests.interop.web import serve

# The first test of all may have to build the client.
pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

EXCHANGES = {
    "ec256": ["ECDH256"],
    "ec384": ["ECDH384"],
    "rsa2048": ["DHKEXid14", "ASYMKEX2048"],
    "rsa3072": ["DHKEXid15", "ASYMKEX3072"],
}
CIPHERS = ["A128GCM", "A192GCM", "A256GCM", "COSEAES128CTR", "COSEAES256CTR", "COSEAES128CBC", "COSEAES256CBC"]
ENCODINGS = {"x509": "X509", "x5chain": "X5CHAIN", "cose": "COSEKEY"}
MATRIX = [(key, kex, cipher) for key, exchanges in EXCHANGES.items() for kex in exchanges for cipher in CIPHERS]
LARGE = os.urandom(1_000_000)
GREETING = "it's $HOME; `id`"
SERIALS = itertools.count(1)


class Shore:
    """The services, and devices that are made for them."""

    def __init__(self, services: Services, binary: Path, folder: Path) -> None:
        self.services, self._binary, self._folder = services, binary, folder

    def device(self, key: str = "ec256", *, encoding: str = "x509", state: str = "registered") -> GoDevice:
        """A device whose voucher the owner has, and has registered."""
        serial = f"GO-{next(SERIALS)}"
        device = GoDevice(self._binary, self._folder / serial, key)
        guid = device.initialise(self.services.manufacturer, serial=serial, encoding=encoding)
        self.services.await_sold(guid, state=state)
        return device

    def told(self, *steps: object, key: str = "ec256", **more: object) -> GoDevice:
        """A device whose profile has these steps."""
        device = self.device(key)
        name = f"for-{device.guid}"
        self.services.profile(name, steps, **more)
        self.services.choose(device.guid, name)
        return device


@pytest.fixture(scope="module")
def shore(services: Services, go_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Shore:
    # It ends with a line end: the client loses a line that is not complete when it happens to look.
    greeting = {"step": "run_script", "text": 'echo "$GREETING" | tee greeting.txt', "name": "greet.sh"}
    services.profile("greeting", [greeting], variables={"GREETING": GREETING})
    services.call("PUT", "owner", "rules", [{"profile": "greeting"}])
    return Shore(services, go_binary, tmp_path_factory.mktemp("devices"))


def was_greeted(shore: Shore, device: GoDevice, old_guid: str, times: int = 1) -> bool:
    onboarding = shore.services.await_onboarded(old_guid, times)[0]
    said = [step["stdout"] for step in onboarding["steps"] if step["module"] == "fdo.command"]
    assert (device.folder / "greeting.txt").read_text() == f"{GREETING}\n"
    assert (onboarding["new_guid"], said) == (device.guid, [f"{GREETING}\n"])
    return True


@pytest.mark.parametrize(("key", "kex", "cipher"), MATRIX)
def test_a_device_comes_ashore_with_every_key_exchange_and_cipher(
    shore: Shore, key: str, kex: str, cipher: str
) -> None:
    device = shore.device(key)
    old_guid = device.guid
    device.onboard(kex, cipher)
    assert device.state == ONBOARDED
    assert device.guid != old_guid
    assert was_greeted(shore, device, old_guid)
    assert shore.services.device(old_guid)["state"] == "onboarded"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("key", EXCHANGES)
def test_keys_are_encoded_as_the_device_asks(shore: Shore, key: str, encoding: str) -> None:
    device = shore.device(key, encoding=encoding)
    old_guid = device.guid
    # The client asks for RSA keys in COSE_Key as well, and cannot read them: it gets what it can read.
    expected = "X509" if key.startswith("rsa") and encoding == "cose" else ENCODINGS[encoding]
    assert shore.services.call("GET", "manufacturer", f"vouchers/{old_guid}")["key_encoding"] == expected
    device.onboard(EXCHANGES[key][0])
    assert was_greeted(shore, device, old_guid)


def test_many_devices_come_ashore_at_the_same_time(shore: Shore) -> None:
    devices = [shore.device(key) for key in EXCHANGES for _ in range(6)]
    guids = [device.guid for device in devices]
    with ThreadPoolExecutor(len(devices)) as threads:
        list(threads.map(lambda device: device.onboard(EXCHANGES[device.key][0]), devices))
    assert all(was_greeted(shore, device, guid) for device, guid in zip(devices, guids, strict=True))


def test_a_credential_is_reused_as_often_as_the_device_comes_back(shore: Shore) -> None:
    device = shore.told({"step": "run_command", "arguments": ["date"]}, credential="reuse")
    guid = device.guid
    with device.onboarding("ECDH256", "A128GCM", "--allow-credential-reuse"):
        ledger = shore.services.await_onboarded(guid, times=2)
    assert [one["credential_reuse"] for one in ledger[:2]] == [True, True]
    assert (device.guid, device.state) == (guid, READY)
    # It takes the reuse for a failure without a reason, and begins again.
    assert "error: <nil>" in device.said


def test_a_device_that_allows_no_reuse_tells_its_owner_nothing_and_stays_as_it_is(shore: Shore) -> None:
    device = shore.told(credential="reuse")
    with device.onboarding("ECDH256"):
        shore.services.until(lambda: device.said.count("TO2 failed") > 1, "the device did not try twice")
    found = shore.services.device(device.guid)
    assert (found["state"], device.state) == ("onboarding", READY)


def test_a_device_finds_its_owner_without_any_rendezvous(shore: Shore) -> None:
    shore.services.lead_to_owner()
    try:
        device = shore.device(state="owned")
        guid = device.guid
        assert "RV bypass enabled" in device.onboard("ECDH256")
    finally:
        shore.services.lead_to_rendezvous()
    assert was_greeted(shore, device, guid)
    assert guid not in shore.services.log("rendezvous")


@pytest.mark.parametrize("key", EXCHANGES)
def test_a_device_is_sold_on_and_comes_ashore_again(shore: Shore, key: str) -> None:
    device = shore.device(key)
    device.onboard(EXCHANGES[key][0])
    guid = device.guid
    shore.services.resell(guid)
    device.onboard(EXCHANGES[key][0], "A128GCM", "--resale")
    assert device.guid != guid
    # The onboarding in which it got the GUID is told as well.
    assert was_greeted(shore, device, guid, times=2)


def test_output_and_exit_codes_of_commands_are_kept(shore: Shore) -> None:
    device = shore.told(
        {"step": "run_command", "arguments": ["sh", "-c", "echo out; echo err >&2"]},
        {"step": "run_command", "arguments": ["sh", "-c", "echo so far; exit 3"], "may_fail": True},
        {"step": "run_command", "arguments": ["pwd"]},
        {"step": "run_command", "arguments": ["seq", "500"]},
    )
    guid = device.guid
    device.onboard("ECDH256")
    [onboarding] = shore.services.await_onboarded(guid)
    steps = onboarding["steps"]
    assert [step["exit_code"] for step in steps] == [0, 3, 0, 0]
    assert [step["state"] for step in steps] == ["done", "failed", "done", "done"]
    assert [step["stdout"] for step in steps[:3]] == ["out\n", "so far\n", f"{device.folder}\n"]
    assert steps[0]["stderr"] == "err\n"
    assert steps[3]["stdout"] == "".join(f"{number}\n" for number in range(1, 501))


def test_a_command_that_must_not_fail_ends_the_onboarding_with_its_output_kept(shore: Shore) -> None:
    device = shore.told({"step": "run_command", "arguments": ["sh", "-c", "echo so far; exit 3"]})
    with device.onboarding("ECDH256"):
        failed = shore.services.until(
            lambda: (found := shore.services.device(device.guid))["state"] == "failed" and found, "it did not fail"
        )
    assert "exit code 3" in failed["failure"]["reason"]
    [step] = failed["onboardings"][0]["steps"]
    assert (step["exit_code"], step["stdout"]) == (3, "so far\n")
    assert device.state == READY


@pytest.mark.parametrize("content", [b"x", LARGE], ids=["one byte", "1 MB"])
@pytest.mark.parametrize("size", ["1300", "65535"])
def test_a_resource_is_downloaded(shore: Shore, content: bytes, size: str) -> None:
    shore.services.call("PUT", "owner", "resources/firmware", content)
    device = shore.told(
        {"step": "download", "name": "firmware.bin", "resource": "firmware"},
        {"step": "download", "name": "again.bin", "resource": "firmware"},
    )
    (device.folder / "into").mkdir()
    device.onboard("ECDH256", "A128GCM", "--max-serviceinfo-size", size, "--download", "into")
    assert (device.folder / "into" / "firmware.bin").read_bytes() == content
    assert (device.folder / "into" / "again.bin").read_bytes() == content


@pytest.mark.parametrize("content", [b"x", LARGE], ids=["one byte", "1 MB"])
def test_a_file_is_uploaded_from_the_working_folder(shore: Shore, content: bytes) -> None:
    device = shore.told({"step": "fetch_file", "name": "report.bin"})
    (device.folder / "report.bin").write_bytes(content)
    guid = device.guid
    device.onboard("ECDH256")
    [onboarding] = shore.services.await_onboarded(guid)
    assert onboarding["steps"][0]["file_size"] == len(content)
    assert shore.services.call("GET", "owner", f"onboardings/{onboarding['id']}/files/0") == content


def test_a_file_is_fetched_from_a_web_server(shore: Shore) -> None:
    with serve(LARGE) as url:
        device = shore.told(
            {"step": "wget", "url": url, "name": "one.bin", "sha384": hashlib.sha384(LARGE).hexdigest()},
            {"step": "wget", "url": url, "name": "two.bin"},
            {"step": "wget", "url": url, "name": "wrong.bin", "sha384": "0" * 96, "may_fail": True},
        )
        guid = device.guid
        device.onboard("ECDH256")
    [onboarding] = shore.services.await_onboarded(guid)
    assert [step["state"] for step in onboarding["steps"]] == ["done", "done", "failed"]
    assert (device.folder / "one.bin").read_bytes() == LARGE
    assert (device.folder / "two.bin").read_bytes() == LARGE
    assert not (device.folder / "wrong.bin").exists()

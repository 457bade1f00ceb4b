"""Devices with the habits of the C client, the Go library and the Java device."""

import pytest

from ashore import cbor
from ashore.fdo.serviceinfo import DeviceTurn, StepFailedError
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.download import DownloadFile
from ashore.fdo.serviceinfo.fdo_sys import Exec, ExecPolled, FetchFile, WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.serviceinfo.owner import OwnerConversation
from tests.unit.serviceinfo.c_client import CClient
from tests.unit.serviceinfo.kit import introduction, item, values_of


def succeed(_arguments: list[str]) -> int:
    return 0


def talk(steps: list[OwnerModule], device: CClient) -> OwnerConversation:
    owner = OwnerConversation(steps, device.size)
    answer = owner.step(device.start())
    for _ in range(500):
        if answer.is_done:
            return owner
        answer = owner.step(device.step(answer))
    raise AssertionError("the conversation does not end")


@pytest.mark.parametrize("size", [1300, 8192, 64_000])
def test_the_c_client_gets_files_and_programs(size: int) -> None:
    device = CClient({"log": b"l" * 2500}, succeed, size)
    steps: list[OwnerModule] = [
        WriteFile("a.sh", b"x" * 20_000),
        Exec(["/bin/sh", "a.sh"]),
        DownloadFile("b.bin", b"y" * 20_000),
        RunCommand(["/bin/sh", "a.sh"]),
        RunCommand(["true"]),
        ExecPolled(["/bin/sh", "b"]),
        FetchFile("log"),
    ]
    owner = talk(steps, device)
    assert [outcome.state for outcome in owner.outcomes] == ["done"] * 7
    assert device.files == {"log": b"l" * 2500, "a.sh": b"x" * 20_000, "b.bin": b"y" * 20_000}
    assert device.commands_run[2] == ["env", "true"]
    assert owner.outcomes[6].content == b"l" * 2500


def test_a_failed_fetch_does_not_silence_the_c_client() -> None:
    device = CClient({}, succeed)
    owner = talk([FetchFile("missing", may_fail=True), DownloadFile("a", b"x"), FetchFile("a")], device)
    assert [outcome.state for outcome in owner.outcomes] == ["failed", "done", "done"]


def test_an_empty_file_is_downloaded_although_the_c_client_never_confirms_it() -> None:
    device = CClient({}, succeed)
    owner = talk([DownloadFile("empty", b""), DownloadFile("a", b"x")], device)
    assert [outcome.state for outcome in owner.outcomes] == ["done", "done"]
    assert device.files["empty"] == b""


def test_a_command_may_fail_on_the_c_client_but_its_exit_code_stays_unknown() -> None:
    def shell(arguments: list[str]) -> int:
        assert arguments[:4] == ["/bin/sh", "-c", '"$@";exit 0', "sh"]
        return 0

    owner = talk([RunCommand(["false"], may_fail=True)], CClient({}, shell))
    assert owner.outcomes[0].state == "done"
    assert owner.outcomes[0].exit_code is None


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        (RunCommand(["echo", "x" * 100]), "write a script"),
        (Exec(["echo", "x" * 100]), "write a script"),
        (WriteFile("x" * 150, b""), "choose a shorter one"),
        (DownloadFile("x" * 150, b""), "choose a shorter one"),
    ],
)
def test_what_the_c_client_cannot_take_is_refused_before_it_is_sent(step: OwnerModule, remedy: str) -> None:
    with pytest.raises(StepFailedError, match=remedy):
        talk([step], CClient({}, succeed))


def go(step: OwnerModule) -> OwnerConversation:
    owner = OwnerConversation([step], None)
    owner.step(introduction("fdo.command", "fdo.download", "devmod"))
    return owner


def test_a_failing_command_on_the_go_client_is_shielded() -> None:
    step = RunCommand(["sh", "a.sh"])
    owner = OwnerConversation([step], None)
    sent = dict(values_of(owner.step(introduction("fdo.command", "devmod"))))
    assert sent["fdo.command:command"] == "/bin/sh"
    assert sent["fdo.command:execute"] is None
    wrapped = sent["fdo.command:args"]
    assert isinstance(wrapped, bytes)
    shield = cbor.loads(wrapped)
    assert isinstance(shield, list)
    assert shield[2:] == ["sh", "sh", "a.sh"]
    lines = [b"working\n\n", b"\n\n", b"ashore-exit-code:3\n\n"]
    stdout = b"".join(cbor.dumps(line) for line in lines)
    with pytest.raises(StepFailedError, match="exit code 3"):
        owner.step(DeviceTurn(items=[("fdo.command:stdout", stdout), item("fdo.command:exitcode", 0)]))
    assert step.outcome.stdout == b"working\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_a_shielded_command_that_succeeds(wanted: bool) -> None:
    owner = go(RunCommand(["a"], return_stdout=wanted))
    stdout = b"".join(cbor.dumps(line) for line in [b"42\n\n", b"\n\n", b"ashore-exit-code:0\n\n"])
    assert owner.step(DeviceTurn(items=[("fdo.command:stdout", stdout), item("fdo.command:exitcode", 0)])).is_done
    assert owner.outcomes[0].stdout == (b"42\n" if wanted else b"")
    assert owner.outcomes[0].exit_code == 0


def test_a_shielded_command_whose_shell_was_killed_has_failed() -> None:
    owner = go(RunCommand(["a"]))
    with pytest.raises(StepFailedError, match="was killed"):
        owner.step(DeviceTurn(items=[item("fdo.command:stdout", b"42\n\n"), item("fdo.command:exitcode", 0)]))


def test_only_systems_with_a_shell_get_the_shield() -> None:
    owner = OwnerConversation([RunCommand(["a.exe"])], None)
    sent = values_of(owner.step(introduction("fdo.command", "devmod", system="windows")))
    assert ("fdo.command:command", "a.exe") in sent


def test_the_java_device_gets_plain_arguments() -> None:
    owner = OwnerConversation([RunCommand(["ls", "-l"])], None)
    sent = values_of(owner.step(introduction("fdo.command", device="FDO-Pri-Device", system="Linux")))
    assert ("fdo.command:args", ["-l"]) in sent
    assert ("fdo.command:execute", []) in sent

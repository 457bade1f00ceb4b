"""fdo.command and the programs of fdo_sys, both sides together."""

import pytest

from ashore import cbor
from ashore.fdo.serviceinfo import DeviceTurn, OwnerTurn, ServiceInfoError, StepFailedError
from ashore.fdo.serviceinfo.command import CommandDevice, RunCommand
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.fdo_sys import Exec, ExecPolled
from ashore.fdo.serviceinfo.owner import OwnerConversation
from tests.unit.serviceinfo.kit import FACTS, MemoryHost, Program, converse, introduction, item, values_of


async def test_a_command_gives_its_output_and_exit_code() -> None:
    host = MemoryHost(programs={"ls": Program(stdout=b"a\nb\n", stderr=b"warning\n")})
    owner, talk = await converse([RunCommand(["ls", "-l", "/tmp"])], host)
    outcome = owner.outcomes[0]
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, b"a\nb\n", b"warning\n")
    assert host.ran == [["ls", "-l", "/tmp"]]
    assert values_of(talk.turns[0][1]) == [
        ("fdo.command:active", True),
        ("fdo.command:command", "ls"),
        ("fdo.command:args", cbor.dumps(["-l", "/tmp"])),
        ("fdo.command:may_fail", True),
        ("fdo.command:return_stdout", True),
        ("fdo.command:return_stderr", True),
        ("fdo.command:execute", None),
    ]


async def test_output_that_is_not_asked_for_does_not_come() -> None:
    host = MemoryHost(programs={"ls": Program(stdout=b"a", stderr=b"b")})
    owner, _ = await converse([RunCommand(["ls"], return_stdout=False, return_stderr=False)], host)
    assert (owner.outcomes[0].stdout, owner.outcomes[0].stderr) == (b"", b"")


async def test_long_output_comes_in_several_messages_one_piece_in_each() -> None:
    host = MemoryHost(programs={"ls": Program(stdout=b"x" * 10_000, stderr=b"y" * 3000)})
    owner, talk = await converse([RunCommand(["ls"])], host)
    assert owner.outcomes[0].stdout == b"x" * 10_000
    assert owner.outcomes[0].stderr == b"y" * 3000
    assert all(keys.count("fdo.command:stdout") <= 1 for keys in talk.device_keys)


async def test_output_over_its_limit_is_cut() -> None:
    host = MemoryHost(programs={"ls": Program(stdout=b"x" * 10_000)})
    owner, _ = await converse([RunCommand(["ls"], output_limit=100)], host)
    assert owner.outcomes[0].stdout == b"x" * 100
    assert owner.outcomes[0].truncated
    assert owner.outcomes[0].state == "done"


async def test_a_long_command_is_waited_for() -> None:
    host = MemoryHost(programs={"sleep": Program(running=50)})
    owner, talk = await converse([RunCommand(["sleep"])], host)
    assert owner.outcomes[0].state == "done"
    assert talk.rounds == 52


async def test_a_failing_command_ends_the_onboarding_with_its_exit_code_known() -> None:
    step = RunCommand(["false"])
    with pytest.raises(StepFailedError, match="exit code 3"):
        await converse([step], MemoryHost(programs={"false": Program(code=3, stderr=b"why")}))
    assert step.outcome.exit_code == 3
    assert step.outcome.stderr == b"why"


async def test_a_command_may_fail() -> None:
    host = MemoryHost(programs={"false": Program(code=3), "true": Program()})
    owner, _ = await converse([RunCommand(["false"], may_fail=True), RunCommand(["true"])], host)
    assert [(outcome.state, outcome.exit_code) for outcome in owner.outcomes] == [("failed", 3), ("done", 0)]


async def test_a_program_that_does_not_exist() -> None:
    owner, _ = await converse([RunCommand(["nothing"], may_fail=True)], MemoryHost())
    assert owner.outcomes[0].exit_code == 127
    assert owner.outcomes[0].stderr == b"no such program"


async def test_a_command_without_an_end_is_given_up_and_killed() -> None:
    host = MemoryHost(programs={"sleep": Program(running=10_000)})
    owner, _ = await converse([RunCommand(["sleep"], patience=20, may_fail=True)], host)
    assert owner.outcomes[0].state == "failed"
    assert host.processes[0].killed


def device(host: MemoryHost) -> DeviceConversation:
    conversation = DeviceConversation([CommandDevice(host)], FACTS, None)
    conversation.start()
    return conversation


async def test_without_may_fail_a_failing_command_ends_the_onboarding_on_the_device() -> None:
    conversation = device(MemoryHost(programs={"false": Program(code=3)}))
    order = [item("fdo.command:active", True), item("fdo.command:command", "false"), item("fdo.command:execute", None)]
    with pytest.raises(StepFailedError, match="false ended with exit code 3"):
        await conversation.step(OwnerTurn(items=order))


@pytest.mark.parametrize("arguments", [cbor.dumps(["-l"]), ["-l"]])
async def test_arguments_may_be_wrapped_or_not(arguments: object) -> None:
    host = MemoryHost(programs={"ls": Program()})
    conversation = device(host)
    order = [("active", True), ("command", "ls"), ("args", arguments), ("execute", [])]
    await conversation.step(OwnerTurn(items=[item(f"fdo.command:{message}", value) for message, value in order]))
    assert host.ran == [["ls", "-l"]]


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("command", 1),
        ("args", [1]),
        ("args", b"\xff"),
        ("args", cbor.dumps("x")),
        ("args", ["x"] * 257),
        ("args", ["x" * 5000]),
        ("args", {"a": 1}),
        ("may_fail", 1),
        ("sig", 0),
        ("sig", 65),
        ("sig", "9"),
    ],
)
async def test_orders_of_the_wrong_types_are_refused(message: str, value: object) -> None:
    conversation = device(MemoryHost())
    with pytest.raises(ServiceInfoError):
        await conversation.step(
            OwnerTurn(items=[item("fdo.command:active", True), item(f"fdo.command:{message}", value)])
        )


@pytest.mark.parametrize("messages", [[("execute", None)], [("nonsense", 1)]])
async def test_orders_without_sense_end_the_onboarding(messages: list[tuple[str, object]]) -> None:
    conversation = device(MemoryHost())
    items = [item("fdo.command:active", True), *(item(f"fdo.command:{message}", value) for message, value in messages)]
    with pytest.raises(StepFailedError):
        await conversation.step(OwnerTurn(items=items))


async def test_a_signal_reaches_the_program() -> None:
    host = MemoryHost(programs={"sleep": Program(running=10)})
    conversation = device(host)
    order = [("active", True), ("command", "sleep"), ("execute", None), ("sig", 15)]
    await conversation.step(OwnerTurn(items=[item(f"fdo.command:{message}", value) for message, value in order]))
    assert host.processes[0].signals == [15]


async def test_exec_runs_a_program_to_its_end() -> None:
    host = MemoryHost(programs={"sh": Program(running=5)})
    owner, talk = await converse([Exec(["sh", "a"]), Exec(["sh", "b"])], host)
    assert host.ran == [["sh", "a"], ["sh", "b"]]
    assert [outcome.exit_code for outcome in owner.outcomes] == [0, 0]
    assert talk.rounds == 3


@pytest.mark.parametrize("program", [Program(code=1), None])
async def test_exec_that_fails_ends_the_onboarding(program: Program | None) -> None:
    with pytest.raises(StepFailedError):
        await converse([Exec(["sh"])], MemoryHost(programs={"sh": program} if program else {}))


@pytest.mark.parametrize("running", [0, 7])
async def test_exec_with_polling(running: int) -> None:
    host = MemoryHost(programs={"sh": Program(running=running)})
    owner, talk = await converse([ExecPolled(["sh", "a"])], host)
    assert owner.outcomes[0].state == "done"
    assert owner.outcomes[0].exit_code == 0
    assert ("fdo_sys:status_cb", [True, 0, 0]) in values_of(talk.turns[-2][1])


async def test_exec_with_polling_knows_the_exit_code_of_a_failure() -> None:
    owner, _ = await converse([ExecPolled(["sh"], may_fail=True)], MemoryHost(programs={"sh": Program(code=7)}))
    assert owner.outcomes[0].error == "exit code 7"
    assert owner.outcomes[0].exit_code == 7


async def test_exec_with_polling_stops_a_program_without_an_end() -> None:
    host = MemoryHost(programs={"sh": Program(running=1000)})
    owner, _ = await converse([ExecPolled(["sh"], polls=5, may_fail=True)], host)
    assert owner.outcomes[0].error == "the program did not end in time and was stopped"
    assert host.processes[0].killed


@pytest.mark.parametrize("status", [[], [True, 0], [1, 0, 0], [True, "0", 0], [True, 0, -1], {}, None])
def test_a_status_of_the_wrong_shape_is_refused(status: object) -> None:
    owner = OwnerConversation([ExecPolled(["sh"])], None)
    owner.step(introduction("fdo_sys"))
    with pytest.raises(ServiceInfoError):
        owner.step(DeviceTurn(items=[item("fdo_sys:status_cb", status)]))

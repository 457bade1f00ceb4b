"""The owner's side: order, activation, rounds, and devices that do not behave."""

import hashlib

import pytest

from ashore import cbor
from ashore.fdo.serviceinfo import DeviceTurn, OwnerTurn, ServiceInfoError, StepFailedError
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.download import DownloadFile
from ashore.fdo.serviceinfo.fdo_sys import Exec, FetchFile, WriteFile
from ashore.fdo.serviceinfo.owner import Limits, OwnerConversation
from ashore.fdo.serviceinfo.upload import UploadFile
from tests.unit.serviceinfo.kit import MemoryHost, Program, converse, introduction, item, values_of

EMPTY = DeviceTurn()


def repeat(owner: OwnerConversation, turn: DeviceTurn) -> None:
    """Say the same over and over again, longer than any owner here listens."""
    for _ in range(200):
        owner.step(turn)


async def test_the_hello_profile_needs_two_rounds() -> None:
    host = MemoryHost(programs={"/bin/sh": Program(stdout=b"ashore\n")})
    owner, talk = await converse([WriteFile("hello.sh", b"echo ashore\n"), RunCommand(["/bin/sh", "hello.sh"])], host)
    assert talk.rounds == 2
    assert host.files == {"hello.sh": b"echo ashore\n"}
    assert host.ran == [["/bin/sh", "hello.sh"]]
    assert [outcome.state for outcome in owner.outcomes] == ["done", "done"]
    assert owner.outcomes[1].stdout == b"ashore\n"
    assert owner.outcomes[1].exit_code == 0


async def test_without_steps_the_owner_is_done_at_once() -> None:
    owner, talk = await converse([], MemoryHost())
    assert talk.rounds == 1
    assert owner.finished
    assert owner.devmod is not None
    assert owner.devmod.sn == "S-1"
    assert owner.devmod.modules == ("fdo_sys", "fdo.command", "fdo.download", "fdo.upload", "fdo.wget")


async def test_a_step_that_is_answered_ends_the_burst() -> None:
    host = MemoryHost(programs={"true": Program()})
    _, talk = await converse([DownloadFile("a", b"x"), RunCommand(["true"])], host)
    assert talk.owner_keys[0][0] == "fdo.download:active"
    assert not any(key.startswith("fdo.command") for key in talk.owner_keys[0])
    assert talk.owner_keys[1][0] == "fdo.command:active"
    assert talk.rounds == 3


async def test_a_module_is_activated_once() -> None:
    _, talk = await converse([WriteFile("a", b"1"), WriteFile("b", b"2"), DownloadFile("c", b"3")], MemoryHost())
    keys = [key for turn in talk.owner_keys for key in turn]
    assert keys.count("fdo_sys:active") == 1
    assert keys.count("fdo.download:active") == 1


async def test_a_patient_owner_waits_for_the_activation() -> None:
    owner, talk = await converse([DownloadFile("a", b"x")], MemoryHost(), eager=False)
    assert talk.owner_keys[0] == ["fdo.download:active"]
    assert owner.outcomes[0].state == "done"


def test_a_patient_owner_does_not_wait_for_ever_for_the_activation() -> None:
    owner = OwnerConversation([WriteFile("a", b"x")], None, eager=False)
    assert values_of(owner.step(introduction("fdo_sys"))) == [("fdo_sys:active", True)]
    answers = [owner.step(EMPTY) for _ in range(4)]
    assert [key for answer in answers for key, _ in answer.items] == ["fdo_sys:filedesc", "fdo_sys:write"]


def test_while_the_device_has_more_to_say_it_gets_empty_answers() -> None:
    owner = OwnerConversation([WriteFile("a", b"x")], None)
    whole = list(introduction("fdo_sys").items)
    assert owner.step(DeviceTurn(is_more=True, items=whole[:2])) == OwnerTurn()
    assert owner.step(DeviceTurn(is_more=True, items=whole[2:4])) == OwnerTurn()
    assert owner.devmod is None
    assert owner.step(DeviceTurn(items=whole[4:])).items


def test_a_step_that_was_sent_is_done_once_the_device_is_back() -> None:
    owner = OwnerConversation([WriteFile("a", b"x"), Exec(["sh", "a"])], None)
    owner.step(introduction("fdo_sys"))
    assert [outcome.state for outcome in owner.outcomes] == ["sent", "running"]
    assert owner.step(EMPTY).is_done
    assert [outcome.state for outcome in owner.outcomes] == ["done", "done"]
    assert owner.outcomes[1].exit_code == 0


def test_a_module_that_the_device_lacks_fails_the_step() -> None:
    owner = OwnerConversation([WriteFile("a", b"x")], None)
    with pytest.raises(StepFailedError, match="write a: the device does not offer fdo_sys"):
        owner.step(introduction("fdo.download"))
    assert owner.outcomes[0].state == "failed"


def test_an_optional_step_is_skipped_where_its_module_is_lacking() -> None:
    owner = OwnerConversation([WriteFile("a", b"x", optional=True)], None)
    assert owner.step(introduction("fdo.download")).is_done
    assert owner.outcomes[0].state == "skipped"
    assert owner.outcomes[0].error == "the device does not offer fdo_sys"


@pytest.mark.parametrize("optional", [True, False])
def test_a_module_that_the_device_refuses_to_activate(optional: bool) -> None:
    steps = [DownloadFile("a", b"x", optional=optional), DownloadFile("b", b"x", optional=True)]
    owner = OwnerConversation(steps, None)
    owner.step(introduction("fdo.download"))
    refusal = DeviceTurn(items=[item("fdo.download:active", False)])
    if optional:
        assert owner.step(refusal).is_done
        assert [outcome.state for outcome in owner.outcomes] == ["skipped", "skipped"]
    else:
        with pytest.raises(StepFailedError, match="refused to activate"):
            owner.step(refusal)


def test_a_silent_device_is_given_up_and_its_module_stopped() -> None:
    owner = OwnerConversation(
        [RunCommand(["a"], patience=5, may_fail=True), RunCommand(["b"], patience=5, may_fail=True)], None
    )
    answers = [owner.step(introduction("fdo.command"))]
    while not answers[-1].is_done:
        answers.append(owner.step(EMPTY))
        assert len(answers) < 20
    assert [outcome.error for outcome in owner.outcomes] == ["the device said nothing about it for 5 rounds"] * 2
    told = [pair for answer in answers for pair in values_of(answer) if pair[0].endswith(":active")]
    assert told == [("fdo.command:active", value) for value in (True, False, True, False)]
    assert all(len([key for key, _ in answer.items if key.endswith(":active")]) < 2 for answer in answers)


def test_a_reply_to_a_waiting_device_may_be_held_back_ever_longer() -> None:
    owner = OwnerConversation([RunCommand(["a"])], None)
    assert owner.step(introduction("fdo.command")).pause == 0
    pauses = [owner.step(EMPTY).pause for _ in range(12)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 0.1
    assert pauses[-1] == 1.0


def test_a_device_that_tells_something_is_not_held_back() -> None:
    owner = OwnerConversation([FetchFile("a")], None)
    owner.step(introduction("fdo_sys"))
    assert owner.step(EMPTY).pause > 0
    piece = DeviceTurn(items=[item("fdo_sys:data", b"x" * 100)])
    assert [owner.step(piece).pause for _ in range(5)] == [0] * 5


def test_a_device_that_never_ends_is_cut_off() -> None:
    owner = OwnerConversation([UploadFile("a")], None, limits=Limits(rounds=50))
    owner.step(introduction("fdo.upload"))
    with pytest.raises(ServiceInfoError, match="within 50 rounds"):
        repeat(owner, DeviceTurn(is_more=True, items=[item("fdo.upload:data", b"")]))


def test_a_device_that_never_introduces_itself_is_cut_off() -> None:
    owner = OwnerConversation([], None, limits=Limits(devmod_rounds=10))
    with pytest.raises(ServiceInfoError, match="devmod was not complete after 10"):
        repeat(owner, DeviceTurn(is_more=True, items=[item("devmod:os", "linux")]))


def test_after_the_end_nothing_more_is_taken() -> None:
    owner = OwnerConversation([], None)
    owner.step(introduction())
    with pytest.raises(ServiceInfoError, match="goes on"):
        owner.step(EMPTY)


def test_items_of_other_modules_and_late_answers_are_ignored() -> None:
    owner = OwnerConversation([DownloadFile("a", b"x")], None)
    owner.step(introduction("fdo.download"))
    strange = [item("fdo_sys:eot", [1]), item("devmod:os", "other"), item("x:active", True), item("x:y", None)]
    assert owner.step(DeviceTurn(items=[*strange, item("fdo.download:done", 1)])).is_done
    assert owner.devmod is not None
    assert owner.devmod.os == "linux"


def test_a_value_over_several_messages_is_joined() -> None:
    owner = OwnerConversation([UploadFile("a")], None)
    owner.step(introduction("fdo.upload"))
    content = bytes(range(200))
    data = cbor.dumps(content)
    owner.step(DeviceTurn(is_more=True, items=[item("fdo.upload:length", 200), ("fdo.upload:data", data[:90])]))
    owner.step(DeviceTurn(is_more=True, items=[("fdo.upload:data", data[90:150])]))
    last = [("fdo.upload:data", data[150:]), item("fdo.upload:sha-384", hashlib.sha384(content).digest())]
    assert owner.step(DeviceTurn(items=last)).is_done
    assert owner.outcomes[0].content == content


def test_a_value_that_is_left_half_sent_is_refused() -> None:
    owner = OwnerConversation([UploadFile("a")], None)
    owner.step(introduction("fdo.upload"))
    with pytest.raises(ServiceInfoError, match="ends in the middle"):
        owner.step(DeviceTurn(items=[("fdo.upload:data", b"\x42\x01")]))


async def test_a_command_longer_than_a_message_is_sent_in_fragments() -> None:
    host = MemoryHost(programs={"echo": Program()})
    arguments = ["echo", *("x" * 400 for _ in range(20))]
    _, talk = await converse([RunCommand(arguments)], host)
    assert host.ran == [arguments]
    assert any(answer.is_more for _, answer in talk.turns)


async def test_a_long_profile_never_floods_the_device() -> None:
    steps = [WriteFile(f"file-{number}", b"x" * 20) for number in range(900)]
    host = MemoryHost()
    owner, talk = await converse(steps, host, device_takes=65_535)
    assert len(host.files) == 900
    assert all(len(keys) <= 500 for keys in talk.owner_keys)
    assert all(outcome.state == "done" for outcome in owner.outcomes)


async def test_a_failing_step_ends_the_conversation_and_leaves_the_others_pending() -> None:
    host = MemoryHost(programs={"false": Program(code=3, stderr=b"no")})
    steps = [RunCommand(["false"]), WriteFile("a", b"x")]
    with pytest.raises(StepFailedError, match="run false: exit code 3"):
        await converse(steps, host)
    assert [step.outcome.state for step in steps] == ["failed", "pending"]
    assert steps[0].outcome.stderr == b"no"


def test_a_device_that_sends_too_much_is_cut_off() -> None:
    owner = OwnerConversation([UploadFile("a", may_fail=True)], None, limits=Limits(received=10_000))
    owner.step(introduction("fdo.upload"))
    with pytest.raises(ServiceInfoError, match="more than 10000 bytes"):
        repeat(owner, DeviceTurn(is_more=True, items=[item("fdo.upload:data", bytes(900))]))

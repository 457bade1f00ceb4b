"""The device's side: activation, unknown modules, and owners that do not behave."""

import msgspec
import pytest

from ashore.fdo.serviceinfo import DeviceTurn, OwnerTurn, ServiceInfoError
from ashore.fdo.serviceinfo.device import DeviceConversation
from tests.unit.serviceinfo.kit import FACTS, MemoryHost, Program, item, modules, values_of


def device(host: MemoryHost | None = None, **options: int) -> DeviceConversation:
    return DeviceConversation(modules(host or MemoryHost()), FACTS, None, **options)


def test_the_device_begins_with_its_introduction() -> None:
    said = values_of(device().start())
    assert said[0] == ("devmod:active", True)
    assert ("devmod:sn", "S-1") in said
    assert ("devmod:mudurl", "") not in said
    assert said[-2:] == [
        ("devmod:nummodules", 5),
        ("devmod:modules", [0, 5, "fdo_sys", "fdo.command", "fdo.download", "fdo.upload", "fdo.wget"]),
    ]


async def test_an_introduction_that_does_not_fit_goes_over_several_messages() -> None:
    facts = msgspec.structs.replace(FACTS, mudurl="https://mud.example/" + "x" * 150)
    conversation = DeviceConversation(modules(MemoryHost()), facts, 256)
    turns = [conversation.start()]
    while turns[-1].is_more:
        turns.append(await conversation.step(OwnerTurn()))
    assert len(turns) > 1
    assert [key for turn in turns for key, _ in turn.items][-1] == "devmod:modules"


async def test_an_unknown_module_is_answered_with_false_and_ignored() -> None:
    conversation = device()
    conversation.start()
    answer = await conversation.step(OwnerTurn(items=[item("fdo.csr:active", True), item("fdo.csr:cacerts", 1)]))
    assert values_of(answer) == [("fdo.csr:active", False)]


async def test_messages_to_an_inactive_module_are_ignored() -> None:
    host = MemoryHost()
    conversation = device(host)
    conversation.start()
    assert await conversation.step(OwnerTurn(items=[item("fdo_sys:filedesc", "a")])) == DeviceTurn()
    assert host.files == {}


async def test_a_known_module_is_activated_and_deactivated() -> None:
    host = MemoryHost(programs={"sleep": Program(running=1000)})
    conversation = device(host)
    conversation.start()
    begin = [item("fdo.command:active", True), item("fdo.command:command", "sleep"), item("fdo.command:execute", None)]
    assert values_of(await conversation.step(OwnerTurn(items=begin))) == [("fdo.command:active", True)]
    stop = await conversation.step(OwnerTurn(items=[item("fdo.command:active", False)]))
    assert stop == DeviceTurn()
    assert host.processes[0].killed


async def test_while_the_owner_has_more_to_say_the_device_keeps_its_answers() -> None:
    conversation = device()
    conversation.start()
    assert await conversation.step(OwnerTurn(is_more=True, items=[item("fdo_sys:active", True)])) == DeviceTurn()
    assert values_of(await conversation.step(OwnerTurn())) == [("fdo_sys:active", True)]


async def test_an_owner_that_has_more_to_say_and_is_done_is_refused() -> None:
    conversation = device()
    conversation.start()
    with pytest.raises(ServiceInfoError):
        await conversation.step(OwnerTurn(is_more=True, is_done=True))


async def test_an_owner_that_never_ends_is_cut_off() -> None:
    conversation = device(max_rounds=10)
    conversation.start()
    for _ in range(10):
        await conversation.step(OwnerTurn())
    with pytest.raises(ServiceInfoError, match="within its rounds"):
        await conversation.step(OwnerTurn())


async def test_closing_stops_what_runs() -> None:
    host = MemoryHost(programs={"sleep": Program(running=1000)})
    conversation = device(host)
    conversation.start()
    await conversation.step(OwnerTurn(items=[item("fdo_sys:active", True), item("fdo_sys:exec_cb", ["sleep"])]))
    await conversation.close()
    assert host.processes[0].killed


async def test_an_activation_must_be_a_boolean() -> None:
    conversation = device()
    conversation.start()
    with pytest.raises(ServiceInfoError, match="must be a boolean"):
        await conversation.step(OwnerTurn(items=[item("fdo_sys:active", 1)]))

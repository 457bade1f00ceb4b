"""A file keeps the name under which it was begun."""

import pytest

from ashore.fdo.serviceinfo import OwnerTurn, StepFailedError
from ashore.fdo.serviceinfo.device import DeviceConversation
from tests.unit.serviceinfo.kit import FACTS, MemoryHost, item, modules


async def begun(host: MemoryHost, module: str, *orders: tuple[str, object]) -> DeviceConversation:
    conversation = DeviceConversation(modules(host), FACTS, 1300)
    conversation.start()
    items = [item(f"{module}:active", True), *(item(f"{module}:{key}", value) for key, value in orders)]
    await conversation.step(OwnerTurn(items=items))
    return conversation


async def test_a_file_that_is_being_given_cannot_be_renamed() -> None:
    host = MemoryHost(files={"other.part": b"not checked"})
    conversation = await begun(host, "fdo.download", ("name", "a"), ("length", 2), ("data", b"x"))
    with pytest.raises(StepFailedError, match="while a is under way"):
        await conversation.step(OwnerTurn(items=[item("fdo.download:name", "other")]))
    await conversation.close()
    assert host.files == {"other.part": b"not checked"}


async def test_a_file_that_is_being_fetched_cannot_be_renamed() -> None:
    host = MemoryHost(files={"other.part": b"not checked"}, urls={"http://a": b"x"}, url_looks=1)
    conversation = await begun(host, "fdo.wget", ("name", "a"), ("url", "http://a"))
    with pytest.raises(StepFailedError, match="while a is under way"):
        await conversation.step(OwnerTurn(items=[item("fdo.wget:name", "other")]))
    await conversation.close()
    assert host.files == {"other.part": b"not checked"}
    assert host.transfers[0].cancelled

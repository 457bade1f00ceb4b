"""What is told later while resources are being registered."""

import asyncio
from contextlib import suppress

from ashore_device_plugin.kubelet.calm import Calm


async def test_what_there_is_to_tell_is_told_at_once_where_nothing_is_under_way() -> None:
    told: list[str] = []
    Calm().soon(lambda: told.append("list"))
    assert told == ["list"]


async def test_what_comes_while_something_is_under_way_is_told_once_when_the_last_has_ended() -> None:
    calm, told = Calm(), []

    def tell() -> None:
        told.append("list")

    with calm.disturbed():
        with calm.disturbed():
            calm.soon(tell)
            calm.soon(tell)
        assert told == []
    assert told == ["list"]


async def test_a_list_does_not_wait_for_ever() -> None:
    calm, told = Calm(patience=0.001), asyncio.Event()
    with calm.disturbed():
        calm.soon(told.set)
        await told.wait()


async def test_what_fails_is_under_way_no_more() -> None:
    calm, told = Calm(), []
    with suppress(TimeoutError), calm.disturbed():
        calm.soon(lambda: told.append("list"))
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    assert told == ["list"]

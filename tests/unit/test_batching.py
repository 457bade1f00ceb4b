"""Which units share a COMMIT: who is waited for, who goes along, and when a batch lingers."""

import asyncio

import pytest

from ashore.sql.batching import COMPANY, MAX_BATCH, VAIN_BATCHES, Batches
from ashore.sql.lane import Job, Outcome


class Writer:
    """Takes batches, and brings them back when told to."""

    def __init__(self) -> None:
        self.taken: list[list[Job]] = []
        self.batches = Batches(asyncio.get_running_loop(), self.taken.append)

    def add(self, *, soon: bool = False) -> asyncio.Future[None]:
        return self.batches.add(lambda _: None, soon=soon)

    def bring_back(self) -> None:
        self.batches.came_back([Outcome(job.future, None, None) for job in self.taken[-1]])

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.taken]


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def left(writer: Writer, count: int) -> None:
    """Wait until so many batches have left."""
    async with asyncio.timeout(10):
        while len(writer.taken) < count:  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.001)


@pytest.fixture
async def writer() -> Writer:
    return Writer()


async def meet(writer: Writer) -> None:
    """Have a unit come while another is away: from here on, batches linger."""
    writer.add()
    await left(writer, 1)
    writer.add()
    writer.bring_back()


async def test_a_lone_unit_leaves_in_the_next_turn(writer: Writer) -> None:
    for count in range(1, 4):
        future = writer.add()
        await turns()
        assert len(writer.taken) == count
        writer.bring_back()
        assert future.done()


async def test_units_of_one_turn_leave_together_and_others_wait_until_the_batch_is_back(writer: Writer) -> None:
    for _ in range(3):
        writer.add()
    await turns()
    for _ in range(2):
        writer.add()
    await turns()
    assert writer.sizes == [3]
    writer.bring_back()
    await left(writer, 2)
    assert writer.sizes == [3, 2]


async def test_units_that_nobody_waits_for_go_along_with_one_that_is_waited_for(writer: Writer) -> None:
    for _ in range(3):
        writer.add(soon=True)
    await turns()
    assert writer.sizes == []
    writer.add()
    await turns()
    assert writer.sizes == [4]


async def test_a_unit_that_nobody_waits_for_leaves_alone_in_the_end(writer: Writer) -> None:
    writer.add(soon=True)
    await left(writer, 1)
    assert writer.sizes == [1]


async def test_enough_units_that_nobody_waits_for_leave_at_once(writer: Writer) -> None:
    for _ in range(COMPANY):
        writer.add(soon=True)
    await turns()
    assert writer.sizes == [COMPANY]


async def test_a_batch_lingers_for_others_once_callers_came_one_upon_another(writer: Writer) -> None:
    await meet(writer)
    await turns()
    assert writer.sizes == [1]
    writer.add()
    await left(writer, 2)
    assert writer.sizes == [1, 2]


async def test_lingering_ends_when_nobody_comes_by_it(writer: Writer) -> None:
    await meet(writer)
    for count in range(VAIN_BATCHES):
        await left(writer, 2 + count)
        writer.bring_back()
        writer.add()
    await turns()
    assert len(writer.taken) == 2 + VAIN_BATCHES


async def test_callers_who_wait_for_each_other_do_not_keep_the_lingering_up(writer: Writer) -> None:
    await meet(writer)
    for count in range(VAIN_BATCHES):
        await left(writer, 2 + count)
        writer.bring_back()
        for _ in range(4):
            writer.add()
    await turns()
    assert writer.sizes[-1] == 4
    assert len(writer.taken) == 2 + VAIN_BATCHES


async def test_a_batch_has_a_largest_size_and_the_rest_follows(writer: Writer) -> None:
    for _ in range(MAX_BATCH + 1):
        writer.add()
    await turns()
    writer.bring_back()
    await left(writer, 2)
    assert writer.sizes == [MAX_BATCH, 1]


async def test_all_that_waits_leaves_when_it_is_told_to(writer: Writer) -> None:
    writer.add()
    await turns()
    writer.add(soon=True)
    for _ in range(MAX_BATCH):
        writer.add()
    writer.batches.flush()
    assert writer.sizes == [1, MAX_BATCH, 1]

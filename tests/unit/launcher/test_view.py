"""The view: what is reflected, and on top of that what was just written."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

from ashore_broker_launcher.cluster import INSTANCE, Change, Cluster, JsonObject, Key
from ashore_broker_launcher.reconciling.view import View


class Reflected:
    """A reflection that a test tells what there is."""

    def __init__(self) -> None:
        self.objects: dict[Key, JsonObject] = {}
        self.synced = asyncio.Event()
        self._changed: Callable[[Change], None] = lambda _: None
        self.listed: Callable[[int], None] = lambda _: None

    async def run(self, changed: Callable[[Change], None], listed: Callable[[int], None]) -> None:
        self._changed, self.listed = changed, listed
        await asyncio.Event().wait()

    def say(self, now: JsonObject | None) -> None:
        before = self.objects.pop(("default", "cams-1"), None)
        if now is not None:
            self.objects["default", "cams-1"] = now
        self._changed(Change(before, now))


class Scene:
    def __init__(self) -> None:
        self.reflected = Reflected()
        self.heard: list[Change] = []
        reflecting: Any = self
        self.view = View(cast(Cluster, reflecting), lambda _, change: self.heard.append(change))
        self.view.follow(INSTANCE)

    def reflect(self, *_: object, **__: object) -> Reflected:
        return self.reflected


def instance(version: int, uid: str = "u1") -> JsonObject:
    metadata: Mapping[str, str] = {
        "name": "cams-1",
        "namespace": "default",
        "uid": uid,
        "resourceVersion": str(version),
    }
    return {"metadata": dict(metadata), "spec": {}}


KEY = ("default", "cams-1")


async def scene() -> tuple[Scene, "asyncio.Task[None]"]:
    made = Scene()
    task = asyncio.create_task(made.view.run())
    await asyncio.sleep(0.01)
    return made, task


async def test_what_was_written_is_seen_at_once_and_its_echo_is_no_news() -> None:
    made, task = await scene()
    made.view.wrote(INSTANCE, instance(5))
    assert made.view.get(INSTANCE, KEY) == instance(5)
    made.reflected.say(instance(5))
    assert made.heard == []
    made.reflected.say(instance(6))
    assert len(made.heard) == 1
    task.cancel()


async def test_an_answer_that_comes_after_the_word_of_its_end_makes_no_ghost() -> None:
    made, task = await scene()
    made.reflected.say(instance(5))
    made.reflected.say(None)
    made.view.wrote(INSTANCE, instance(6))
    assert made.view.get(INSTANCE, KEY) is None
    made.view.wrote(INSTANCE, instance(7, uid="u2"))
    assert made.view.get(INSTANCE, KEY) == instance(7, uid="u2"), "another life of the name is another matter"
    task.cancel()


async def test_what_is_being_deleted_is_seen_as_such_until_it_is_gone() -> None:
    made, task = await scene()
    made.reflected.say(instance(5))
    made.view.removed(INSTANCE, instance(5))
    found = made.view.get(INSTANCE, KEY)
    assert found is not None
    assert found["metadata"]["deletionTimestamp"]
    made.reflected.say(None)
    assert made.view.get(INSTANCE, KEY) is None
    task.cancel()


async def test_what_was_written_and_went_while_nobody_was_told_is_found_to_be_gone_by_the_next_list() -> None:
    made, task = await scene()
    made.view.wrote(INSTANCE, instance(5))
    made.reflected.listed(4)
    assert made.view.get(INSTANCE, KEY) == instance(5), "that list is older"
    made.reflected.listed(6)
    assert made.view.get(INSTANCE, KEY) is None
    assert made.heard == [Change(instance(5), None)]
    task.cancel()


async def test_a_list_takes_away_nothing_that_is_there() -> None:
    made, task = await scene()
    made.reflected.say(instance(5))
    made.view.removed(INSTANCE, instance(5))
    made.heard.clear()
    made.reflected.listed(6)
    assert made.view.get(INSTANCE, KEY) is not None
    assert made.heard == []
    task.cancel()

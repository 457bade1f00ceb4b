"""What may happen to a watch, and that its reflection is right afterwards; told by a server that is scripted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from ashore_broker_launcher.cluster import CONFIG_MAP, Change, JsonObject, Reflection
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.http import Bounds
from ashore_broker_launcher.launchers.kubernetes.reflector import Patience
from tests.kube.scripted import Answering, ScriptedServer, endless, events, failed, listed, raw, said

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FILLING = b"1000\r\n" + b"x" * 4096 + b"\r\n"
SILENT = events(stay=True)


class Watched(NamedTuple):
    server: ScriptedServer
    reflection: Reflection
    changes: list[Change]
    pauses: list[float]

    def told(self) -> list[tuple[str, str]]:
        """Each change as what it was and of whom."""
        return [
            (
                "appeared" if change.before is None else "gone" if change.now is None else "changed",
                str((change.now or change.before or {})["metadata"]["uid"]),
            )
            for change in self.changes
        ]

    def names(self) -> set[str]:
        return {name for _, name in self.reflection.objects}

    async def after(self, questions: int) -> None:
        """When so many questions were asked, all before the last have been answered."""
        await until(lambda: len(self.server.asked) >= questions)


@asynccontextmanager
async def watched(*script: Answering, patience: Patience | None = None) -> AsyncIterator[Watched]:
    """A reflection of a server with this script, whose pauses are noted and not waited."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    longest = Patience(between=lambda _, most: most, sleep=pause)
    async with (
        ScriptedServer(*script) as server,
        KubernetesCluster(server.access(), patience=patience or longest, bounds=Bounds(event=20_000)) as cluster,
    ):
        reflection, changes = cluster.reflect(CONFIG_MAP), list[Change]()
        task = asyncio.create_task(reflection.run(changes.append))
        try:
            yield Watched(server, reflection, changes, pauses)
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_watch_asks_for_bookmarks_and_to_end_within_minutes() -> None:
    async with watched(listed("5"), SILENT) as seen:
        await seen.after(2)
        query = seen.server.asked[1].query
        assert query == {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "5",
            "timeoutSeconds": "300",
        }
        assert seen.reflection.synced.is_set()


async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    script = [listed("5", a_map("a", 4)), events(("ADDED", a_map("b", 6))), SILENT]
    async with watched(*script) as seen:
        await seen.after(3)
        assert seen.server.queries("resourceVersion") == [None, "5", "6"]
        assert seen.told() == [("appeared", "a"), ("appeared", "b")]
        assert seen.pauses == []


async def test_a_watch_that_is_cut_goes_on_where_it_was_after_a_pause() -> None:
    script = [listed("5"), events(("ADDED", a_map("a", 6)), cut=True), events(("DELETED", a_map("a", 7))), SILENT]
    async with watched(*script) as seen:
        await seen.after(4)
        assert seen.server.queries("resourceVersion") == [None, "5", "6", "7"]
        assert seen.told() == [("appeared", "a"), ("gone", "a")]
        assert seen.pauses == [0.25]


async def test_a_bookmark_is_no_change_but_moves_the_version() -> None:
    bookmark: JsonObject = {"kind": "ConfigMap", "metadata": {"resourceVersion": "900", "creationTimestamp": None}}
    async with watched(listed("5"), events(("BOOKMARK", bookmark)), SILENT) as seen:
        await seen.after(3)
        assert seen.server.queries("resourceVersion") == [None, "5", "900"]
        assert seen.changes == []


@pytest.mark.parametrize(
    "forgotten",
    [
        failed(410, "Expired"),
        events(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})),
        said({"reason": "Timeout", "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}, 504),
    ],
    ids=["status", "event", "a future that was undone"],
)
async def test_where_the_version_is_forgotten_all_is_listed_and_what_is_missing_has_gone(forgotten: Answering) -> None:
    first, second = [a_map("a", 1), a_map("b", 2), a_map("c", 3)], [a_map("b", 2), a_map("c", 8), a_map("d", 9)]
    async with watched(listed("5", *first), forgotten, listed("10", *second), SILENT) as seen:
        await seen.after(4)
        assert seen.server.queries("resourceVersion") == [None, "5", None, "10"]
        assert seen.told()[3:] == [("gone", "a"), ("changed", "c"), ("appeared", "d")]
        assert seen.names() == {"b", "c", "d"}
        assert seen.pauses == []


async def test_who_came_again_under_one_name_while_nobody_looked_has_gone_and_appeared() -> None:
    again = a_map("a", 9)
    again["metadata"]["uid"] = "another"
    async with watched(listed("5", a_map("a", 1)), failed(410), listed("10", again), SILENT) as seen:
        await seen.after(4)
        assert seen.told() == [("appeared", "a"), ("gone", "a"), ("appeared", "another")]


async def test_what_forgets_again_and_again_is_given_more_and_more_time() -> None:
    async with watched(*[listed("5"), failed(410)] * 5, listed("5"), SILENT) as seen:
        await seen.after(12)
        assert seen.pauses == [0.25, 0.5, 1.0, 2.0]


async def test_pauses_grow_up_to_a_limit_and_begin_anew_after_something_was_told() -> None:
    well = events(("ADDED", a_map("a", 6)), cut=True)
    async with watched(listed("5"), *[failed(503)] * 3, well, SILENT) as seen:
        await seen.after(6)
        assert seen.pauses == [0.25, 0.5, 1.0, 0.25]
    async with watched(*[failed(503)] * 10, listed("5"), SILENT) as seen:
        await seen.after(12)
        assert seen.pauses[-3:] == [20.0, 20.0, 20.0]


async def test_after_many_failures_the_version_is_doubted_too() -> None:
    async with watched(listed("5"), *[failed(400)] * 5, listed("6"), SILENT) as seen:
        await seen.after(8)
        assert seen.server.queries("resourceVersion") == [None, "5", "5", "5", "5", "5", None, "6"]


async def test_as_long_as_the_api_server_wants_is_waited_and_no_less() -> None:
    async with watched(listed("5"), failed(429, Retry_After="7"), SILENT) as seen:
        await seen.after(3)
        assert [pause >= 7 for pause in seen.pauses] == [True]


@pytest.mark.parametrize(
    "nonsense",
    [
        events(("ADDED", {"kind": "ConfigMap"})),
        events(("ADDED", {"metadata": {"resourceVersion": "6"}})),
        events(("ADDED", {"metadata": {"resourceVersion": 6, "name": "a"}})),
        events(("ERROR", {"code": "many"})),
        raw(b"HTTP/1.1 200 OK\r\n\r\n[]\n", close=True),
        raw(b"HTTP/1.1 200 OK\r\n\r\n<html>\n", close=True),
        endless(CHUNKED, FILLING),
        said(b"<html>", 404),
        raw(b"nonsense", close=True),
    ],
)
async def test_nonsense_in_a_watch_changes_nothing_and_ends_it(nonsense: Answering) -> None:
    async with watched(listed("5", a_map("a", 1)), nonsense, events(("ADDED", a_map("b", 7))), SILENT) as seen:
        await seen.after(4)
        assert seen.names() == {"a", "b"}
        assert seen.server.queries("resourceVersion")[1:] == ["5", "5", "7"]


async def test_a_watch_that_ends_untold_is_not_asked_for_without_pause() -> None:
    async with watched(listed("5"), *[events()] * 3, SILENT) as seen:
        await seen.after(5)
        assert seen.pauses == [0.25, 0.5, 1.0]


async def test_a_watch_that_is_silent_longer_than_it_may_be_is_given_up() -> None:
    hasty = Patience(watch=(1, 1), beyond=-0.9, first=0.01)
    script = [listed("5"), SILENT, events(("ADDED", a_map("a", 6))), SILENT]
    async with watched(*script, patience=hasty) as seen:
        await seen.after(4)
        assert seen.names() == {"a"}


async def test_a_kind_that_comes_later_is_found_then() -> None:
    defined = asyncio.Event()

    async def once_defined(writer: asyncio.StreamWriter) -> None:
        await defined.wait()
        await listed("5", a_map("a", 1))(writer)

    async with watched(failed(404), failed(404), once_defined, SILENT) as seen:
        await seen.after(3)
        assert not seen.reflection.synced.is_set()
        defined.set()
        await seen.after(4)
        assert seen.reflection.synced.is_set()
        assert seen.names() == {"a"}


async def test_a_list_that_breaks_off_between_pages_changes_nothing() -> None:
    script = [
        listed("5", a_map("a", 1), a_map("b", 2)),
        failed(410),
        listed("9", a_map("a", 1), more="next"),
        raw(b"", close=True),
        listed("10", a_map("a", 1), a_map("b", 2)),
        SILENT,
    ]
    async with watched(*script) as seen:
        await seen.after(6)
        assert seen.told() == [("appeared", "a"), ("appeared", "b")]


async def test_what_nobody_reads_is_not_kept() -> None:
    full = a_map("a", 1)
    full["metadata"]["managedFields"] = [{"manager": "somebody"}]
    later = a_map("b", 6)
    later["metadata"]["managedFields"] = [{"manager": "somebody"}]
    async with watched(listed("5", full), events(("ADDED", later)), SILENT) as seen:
        await seen.after(3)
        assert all("managedFields" not in one["metadata"] for one in seen.reflection.objects.values())
        assert seen.reflection.objects["place", "a"]["kind"] == "ConfigMap"


def a_map(name: str, version: int) -> JsonObject:
    metadata = {"namespace": "place", "name": name, "uid": name, "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.01)

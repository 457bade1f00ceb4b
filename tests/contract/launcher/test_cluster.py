"""What every cluster does that the launcher is given: a real API server through our adapter, and one in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from ashore_broker_launcher.cluster import (
    CONFIG_MAP,
    JOB,
    LEASE,
    NODE,
    POD,
    SERVICE,
    Change,
    Cluster,
    Conflict,
    Kind,
    NotFound,
    Reflection,
    Refused,
)
from ashore_broker_launcher.objects import key_of, uid_of

DEADLINE = 30
SOMEBODY = "somebody-else"
UNKNOWN_UID = "00000000-0000-4000-8000-000000000000"


def a_map(place: str, name: str = "one", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"namespace": place, "name": name, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def a_pod(place: str) -> dict[str, Any]:
    containers = [{"name": "one", "image": "none.example/none"}]
    metadata = {"namespace": place, "name": "one"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


def a_lease(place: str, holder: str) -> dict[str, Any]:
    metadata = {"namespace": place, "name": "one"}
    return {
        "apiVersion": LEASE.api_version,
        "kind": "Lease",
        "metadata": metadata,
        "spec": {"holderIdentity": holder},
    }


def with_uid(body: dict[str, Any], uid: str) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "uid": uid}}


@pytest.mark.parametrize("kind", [CONFIG_MAP, JOB, LEASE, NODE, POD, SERVICE], ids=lambda kind: kind.name)
async def test_a_kind_is_known_by_what_its_objects_say(cluster: Cluster, kind: Kind) -> None:
    assert await cluster.kind(kind.api_version, kind.name) == kind


@pytest.mark.parametrize(
    ("version", "name"),
    [("v1", "Nonsense"), ("nobody.example/v1", "ConfigMap"), ("v1/../../../version", "Info"), ("", "ConfigMap")],
)
async def test_a_kind_that_nobody_has_is_not_found(cluster: Cluster, version: str, name: str) -> None:
    with pytest.raises(NotFound):
        await cluster.kind(version, name)


async def test_what_is_created_is_there_with_a_life_and_a_version(cluster: Cluster, place: str) -> None:
    made = await cluster.create(CONFIG_MAP, a_map(place, a="1"))
    assert uid_of(made)
    assert made["metadata"]["resourceVersion"]
    assert await cluster.get(CONFIG_MAP, place, "one") == made
    assert made["data"] == {"a": "1"}


async def test_what_is_there_cannot_be_created_again(cluster: Cluster, place: str) -> None:
    await cluster.create(CONFIG_MAP, a_map(place))
    with pytest.raises(Conflict, match="one"):
        await cluster.create(CONFIG_MAP, a_map(place))


async def test_what_is_not_there_is_not_found(cluster: Cluster, place: str) -> None:
    with pytest.raises(NotFound, match="one"):
        await cluster.get(CONFIG_MAP, place, "one")


async def test_apply_makes_what_is_absent_and_changes_what_is_there(cluster: Cluster, place: str) -> None:
    made = await cluster.apply(CONFIG_MAP, a_map(place, a="1"))
    changed = await cluster.apply(CONFIG_MAP, a_map(place, a="2"))
    assert uid_of(made) == uid_of(changed)
    assert changed["data"] == {"a": "2"}
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


async def test_to_apply_the_same_again_changes_nothing(cluster: Cluster, place: str) -> None:
    made = await cluster.apply(CONFIG_MAP, a_map(place, a="1"))
    assert await cluster.apply(CONFIG_MAP, a_map(place, a="1")) == made


async def test_what_is_applied_no_longer_goes(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place, a="1", b="2"))
    changed = await cluster.apply(CONFIG_MAP, a_map(place, a="1"))
    assert changed["data"] == {"a": "1"}


async def test_what_another_manager_has_applied_stays(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place, theirs="1"), manager=SOMEBODY)
    both = await cluster.apply(CONFIG_MAP, a_map(place, ours="2"))
    assert both["data"] == {"theirs": "1", "ours": "2"}
    less = await cluster.apply(CONFIG_MAP, a_map(place))
    assert less["data"] == {"theirs": "1"}


async def test_a_field_of_another_manager_is_taken_over(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place, a="theirs"), manager=SOMEBODY)
    ours = await cluster.apply(CONFIG_MAP, a_map(place, a="ours"))
    assert ours["data"] == {"a": "ours"}


async def test_apply_for_another_life_of_a_name_is_a_conflict(cluster: Cluster, place: str) -> None:
    first = await cluster.apply(CONFIG_MAP, a_map(place, a="1"))
    await cluster.delete(CONFIG_MAP, place, "one")
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAP, with_uid(a_map(place, a="2"), uid_of(first)))
    await cluster.apply(CONFIG_MAP, a_map(place, a="3"))
    with pytest.raises(Conflict):
        await cluster.apply(CONFIG_MAP, with_uid(a_map(place, a="4"), uid_of(first)))
    assert (await cluster.get(CONFIG_MAP, place, "one"))["data"] == {"a": "3"}


async def test_apply_for_the_life_that_there_is_is_well(cluster: Cluster, place: str) -> None:
    first = await cluster.apply(CONFIG_MAP, a_map(place, a="1"))
    second = await cluster.apply(CONFIG_MAP, with_uid(a_map(place, a="2"), uid_of(first)))
    assert second["data"] == {"a": "2"}


async def test_a_status_is_applied_apart_from_the_rest(cluster: Cluster, place: str) -> None:
    await cluster.create(POD, a_pod(place))
    status = {"metadata": {"namespace": place, "name": "one"}, "status": {"message": "it is well"}}
    told = await cluster.apply_status(POD, status)
    assert told["status"]["message"] == "it is well"
    assert told["spec"]["containers"][0]["name"] == "one"
    assert (await cluster.get(POD, place, "one"))["status"]["message"] == "it is well"


async def test_a_status_of_what_is_gone_is_not_found(cluster: Cluster, place: str) -> None:
    status = {"metadata": {"namespace": place, "name": "one"}, "status": {"message": "it is well"}}
    with pytest.raises(NotFound):
        await cluster.apply_status(POD, status)


async def test_what_has_not_changed_can_be_replaced_and_once_only(cluster: Cluster, place: str) -> None:
    made = await cluster.create(LEASE, a_lease(place, "a"))
    body = {**made, "spec": {"holderIdentity": "b"}}
    assert (await cluster.replace(LEASE, body))["spec"]["holderIdentity"] == "b"
    with pytest.raises(Conflict):
        await cluster.replace(LEASE, {**made, "spec": {"holderIdentity": "c"}})
    assert (await cluster.get(LEASE, place, "one"))["spec"]["holderIdentity"] == "b"


async def test_a_list_holds_what_is_in_a_namespace_and_has_the_labels(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place, "one", {"colour": "red", "size": "s"}))
    await cluster.apply(CONFIG_MAP, a_map(place, "two", {"colour": "red"}))
    await cluster.apply(CONFIG_MAP, a_map(place, "three", {"colour": "blue"}))
    assert names(await cluster.list(CONFIG_MAP, namespace=place)) >= {"one", "two", "three"}
    assert names(await cluster.list(CONFIG_MAP, namespace=place, labels="colour=red")) == {"one", "two"}
    assert names(await cluster.list(CONFIG_MAP, namespace=place, labels="colour=red,size=s")) == {"one"}
    [blue] = [one for one in await cluster.list(CONFIG_MAP, labels="colour=blue") if key_of(one)[0] == place]
    assert (blue["apiVersion"], blue["kind"]) == ("v1", "ConfigMap")


async def test_what_is_deleted_is_gone_and_to_delete_it_again_is_well(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place))
    await cluster.delete(CONFIG_MAP, place, "one")
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAP, place, "one")
    await cluster.delete(CONFIG_MAP, place, "one")


async def test_another_life_of_a_name_is_not_deleted(cluster: Cluster, place: str) -> None:
    made = await cluster.apply(CONFIG_MAP, a_map(place))
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAP, place, "one", uid=UNKNOWN_UID)
    await cluster.delete(CONFIG_MAP, place, "one", uid=uid_of(made))
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAP, place, "one")


async def test_the_log_of_no_pod_is_not_found(cluster: Cluster, place: str) -> None:
    with pytest.raises(NotFound, match="one"):
        await cluster.log(place, "one")


async def test_the_log_of_a_pod_that_has_not_run_is_empty_or_refused(cluster: Cluster, place: str) -> None:
    await cluster.create(POD, a_pod(place))
    with suppress(Refused):
        assert not await cluster.log(place, "one")


async def test_a_reflection_holds_what_there_was_when_it_is_in_sync(cluster: Cluster, place: str) -> None:
    made = await cluster.apply(CONFIG_MAP, a_map(place, labels={"mine": "yes"}, a="1"))
    async with reflected(cluster, place) as (reflection, changes):
        assert reflection.objects == {(place, "one"): made}
        assert changes == [Change(None, made)]


async def test_a_reflection_tells_what_appears_changes_and_goes(cluster: Cluster, place: str) -> None:
    async with reflected(cluster, place) as (reflection, changes):
        first = await cluster.apply(CONFIG_MAP, a_map(place, labels={"mine": "yes"}, a="1"))
        await until(lambda: len(changes) == 1)
        second = await cluster.apply(CONFIG_MAP, a_map(place, labels={"mine": "yes"}, a="2"))
        await until(lambda: len(changes) == 2)
        await cluster.delete(CONFIG_MAP, place, "one")
        await until(lambda: len(changes) == 3)
        assert changes[:2] == [Change(None, first), Change(first, second)]
        assert changes[2].now is None
        assert changes[2].before is not None
        assert changes[2].before["data"] == {"a": "2"}
        assert not reflection.objects


async def test_a_reflection_tells_of_both_lives_of_a_name(cluster: Cluster, place: str) -> None:
    body = a_map(place, labels={"mine": "yes"})
    first = await cluster.apply(CONFIG_MAP, body)
    async with reflected(cluster, place) as (reflection, changes):
        await cluster.delete(CONFIG_MAP, place, "one")
        second = await cluster.apply(CONFIG_MAP, body)
        await until(lambda: reflection.objects == {(place, "one"): second})
        assert lives(changes) == [(None, uid_of(first)), (uid_of(first), None), (None, uid_of(second))]


async def test_what_loses_its_label_is_gone_for_who_looks_at_labels(cluster: Cluster, place: str) -> None:
    await cluster.apply(CONFIG_MAP, a_map(place, labels={"mine": "yes"}))
    async with reflected(cluster, place) as (reflection, _):
        await cluster.apply(CONFIG_MAP, a_map(place, labels={"mine": "no"}))
        await until(lambda: not reflection.objects)


def names(bodies: list[dict[str, Any]]) -> set[str]:
    return {key_of(one)[1] for one in bodies}


def lives(changes: list[Change]) -> list[tuple[str | None, str | None]]:
    return [(c.before and uid_of(c.before), c.now and uid_of(c.now)) for c in changes]


@asynccontextmanager
async def reflected(cluster: Cluster, place: str) -> AsyncIterator[tuple[Reflection, list[Change]]]:
    """A reflection of what is labelled as ours, and all that it has told; it is in sync."""
    reflection, changes = cluster.reflect(CONFIG_MAP, namespace=place, labels="mine=yes"), list[Change]()
    task = asyncio.create_task(reflection.run(changes.append))
    try:
        await asyncio.wait_for(reflection.synced.wait(), DEADLINE)
        yield reflection, changes
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not check():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.01)

"""One replica leads at a time, by a Lease on a real API server; each has a clock of its own, which a test turns."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ashore_broker_launcher.cluster import LEASE
from ashore_broker_launcher.launchers.kubernetes.access import from_files
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.lease import Leadership, Terms
from tests.kube.control_plane import Cluster, ControlPlane
from tests.kube.scripted import ScriptedServer, failed, said

TERMS = Terms(length=15, deadline=10, every=2)


class Replica:
    """One that wants to lead, with its clock."""

    def __init__(self, cluster: KubernetesCluster, place: str, name: str, now: float) -> None:
        self.now = now
        self.leadership = Leadership(cluster, place, "launcher", name, terms=TERMS, clock=lambda: self.now)

    @property
    def leads(self) -> bool:
        return self.leadership.leads

    async def step(self, seconds: float = 0) -> bool:
        self.now += seconds
        await self.leadership.step()
        return self.leads


@pytest.fixture
async def cluster(kube_cluster: Cluster, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    async with KubernetesCluster(from_files([kube_cluster.access.write(tmp_path / "kubeconfig")])) as found:
        yield found


@pytest.fixture
def one(cluster: KubernetesCluster, kube_namespace: str) -> Replica:
    return Replica(cluster, kube_namespace, "one", 1_000)


@pytest.fixture
def two(cluster: KubernetesCluster, kube_namespace: str) -> Replica:
    """Make another, whose clock stands elsewhere."""
    return Replica(cluster, kube_namespace, "two", 500_000)


async def test_the_first_leads_and_the_second_waits_as_long_as_the_first_renews(one: Replica, two: Replica) -> None:
    assert await one.step()
    for _ in range(10):
        assert not await two.step(2)
        assert await one.step(2)


async def test_of_many_that_begin_at_once_one_leads(cluster: KubernetesCluster, kube_namespace: str) -> None:
    many = [Replica(cluster, kube_namespace, f"r{n}", 0) for n in range(8)]
    assert sum(await asyncio.gather(*(each.step() for each in many))) == 1
    assert sum(await asyncio.gather(*(each.step(1) for each in many))) == 1


async def test_who_does_not_renew_stops_before_another_begins(one: Replica, two: Replica) -> None:
    assert await one.step()
    assert not await two.step()
    one.now += TERMS.deadline
    assert not one.leads
    assert not await two.step(TERMS.length - 0.1)
    assert await two.step(0.2)
    assert not await one.step(10)


async def test_of_many_that_wait_one_takes_what_is_left(cluster: KubernetesCluster, kube_namespace: str) -> None:
    assert await Replica(cluster, kube_namespace, "lost", 0).step()
    many = [Replica(cluster, kube_namespace, f"r{n}", 0) for n in range(8)]
    for each in many:
        assert not await each.step()
    assert sum(await asyncio.gather(*(each.step(TERMS.length + 1) for each in many))) == 1


async def test_who_was_asleep_does_not_lead_when_it_wakes(one: Replica, two: Replica) -> None:
    assert await one.step()
    assert not await two.step()
    assert await two.step(TERMS.length + 1)
    one.now += 3600
    assert not one.leads
    assert not await one.step()


async def test_who_leaves_lets_another_begin_at_once(one: Replica, two: Replica) -> None:
    assert await one.step()
    assert not await two.step()
    await one.leadership.release()
    assert not one.leads
    assert await two.step()


async def test_who_is_started_again_under_its_name_goes_on(
    cluster: KubernetesCluster, kube_namespace: str, one: Replica
) -> None:
    assert await one.step()
    assert await Replica(cluster, kube_namespace, "one", 0).step()


async def test_a_lease_that_was_deleted_is_made_anew(
    one: Replica, cluster: KubernetesCluster, kube_namespace: str
) -> None:
    assert await one.step()
    await cluster.delete(LEASE, kube_namespace, "launcher")
    await one.step(2)
    assert await one.step(2)


async def test_the_lease_says_who_leads_since_when_and_how_often_that_has_changed(
    cluster: KubernetesCluster, kube_namespace: str, one: Replica, two: Replica
) -> None:
    await one.step()
    first = (await cluster.get(LEASE, kube_namespace, "launcher"))["spec"]
    await one.step(2)
    second = (await cluster.get(LEASE, kube_namespace, "launcher"))["spec"]
    assert first["holderIdentity"] == "one"
    assert first["leaseDurationSeconds"] == 15
    assert second["acquireTime"] == first["acquireTime"]
    assert second["renewTime"] > first["renewTime"]
    await one.leadership.release()
    await two.step()
    third = (await cluster.get(LEASE, kube_namespace, "launcher"))["spec"]
    assert third["holderIdentity"] == "two"
    assert third["leaseTransitions"] == first.get("leaseTransitions", 0) + 1


async def test_while_the_api_server_is_away_the_lead_lasts_until_its_deadline(
    control_plane: ControlPlane, one: Replica
) -> None:
    assert await one.step()
    control_plane.apiserver.kill()
    assert await one.step(4)
    assert await one.step(4)
    assert not await one.step(4)
    control_plane.start_apiserver()
    assert await one.step(1)


async def test_work_ends_when_the_api_server_does_not_answer_any_more() -> None:
    lease = {"metadata": {"namespace": "place", "name": "launcher", "resourceVersion": "1"}, "spec": {}}
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    hasty = Terms(length=15, deadline=0.2, every=0.05)
    async with ScriptedServer(failed(404), said(lease)) as server, KubernetesCluster(server.access()) as cluster:
        leadership = Leadership(cluster, "place", "launcher", "one", terms=hasty)
        running = asyncio.create_task(leadership.run(work))
        await asyncio.wait_for(ended.wait(), 30)
        assert not leadership.leads
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [question.method for question in server.asked[:3]] == ["GET", "POST", "PUT"]


async def test_a_lease_counts_from_when_the_answer_has_come_however_late_that_is() -> None:
    metadata = {"namespace": "place", "name": "launcher", "resourceVersion": "1"}
    held = said({"metadata": metadata, "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15}})

    async def late(writer: asyncio.StreamWriter) -> None:
        two.now += TERMS.length + 1
        await held(writer)

    script = [late, held, held, said({"metadata": {**metadata, "resourceVersion": "2"}, "spec": {}})]
    async with ScriptedServer(*script) as server, KubernetesCluster(server.access()) as cluster:
        two = Replica(cluster, "place", "two", 0)
        assert not await two.step()
        assert not await two.step(TERMS.length - 1)
        assert await two.step(1)


async def test_work_is_done_by_who_leads_and_ends_before_another_does_it(
    cluster: KubernetesCluster, kube_namespace: str
) -> None:
    at_work: list[str] = []
    most = 0

    async def run(name: str) -> None:
        async def work() -> None:
            nonlocal most
            at_work.append(name)
            most = max(most, len(at_work))
            try:
                await asyncio.Event().wait()
            finally:
                at_work.remove(name)

        await Leadership(
            cluster, kube_namespace, "launcher", name, terms=Terms(length=15, deadline=10, every=0.02)
        ).run(work)

    tasks = {name: asyncio.create_task(run(name)) for name in ("one", "two", "three")}
    for _ in range(3):
        async with asyncio.timeout(60):
            while not at_work:  # noqa: ASYNC110 - what is awaited happens elsewhere
                await asyncio.sleep(0.01)
        leader = tasks.pop(at_work[0])
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
    assert most == 1
    assert not at_work

"""Jobs of the launcher, with the real job controller: when they run, when never, and what is told of them."""

import datetime as dt
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ashore.bus.nats import NatsBus
from ashore.events import WorkloadFailed, WorkloadFinished, WorkloadLaunched
from ashore_broker_launcher.cluster import INSTANCE, JOB, POD
from ashore_broker_launcher.reconciling.queue import Item
from tests.kube.api import Api
from tests.kube.control_plane import ControlPlane
from tests.kube.jobs_kit import Site, job_spec, of, runs, site, uids
from tests.launcher_kit import Object

NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC).timestamp()
NIGHT = {"from": "22:00", "until": "04:00", "timeZone": "UTC"}


@pytest.fixture
async def made(
    kube: Api, kube_namespace: str, controllers: None, nats_bus: NatsBus, tmp_path: Path
) -> AsyncIterator[Site]:
    """Make a site."""
    async with site(kube, kube_namespace, nats_bus, tmp_path) as found:
        yield found


def names(instances: list[Object]) -> list[str]:
    return [one["metadata"]["name"] for one in instances]


def broker(instance: Object) -> Object:
    (told,) = instance["status"]["brokers"]
    return {key: told.get(key) for key in ("kind", "phase", "node", "exitCode", "log")}


async def test_each_instance_has_a_job_whose_result_exit_code_and_last_lines_are_told(
    made: Site, control_plane: ControlPlane
) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one", "two")
        good, bad = names(await made.instances(2))
        await made.running(good, bad)
        assert (await made.is_(good, "Running"))["status"]["brokers"][0]["phase"] == "Running"
        await made.end(good, 0, b"first\nall is well\n")
        await made.end(bad, 7, b"no such camera\n")
        told = {"kind": "Job", "node": "node-a"}
        found = await made.is_(good, "Succeeded")
        assert broker(found) == {**told, "phase": "Succeeded", "exitCode": 0, "log": "first\nall is well\n"}
        found = await made.is_(bad, "Failed", "exit code 7", "BackoffLimitExceeded")
        assert broker(found) == {**told, "phase": "Failed", "exitCode": 7, "log": "no such camera\n"}
        await made.world.hear("workload-launched", "workload-launched", "workload-finished", "workload-failed")
    (finished,) = [one for one in made.world.told if isinstance(one, WorkloadFinished)]
    (failed,) = [one for one in made.world.told if isinstance(one, WorkloadFailed)]
    assert (finished.kind, finished.instance, finished.log) == ("Job", good, "first\nall is well\n")
    assert (failed.kind, failed.instance, failed.exit_code, failed.attempts) == ("Job", bad, 7, 1)
    assert (failed.log, failed.reason.partition(":")[0]) == ("no such camera\n", "BackoffLimitExceeded")
    assert made.world.times("workload-stopped") == 0


async def test_of_several_tries_the_last_one_is_told(made: Site, control_plane: ControlPlane) -> None:
    await made.world.configure(brokerSpec=job_spec(backoffLimit=1))
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.end(name, 7, b"the first try\n")
        # Times of pods are whole seconds, and the job controller waits for some before it tries again.
        await made.end(name, 8, b"the second try\n")
        found = await made.is_(name, "Failed", "exit code 8")
        assert broker(found)["log"] == "the second try\n"
        await made.world.hear("workload-failed")
    (failed,) = [one for one in made.world.told if isinstance(one, WorkloadFailed)]
    assert (failed.exit_code, failed.log, failed.attempts) == (8, "the second try\n", 2)


async def test_of_a_long_log_the_end_is_told(made: Site, control_plane: ControlPlane) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.end(name, 0, b"x" * 6000 + b"the end\n")
        found = await made.is_(name, "Succeeded")
        assert len(broker(found)["log"]) == 4096
        await made.world.hear("workload-finished")
    (finished,) = [one for one in made.world.told if isinstance(one, WorkloadFinished)]
    assert finished.log == broker(found)["log"]
    assert finished.log.endswith("the end\n")


async def test_a_result_is_told_also_where_the_kubelet_does_not_give_the_log(made: Site) -> None:
    await made.nodes.serve_logs_at(1)
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.end(name, 7)
        assert broker(await made.is_(name, "Failed", "exit code 7"))["log"] == ""
        await made.world.hear("workload-failed")


async def test_a_job_goes_with_its_instance(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.running(name)
        await made.see("one", change="disappeared")
        for kind in (INSTANCE, JOB, POD):
            await made.world.until(kind, lambda found: not found)
        await made.world.hear("instance-removed", "workload-stopped")


@pytest.mark.parametrize("of_one", [False, True], ids=["configuration", "instance"])
async def test_it_runs_again_when_somebody_wants_it_and_once_only(made: Site, of_one: bool) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.end(name)
        await made.is_(name, "Succeeded")
        (first,) = await made.world.objects(JOB)
        await made.demand("monday", instance=name if of_one else "")
        await made.jobs(lambda found: len(found) == 1 and uids(found) != uids([first]), "it runs again")
        await made.end(name)
        await made.is_(name, "Succeeded")
        await made.world.hear("workload-finished", "workload-finished")
    before = await made.world.objects(JOB)
    async with made.world.launcher():
        await made.stays(JOB, before)
    launched = {one.uid for one in made.world.told if type(one) is WorkloadLaunched}
    assert len(launched) == 2


async def test_a_job_that_has_failed_runs_again_only_when_it_is_edited_or_somebody_wants_it(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.end(name, 7)
        await made.is_(name, "Failed")
    before = await made.world.objects(JOB)
    async with made.world.launcher():
        # Neither a restart, nor news of the device, nor another field of the configuration.
        await made.see("one", properties={"VERSION": "2"})
        await made.world.configure(brokerSpec=job_spec(), capacity=3)
        await made.stays(JOB, before)
        await made.is_(name, "Failed")
        await made.world.configure(brokerSpec=job_spec("example/work:2"), capacity=3)
        await made.running(name)
        await made.end(name, 7)
        await made.is_(name, "Failed")
        await made.demand("now")
        await made.end(name)
        await made.is_(name, "Succeeded")


async def test_an_edit_makes_a_new_job_and_never_stops_one_that_runs(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec())
    async with made.world.launcher():
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.running(name)
        before = await made.world.objects(POD)
        await made.world.configure(brokerSpec=job_spec("example/work:2"))
        await made.is_(name, "Running", "has to end first")
        await made.stays(POD, before)
        await made.end(name, 7)
        (pod,) = await made.running(name)
        assert (await made.whole(pod))["spec"]["containers"][0]["image"] == "example/work:2"
        await made.end(name)
        await made.is_(name, "Succeeded")


async def test_canaries_go_first_and_the_others_once_all_of_them_have_succeeded(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec(), rollout={"canary": 2})
    async with made.world.launcher():
        await made.see("one", "two", "three", "four")
        instances = names(await made.instances(4))
        await made.jobs(lambda found: len(found) == 2)
        first = sorted(of(one) for one in await made.world.objects(JOB))
        others = [one for one in instances if one not in first]
        for one in others:
            await made.is_(one, "Waiting", "the first 2 have to succeed", *first)
        await made.end(first[0])
        for one in others:
            await made.is_(one, "Waiting", f"not yet: '{first[1]}'")
        await made.running(first[1])
        await made.end(first[1])
        await made.running(*others)


async def test_a_canary_that_fails_keeps_all_others_from_starting(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec(), rollout={"canary": 1})
    async with made.world.launcher():
        await made.see("one")
        (first,) = names(await made.instances(1))
        await made.running(first)
        await made.see("two", "three")
        others = [one for one in names(await made.instances(3)) if one != first]
        await made.end(first, 7)
        for one in others:
            await made.is_(one, "Waiting", f"'{first}' has failed")
        await made.told("Waiting", f"'{first}' has failed")
        await made.stays(JOB, await made.world.objects(JOB))
        await made.demand("again")
        found = await made.world.until(POD, lambda found: sum(map(runs, found)) == 1, "one runs")
        await made.stays(POD, found)


def manifest(image: str = "example/work") -> dict[str, Any]:
    """A configuration's spec with a job among its manifests."""
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "{{INSTANCE}}-work"}}
    return {"brokerSpec": None, "brokerManifests": [{**job, "spec": job_spec(image)["brokerJobSpec"]}]}


@pytest.mark.parametrize("how", ["edit", "demand", "manifest"])
async def test_what_is_rolled_out_again_begins_with_the_canary_again(made: Site, how: str) -> None:
    first = manifest() if how == "manifest" else {"brokerSpec": job_spec()}
    again = manifest("example/work:2") if how == "manifest" else {"brokerSpec": job_spec("example/work:2")}
    await made.world.configure(**first, rollout={"canary": 1})
    async with made.world.launcher():
        await made.see("one", "two", "three")
        instances = names(await made.instances(3))
        for _ in instances:
            found = await made.world.until(POD, lambda found: any(map(runs, found)))
            await made.end(next(of(one) for one in found if runs(one)))
        for one in instances:
            await made.is_(one, "Succeeded")
        before = set(uids(await made.world.objects(JOB)).values())
        await (made.demand("again") if how == "demand" else made.world.configure(**again, rollout={"canary": 1}))
        found = await made.jobs(lambda found: len(found) == 3 and set(uids(found).values()) != before, "one has begun")
        await made.stays(JOB, found)
        assert len(set(uids(found).values()) - before) == 1


async def test_a_restart_starts_nobody_beside_the_canary_that_runs(made: Site) -> None:
    await made.world.configure(brokerSpec=job_spec(), rollout={"canary": 1})
    async with made.world.launcher():
        await made.see(*(f"device-{number}" for number in range(8)))
        await made.instances(8)
        found = await made.jobs(lambda found: len(found) == 1)
    for _ in range(3):
        async with made.world.launcher() as parts:
            await parts.queue.idle()
            await made.stays(JOB, found)


async def test_outside_of_the_window_nothing_starts_and_inside_it_does(made: Site) -> None:
    ahead = NOON - time.time()
    await made.world.configure(brokerSpec=job_spec(), rollout={"maintenanceWindow": NIGHT})
    async with made.world.launcher(clock=lambda: time.time() + ahead) as parts:
        await made.see("one")
        (name,) = names(await made.instances(1))
        await made.is_(name, "Waiting", "closed until 2026-11-25T22:00:00Z")
        status = await made.told("opensAt")
        assert (status["phase"], status["rollout"]["windowOpen"]) == ("Waiting", False)
        assert status["rollout"]["opensAt"] == "2026-11-25T22:00:00Z"
        await made.stays(JOB, [])
        # It is a second before the window opens; nothing else happens.
        ahead = NOON + 10 * 3600 - 1 - time.time()
        parts.queue.add(Item("configuration", (made.world.namespace, "cams")))
        await made.running(name)
        assert (await made.told("closesAt"))["rollout"]["closesAt"] == "2026-11-26T04:00:00Z"


async def test_a_job_that_runs_when_the_window_closes_goes_on_and_no_other_starts(made: Site) -> None:
    ahead = NOON + 12 * 3600 - time.time()
    await made.world.configure(brokerSpec=job_spec(), rollout={"maintenanceWindow": NIGHT})
    async with made.world.launcher(clock=lambda: time.time() + ahead) as parts:
        await made.see("one")
        (first,) = names(await made.instances(1))
        await made.running(first)
        ahead += 4 * 3600
        await made.see("two")
        (second,) = [one for one in names(await made.instances(2)) if one != first]
        await made.is_(second, "Waiting", "closed until 2026-11-26T22:00:00Z")
        await parts.queue.idle()
        await made.running(first)
        await made.end(first)
        await made.is_(first, "Succeeded")
        await made.stays(JOB, await made.world.objects(JOB))


def put_off(until: float) -> bytes:
    """What a job writes that has found the plant at work."""
    opens = dt.datetime.fromtimestamp(until, dt.UTC).isoformat(timespec="seconds")
    report = {"outcome": "waiting", "why": "the plant is at work", "opens": opens}
    return b"some words\n" + json.dumps(report).encode() + b"\n"


async def test_a_canary_that_puts_itself_off_is_no_failure_and_runs_again_in_time(
    made: Site, control_plane: ControlPlane
) -> None:
    ahead = 0.0
    await made.world.configure(brokerSpec=job_spec(), rollout={"canary": 1})
    async with made.world.launcher():
        await made.see("one")
        (first,) = names(await made.instances(1))
        await made.running(first)
        await made.see("two")
        (second,) = [one for one in names(await made.instances(2)) if one != first]
        await made.end(first, 11, put_off(time.time() + 3600))
        found = await made.is_(first, "Waiting", "put itself off", "the plant is at work")
        assert broker(found)["phase"] == "Waiting"
        await made.is_(second, "Waiting", f"not yet: '{first}'")
        await made.world.hear("workload-stopped")
    before = await made.world.objects(JOB)
    async with made.world.launcher(clock=lambda: time.time() + ahead) as parts:
        await made.stays(JOB, before)
        ahead = 3601.0
        parts.queue.add(Item("instance", (made.world.namespace, first)))
        await made.end(first)
        await made.is_(first, "Succeeded")
        await made.running(second)
    assert made.world.times("workload-failed") == 0

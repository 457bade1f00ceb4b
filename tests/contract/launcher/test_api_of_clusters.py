"""The launcher's management API over a real API server, and over a cluster in memory: the same comes of it."""

from collections.abc import AsyncIterator

import pytest

from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, POD, NotFound
from ashore_broker_launcher.model import RERUN
from tests.contract.launcher.api_kit import JOB_SPEC, Managed, good, managed, refused
from tests.contract.launcher.conftest import Setup
from tests.launcher_kit import Object, configuration
from tests.unit.launcher.kit import alive, seen


@pytest.fixture
async def made(setup: Setup) -> AsyncIterator[Managed]:
    """A launcher that looks at the test's own namespace."""
    async with managed(setup.cluster, setup.namespace) as one:
        yield one


async def one_device(made: Managed) -> Object:
    """An agent tells of a device that the configuration `cams` wants; its instance."""
    await made.tell(alive())
    await made.tell(
        seen("id-abc", handler="debug-echo", facets=("debug-echo:foo0",), configurations=(f"{made.place}.cams",))
    )
    [instance] = await made.listed("/instances")
    return instance


async def test_a_configuration_is_created_then_unchanged_then_changed(made: Managed) -> None:
    results = [(await made.applied(capacity=capacity))["result"] for capacity in (2, 2, 3)]
    assert results == ["created", "unchanged", "changed"]
    stored = await made.cluster.get(CONFIGURATION, made.place, "cams")
    assert stored["spec"]["capacity"] == 3


async def test_what_is_left_out_of_a_configuration_goes(made: Managed) -> None:
    await made.applied(brokerProperties={"A": "1"})
    await made.applied()
    stored = await made.cluster.get(CONFIGURATION, made.place, "cams")
    assert not stored["spec"].get("brokerProperties")


async def test_what_is_shown_can_be_applied_again_and_changes_nothing(made: Managed) -> None:
    await made.applied()
    path = f"/configurations/{made.place}/cams"
    shown = await made.until(path, lambda one: one["phase"] == "Active")
    assert good(await made.http.put(path, json=shown["manifest"]))["result"] == "unchanged"


async def test_the_handler_of_a_configuration_cannot_be_changed(made: Managed) -> None:
    await made.applied()
    refused(await made.apply(discoveryHandler={"name": "onvif", "discoveryDetails": ""}), 422)


async def test_a_name_that_no_object_can_have_is_refused(made: Managed) -> None:
    body = configuration(made.place, "Not_A_Name")
    refused(await made.http.put(f"/configurations/{made.place}/Not_A_Name", json=body), 422)


async def test_another_namespace_than_the_launchers_is_refused(made: Managed) -> None:
    body = configuration("elsewhere")
    assert "only" in refused(await made.http.put("/configurations/elsewhere/cams", json=body), 422)["detail"]


async def test_what_is_applied_is_what_was_explained(made: Managed) -> None:
    await made.applied()
    instance = await one_device(made)
    [workload] = await made.listed("/workloads")
    [device] = (await made.explained(configuration(made.place)))["devices"]
    told = {one["kind"]: one for one in device["manifests"]}
    assert (device["wanted"], device["instance"]) == ("yes", instance["name"])
    assert told["Pod"]["metadata"]["name"] == workload["name"]
    pod = await made.cluster.get(POD, made.place, workload["name"])
    assert pod["spec"]["containers"][0]["image"] == told["Pod"]["spec"]["containers"][0]["image"]
    owner = await made.cluster.get(CONFIGURATION, made.place, "cams")
    assert told["Instance"]["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]


async def test_a_deleted_configuration_is_gone(made: Managed) -> None:
    await made.applied()
    path = f"/configurations/{made.place}/cams"
    assert (await made.http.delete(path)).status_code == 204
    await made.listed("/configurations", 0)
    refused(await made.http.delete(path), 404)
    with pytest.raises(NotFound):
        await made.cluster.get(CONFIGURATION, made.place, "cams")


async def test_jobs_are_told_to_run_again_and_the_instance_stays_as_it_is(made: Managed) -> None:
    await made.applied(brokerSpec={"brokerJobSpec": JOB_SPEC})
    name = (await one_device(made))["name"]
    [job] = await made.listed("/workloads")
    before = await made.cluster.get(INSTANCE, made.place, name)
    good(await made.http.post(f"/instances/{made.place}/{name}/rerun"))
    after = await made.cluster.get(INSTANCE, made.place, name)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["annotations"].keys() - before["metadata"]["annotations"].keys() == {RERUN}
    again = await made.until(
        "/workloads", lambda page: [one["name"] for one in page["items"]] not in ([], [job["name"]])
    )
    assert len(again["items"]) == 1


async def test_a_pod_that_has_not_begun_has_written_nothing(setup: Setup, made: Managed) -> None:
    await made.applied()
    await one_device(made)
    [workload] = await made.listed("/workloads")
    answer = await made.http.get(f"/workloads/{made.place}/{workload['name']}/log")
    if setup.kind == "memory":
        refused(answer, 409)
    else:
        assert good(answer)["log"] == ""


async def test_the_launcher_says_which_one_it_is(setup: Setup, made: Managed) -> None:
    told = await made.get("/launcher")
    assert told["launcher"] == {"memory": "dry-run", "kubernetes": "kubernetes"}[setup.kind]
    assert (told["cluster"], told["namespace"]) == ("", made.place)

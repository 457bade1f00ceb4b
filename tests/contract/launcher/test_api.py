"""The launcher's management API: configurations, instances, workloads, and what a dry run shows."""

from collections.abc import AsyncIterator

import pytest

from ashore_broker_launcher.cluster import CONFIGURATION, INSTANCE, JOB, POD, Kind, NotFound, Refused, Unreachable
from ashore_broker_launcher.launchers.dry_run.memory import MemoryCluster
from tests.contract.launcher.api_kit import JOB_SPEC, PLACE, READER, Managed, good, managed, refused
from tests.launcher_kit import Object, configuration
from tests.unit.launcher.kit import alive, seen

ECHO = {"handler": "debug-echo", "shared": True}


@pytest.fixture
async def made() -> AsyncIterator[Managed]:
    """A launcher with a dry run."""
    async with managed() as one:
        yield one


async def one_device(made: Managed, key: str = "id-abc", **about: object) -> Object:
    """An agent tells of a device that the configuration `cams` wants; its instance."""
    await made.tell(alive())
    await made.tell(seen(key, facets=(f"debug-echo:{key}",), properties={"MODEL": "x1"}, **{**ECHO, **about}))
    [instance] = await made.listed("/instances")
    return instance


# Configurations


async def test_a_configuration_is_created_then_unchanged_then_changed(made: Managed) -> None:
    results = [(await made.applied(capacity=capacity))["result"] for capacity in (2, 2, 3)]
    assert results == ["created", "unchanged", "changed"]


async def test_who_applies_to_a_dry_run_hears_that_it_is_forgotten(made: Managed) -> None:
    [warning] = (await made.applied())["warnings"]
    assert "forgets" in warning


async def test_a_configuration_is_shown_as_it_was_applied_and_with_how_it_is(made: Managed) -> None:
    await made.applied(capacity=4)
    found = await made.until(f"/configurations/{PLACE}/cams", lambda one: one["phase"] == "Active")
    assert (found["handler"], found["capacity"], found["instances"], found["problems"]) == ("debugEcho", 4, 0, [])
    assert found["manifest"] == configuration(PLACE, capacity=4)
    assert {one["type"] for one in found["conditions"]} == {"Valid", "HandedOut", "Ready"}


async def test_what_is_shown_can_be_applied_again_and_changes_nothing(made: Managed) -> None:
    await made.applied()
    shown = await made.until(f"/configurations/{PLACE}/cams", lambda one: one["phase"] == "Active")
    answer = await made.http.put(f"/configurations/{PLACE}/cams", json=shown["manifest"])
    assert good(answer)["result"] == "unchanged"


async def test_a_configuration_that_cannot_work_is_not_applied_and_each_fault_is_named(made: Managed) -> None:
    wrong = {"capcity": 3, "discoveryHandler": {"name": "debugEcho", "details": ""}}
    problem = refused(await made.apply(**wrong), 422)
    assert len(problem["errors"]) == 2
    assert "capcity" in problem["detail"]
    assert (await made.get("/configurations"))["items"] == []


async def test_a_fault_is_told_with_its_place(made: Managed) -> None:
    problem = refused(await made.apply(capacity=0), 422)
    assert problem["errors"] == ["spec.capacity: Expected `int` >= 1"]


async def test_the_handler_of_a_configuration_cannot_be_changed(made: Managed) -> None:
    await made.applied()
    problem = refused(await made.apply(discoveryHandler={"name": "onvif", "discoveryDetails": ""}), 422)
    assert "delete" in problem["remedy"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"metadata": []},
        {"metadata": {"name": "cams", "namespace": 7}},
        {"metadata": {"name": {"a": 1}}},
        {"metadata": {"name": "other"}},
        {"metadata": {"name": "cams", "namespace": "elsewhere"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cams"}},
        {"apiVersion": "akri.sh/v0", "kind": "Configuration", "metadata": {"name": "cams"}, "spec": 3},
        {"apiVersion": "akri.sh/v0", "kind": "Configuration", "metadata": {"name": "cams"}, "spec": {"match": [[[]]]}},
    ],
)
async def test_what_is_no_configuration_of_that_name_is_refused(made: Managed, body: Object) -> None:
    refused(await made.http.put(f"/configurations/{PLACE}/cams", json=body), 422)


async def test_configurations_are_listed_in_pages_and_by_namespace(made: Managed) -> None:
    for name in ("a", "b", "c"):
        await made.applied(name)
    elsewhere = configuration("elsewhere", "a")
    good(await made.http.put("/configurations/elsewhere/a", json=elsewhere))
    await made.listed("/configurations", 4)
    first = await made.get("/configurations", limit=2, namespace=PLACE)
    rest = await made.get("/configurations", limit=2, namespace=PLACE, cursor=first["next"])
    names = [one["name"] for page in (first, rest) for one in page["items"]]
    assert (names, rest["next"]) == (["a", "b", "c"], None)


async def test_a_deleted_configuration_goes_with_all_it_has_started(made: Managed) -> None:
    await made.applied()
    await one_device(made)
    await made.listed("/objects", 2)
    answer = await made.http.delete(f"/configurations/{PLACE}/cams")
    assert answer.status_code == 204
    await made.listed("/objects", 0)
    await made.listed("/instances", 0)


@pytest.mark.parametrize("path", ["/configurations/default/none", "/instances/default/none"])
async def test_what_is_not_there_is_not_found(made: Managed, path: str) -> None:
    refused(await made.http.get(path), 404)


async def test_a_reader_sees_and_explains_and_changes_nothing(made: Managed) -> None:
    path, body = f"/configurations/{PLACE}/cams", configuration(PLACE)
    async with made.opened_by(READER) as reader:
        good(await reader.get("/configurations"))
        good(await reader.post("/configurations/explain", json=body))
        refused(await reader.put(path, json=body), 403)
        refused(await reader.delete(path), 403)
        refused(await reader.post(f"/instances/{PLACE}/x/rerun"), 403)
    async with made.opened_by("nobody") as stranger:
        refused(await stranger.get("/objects"), 401)


# Explanations


async def test_a_configuration_that_does_not_exist_is_explained_as_far_as_the_bus_knows(made: Managed) -> None:
    await made.tell(alive())
    await made.tell(seen("id-abc", configurations=(), **ECHO))
    await made.tell(seen("serial-1", configurations=(), handler="onvif"))
    await made.applied("other")
    told = await made.explained(configuration(PLACE), devices=2)
    assert told["handed_out"]["handler"] == "debug-echo"
    may_be, other = told["devices"]
    assert (may_be["device"], may_be["wanted"]) == ("id-abc", "unknown")
    assert [one["kind"] for one in may_be["manifests"]] == ["Instance", "Pod"]
    assert (other["device"], other["wanted"], other["manifests"]) == ("serial-1", "no", [])
    assert [one["name"] for one in (await made.get("/configurations"))["items"]] == ["other"], "nothing was applied"


async def test_a_configuration_that_is_applied_is_explained_by_what_agents_say(made: Managed) -> None:
    await made.applied(configurationServiceSpec={"ports": [{"port": 80}]})
    instance = await one_device(made)
    await made.tell(seen("id-unwanted", configurations=(), **ECHO))
    body = configuration(PLACE, configurationServiceSpec={"ports": [{"port": 80}]})
    wanted, unwanted = (await made.explained(body, devices=2))["devices"]
    assert (wanted["wanted"], wanted["instance"]) == ("yes", instance["name"])
    assert [one["kind"] for one in wanted["manifests"]] == ["Instance", "Pod", "Service"]
    assert (unwanted["device"], unwanted["wanted"]) == ("id-unwanted", "no")


async def test_a_configuration_for_other_nodes_wants_nothing_of_this_one(made: Managed) -> None:
    await made.applied("other")
    await made.tell(seen("id-abc", configurations=("default.other",), **ECHO))
    await made.listed("/instances")
    told = await made.explained(configuration(PLACE, nodes=["node-b"]))
    assert [(one["wanted"], one["why"]) for one in told["devices"]] == [("no", "the configuration is for node-b")]


async def test_what_cannot_work_is_explained_by_its_problems_alone(made: Managed) -> None:
    told = good(await made.http.post("/configurations/explain", json=configuration(PLACE, capacity=0)))
    assert (len(told["problems"]), told["handed_out"], told["devices"]) == (1, None, [])


async def test_a_manifest_that_is_not_allowed_is_a_problem_of_the_explanation(made: Managed) -> None:
    manifest = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "x"}}
    told = good(await made.http.post("/configurations/explain", json=configuration(PLACE, brokerManifests=[manifest])))
    assert any("ClusterRole" in one for one in told["problems"])


# Instances and workloads


async def test_an_instance_is_shown_with_what_its_brokers_get(made: Managed) -> None:
    await made.applied(capacity=2)
    instance = await one_device(made)
    assert (instance["configuration"], instance["device"], instance["nodes"]) == ("cams", "id-abc", ["node-a"])
    detail = await made.until(f"/instances/{PLACE}/{instance['name']}", lambda one: one["brokers"])
    assert detail["properties"] == {"MODEL": "x1"}
    assert [one["name"] for one in detail["slots"]] == [f"{instance['name']}-{number}" for number in range(2)]
    assert [(one["kind"], one["node"]) for one in detail["brokers"]] == [("Pod", "node-a")]


async def test_slots_say_who_uses_them(made: Managed) -> None:
    await made.applied(capacity=2)
    name = (await one_device(made))["name"]
    body = await made.cluster.get(INSTANCE, PLACE, name)
    usage = {f"{name}-1": "node-a"}
    await made.cluster.apply(INSTANCE, {**body, "spec": {**body["spec"], "deviceUsage": usage}})
    detail = await made.until(f"/instances/{PLACE}/{name}", lambda one: one["used"])
    assert [(one["name"], one["used_by"]) for one in detail["slots"]] == [(f"{name}-0", ""), (f"{name}-1", "node-a")]


async def test_a_broker_that_fails_is_shown_with_its_exit_code(made: Managed) -> None:
    await made.applied()
    name = (await one_device(made))["name"]
    [workload] = await made.listed("/workloads")
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    crashed = {"name": "b", "state": state, "lastState": {"terminated": {"exitCode": 3}}}
    await made.play(POD, workload["name"], phase="Running", containerStatuses=[crashed])
    detail = await made.until(f"/instances/{PLACE}/{name}", lambda one: one["phase"] == "Failed")
    assert [one["exit_code"] for one in detail["brokers"]] == [3]
    assert "exit code 3" in detail["message"]
    shown = await made.until(f"/configurations/{PLACE}/cams", lambda one: one["failed"])
    assert name in shown["problems"][0]


async def test_instances_are_listed_by_configuration(made: Managed) -> None:
    for name in ("cams", "doors"):
        await made.applied(name)
    await made.tell(seen("id-abc", configurations=("default.cams", "default.doors"), **ECHO))
    await made.listed("/instances", 2)
    [found] = await made.listed("/instances?configuration=doors")
    assert found["configuration"] == "doors"
    assert (await made.get("/instances", namespace="elsewhere"))["items"] == []
    await made.listed("/workloads", 2)
    [workload] = await made.listed("/workloads?configuration=doors")
    assert workload["instance"] == found["name"]


async def test_a_job_runs_again_when_it_is_told_to(made: Managed) -> None:
    await made.applied(brokerSpec={"brokerJobSpec": JOB_SPEC})
    name = (await one_device(made))["name"]
    [job] = await made.listed("/workloads")
    done = {"type": "Complete", "status": "True"}
    await made.play(JOB, job["name"], succeeded=1, conditions=[done])
    await made.until("/workloads", lambda page: page["items"][0]["stage"] == "finished")
    good(await made.http.post(f"/instances/{PLACE}/{name}/rerun"))
    again = await made.until("/workloads", lambda page: page["items"] and page["items"][0]["name"] != job["name"])
    assert again["items"][0]["stage"] == "waiting"


async def test_an_instance_without_a_job_has_nothing_to_run_again(made: Managed) -> None:
    await made.applied()
    name = (await one_device(made))["name"]
    refused(await made.http.post(f"/instances/{PLACE}/{name}/rerun"), 409)


async def test_a_dry_run_has_no_logs_and_says_so(made: Managed) -> None:
    await made.applied()
    await one_device(made)
    [workload] = await made.listed("/workloads")
    refused(await made.http.get(f"/workloads/{PLACE}/{workload['name']}/log"), 409)


class Writing(MemoryCluster):
    """A cluster in memory whose pods have written something, and that can be away."""

    away = False

    async def log(self, namespace: str, pod: str, *, container: str = "", lines: int = 20) -> str:
        """As many lines as are asked for."""
        return "".join(f"{namespace}/{pod}{container} {number}\n" for number in range(lines))

    async def kind(self, api_version: str, name: str) -> Kind:
        """As the cluster in memory has it, unless it is away."""
        if self.away:
            raise Unreachable("nobody listens there")
        return await super().kind(api_version, name)


async def test_the_log_of_a_job_is_that_of_its_latest_pod() -> None:
    async with managed(Writing()) as made:
        await made.applied(brokerSpec={"brokerJobSpec": JOB_SPEC})
        await one_device(made)
        [job] = await made.listed("/workloads")
        body = await made.cluster.get(JOB, PLACE, job["name"])
        owner = {"kind": "Job", "name": job["name"], "uid": body["metadata"]["uid"], "controller": True}
        labels = body["spec"]["template"]["metadata"]["labels"]
        metadata = {"namespace": PLACE, "name": "its-pod", "labels": labels, "ownerReferences": [owner]}
        await made.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})
        await made.until("/workloads", lambda page: page["items"][0]["pods"] == ["its-pod"])
        told = await made.get(f"/workloads/{PLACE}/{job['name']}/log", lines=2)
        assert told == {"namespace": PLACE, "pod": "its-pod", "log": f"{PLACE}/its-pod 0\n{PLACE}/its-pod 1\n"}


async def test_the_log_of_a_pod_that_is_not_the_launchers_is_not_read() -> None:
    async with managed(Writing()) as made:
        metadata = {"namespace": PLACE, "name": "somebody-elses"}
        await made.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}})
        await made.applied()
        await one_device(made)
        refused(await made.http.get(f"/workloads/{PLACE}/somebody-elses/log"), 404)


@pytest.mark.parametrize("lines", [0, 1_000_000, "many"])
async def test_a_log_has_no_more_lines_than_are_sensible(made: Managed, lines: object) -> None:
    refused(await made.http.get(f"/workloads/{PLACE}/x/log", params={"lines": str(lines)}), 422)


# The launcher itself


async def test_a_dry_run_shows_what_it_has_applied_and_not_what_people_have(made: Managed) -> None:
    await made.applied()
    await one_device(made)
    found = await made.listed("/objects", 2)
    assert [one["kind"] for one in found] == ["Instance", "Pod"]
    [pod] = (await made.get("/objects", kind="Pod"))["items"]
    assert pod["spec"]["containers"][0]["image"] == "example/b"


async def test_a_launcher_with_a_cluster_has_no_objects_of_its_own() -> None:
    class Elsewhere:
        """Some other cluster; what it can do is nobody's business here."""

        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

    inner = MemoryCluster()
    async with managed(Elsewhere()) as made:  # type: ignore[arg-type]  # it passes everything on
        refused(await made.http.get("/objects"), 409)
        assert (await made.get("/launcher"))["launcher"] == "kubernetes"


async def test_the_launcher_says_how_it_is(made: Managed) -> None:
    await made.applied()
    await one_device(made)
    told = await made.get("/launcher")
    assert (told["launcher"], told["site"], told["leads"], told["cluster"]) == ("dry-run", "site", True, "")
    assert (told["configurations"], told["instances"]) == (1, 1)
    assert told["agents"] == [{"node": "node-a", "lost": False}]


async def test_the_launcher_says_why_the_cluster_cannot_be_used() -> None:
    cluster = Writing()
    async with managed(cluster) as made:
        cluster.away = True
        assert (await made.get("/launcher"))["cluster"] == "nobody listens there"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Unreachable("away"), 503),
        (NotFound("no such kind"), 404),
        (Refused("forbidden", 403), 502),
        (Refused("invalid", 422), 422),
    ],
)
async def test_what_the_cluster_does_not_do_is_a_problem_with_a_remedy(error: Exception, status: int) -> None:
    class Failing(MemoryCluster):
        async def apply(self, kind: Kind, body: Object, *, manager: str = "") -> Object:
            if kind == CONFIGURATION:
                raise error
            return await super().apply(kind, body, manager=manager)

    async with managed(Failing()) as made:
        assert str(error) in refused(await made.apply(), status)["detail"]

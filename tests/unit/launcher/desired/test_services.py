"""Services: with Akri's selectors, from the first broker that runs until the last is gone."""

import pytest

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.brokers import plan_configuration_service
from tests.desired_kit import Stage, jobs, pods

PORTS = {"ports": [{"port": 80}]}
SPEC = {"brokerSpec": pods(), "instanceServiceSpec": PORTS, "configurationServiceSpec": PORTS}


def test_an_instances_service_is_akris() -> None:
    it = Stage({**SPEC, "instanceServiceSpec": {**PORTS, "selector": {"mine": "too"}}})
    it.settle()
    assert it.names("Service") == []
    it.becomes("Pod")
    it.settle()
    service = it.only("Service")
    assert service["metadata"]["name"] == "cams-4294ea-svc"
    assert service["metadata"]["ownerReferences"][0]["name"] == "cams-4294ea"
    assert service["spec"] == {
        **PORTS,
        "selector": {"mine": "too", "controller": "akri.sh", "akri.sh/instance": "cams-4294ea"},
    }


def test_its_selector_matches_pods_and_the_pods_of_jobs() -> None:
    for spec in (pods(), jobs()):
        it = Stage({"brokerSpec": spec})
        it.settle()
        (child,) = it.children.values()
        labels = (child if child["kind"] == "Pod" else child["spec"]["template"])["metadata"]["labels"]
        assert {
            "controller": "akri.sh",
            "akri.sh/instance": "cams-4294ea",
            "akri.sh/configuration": "cams",
        }.items() <= (labels.items())


def test_it_is_made_when_a_jobs_pod_runs_and_removed_when_the_job_has_ended() -> None:
    it = Stage({"brokerSpec": jobs(), "instanceServiceSpec": PORTS})
    it.settle()
    it.pod_of_job("Running")
    it.settle()
    assert it.names("Service") == ["cams-4294ea-svc"]
    it.becomes("Job", conditions=[{"type": "Complete", "status": "True"}])
    it.pod_of_job("Succeeded")
    it.settle()
    assert it.names("Service") == []


def test_it_stays_while_a_pod_is_replaced_and_goes_when_none_is_expected() -> None:
    it = Stage(SPEC)
    it.settle()
    it.becomes("Pod")
    it.settle()
    uid = it.only("Service")["metadata"]["uid"]
    it.becomes("Pod", "Failed")
    it.settle()
    assert it.only("Service")["metadata"]["uid"] == uid
    it.sees(nodes=[])
    it.settle()
    assert it.names("Service") == []
    assert it.told[-1] == ("Service/cams-4294ea-svc", "no-broker")


def test_an_edit_is_applied_in_place_and_no_spec_is_no_service() -> None:
    it = Stage(SPEC)
    it.settle()
    it.becomes("Pod")
    it.settle()
    uid = it.only("Service")["metadata"]["uid"]
    it.edit(instanceServiceSpec={"ports": [{"port": 81}]})
    it.settle()
    assert (it.only("Service")["metadata"]["uid"], it.only("Service")["spec"]["ports"]) == (uid, [{"port": 81}])
    it.edit(instanceServiceSpec=None)
    it.settle()
    assert it.names("Service") == []


def broker(phase: str, *, leaving: bool = False) -> JsonObject:
    metadata = {"name": "p", **({"deletionTimestamp": "now"} if leaving else {})}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def of_configuration(*brokers: JsonObject, exists: bool = False, expected: bool = False) -> str:
    """What happens to the configuration's service."""
    configuration = Stage(SPEC).configuration
    first = plan_configuration_service(configuration, [], [broker("Running")], expected=True).apply
    existing = [{**one, "metadata": {**one["metadata"], "uid": "s"}} for one in first] if exists else []
    found = plan_configuration_service(configuration, existing, brokers, expected=expected)
    return "made" if found.apply else "removed" if found.delete else "-"


@pytest.mark.parametrize(
    ("brokers", "exists", "what"),
    [
        ([], False, "-"),
        ([broker("Pending")], False, "-"),
        ([broker("Running", leaving=True)], False, "-"),
        ([broker("Pending"), broker("Running")], False, "made"),
        ([broker("Running")], True, "-"),
        ([broker("Pending")], True, "-"),
        ([broker("Failed"), broker("Succeeded"), broker("Running", leaving=True)], True, "removed"),
        ([], True, "removed"),
    ],
)
def test_a_configurations_service(brokers: list[JsonObject], exists: bool, what: str) -> None:
    assert of_configuration(*brokers, exists=exists) == what


def test_a_configurations_service_stays_while_a_broker_is_expected() -> None:
    assert of_configuration(exists=True, expected=True) == "-"


def test_a_configurations_service_is_akris_and_changes_in_place() -> None:
    it = Stage(SPEC)
    (service,) = plan_configuration_service(it.configuration, [], [broker("Running")], expected=True).apply
    assert service["metadata"]["name"] == "cams-svc"
    assert service["metadata"]["ownerReferences"][0]["kind"] == "Configuration"
    assert service["spec"] == {**PORTS, "selector": {"controller": "akri.sh", "akri.sh/configuration": "cams"}}
    existing = {**service, "metadata": {**service["metadata"], "uid": "s"}}
    it.edit(configurationServiceSpec={"ports": [{"port": 81}]})
    plan = plan_configuration_service(it.configuration, [existing], [broker("Running")], expected=True)
    assert [one["metadata"]["uid"] for one in plan.apply] == ["s"]
    it.edit(configurationServiceSpec=None)
    plan = plan_configuration_service(it.configuration, [existing], [broker("Running")], expected=True)
    assert [one.cause for one in plan.delete] == ["replaced"]

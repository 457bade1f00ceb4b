"""`brokerManifests`: any object, values as text, and no way out of namespace, kinds and ownership."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.desired.brokers import Plan
from ashore_broker_launcher.desired.templates import rendered
from tests.desired_kit import CONTAINER, KINDS, Stage, jobs, pods

NAME = "cams-4294ea-0"


def config_map(**data: str) -> JsonObject:
    return {"apiVersion": "v1", "kind": "ConfigMap", "data": data}


def deployment(**container: Any) -> JsonObject:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{**CONTAINER, **container}]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1, "template": template}}


def stage(*manifests: JsonObject, **instance: Any) -> Stage:
    return Stage({"brokerManifests": list(manifests)}, **instance)


def only_problem(plan: Plan) -> str:
    assert len(plan.problems) == 1, plan.problems
    assert plan.problems[0].reason == "ManifestInvalid"
    return plan.problems[0].message


def test_every_placeholder_has_its_value() -> None:
    names = ["INSTANCE", "CONFIGURATION", "NAMESPACE", "DEVICE", "NODE", "PLACEHOLDER", "properties.URL"]
    data = {name: f"<{{{{{name}}}}}>" for name in names}
    it = stage(config_map(**data), brokerProperties={"URL": "rtsp://x"}, nodes=["n1", "n2"])
    it.settle()
    assert it.only("ConfigMap")["data"] == {
        "INSTANCE": "<cams-4294ea>",
        "CONFIGURATION": "<cams>",
        "NAMESPACE": "<shop>",
        "DEVICE": "<mac-00408c123456>",
        "NODE": "<n1>",
        "PLACEHOLDER": "<akri.sh/cams-4294ea>",
        "properties.URL": "<rtsp://x>",
    }


def test_the_object_belongs_to_its_instance_whatever_it_says_itself() -> None:
    metadata = {
        "labels": {"akri.sh/instance": "another", "mine": "kept", "app": "kept"},
        "annotations": {"akri.sh/applied-hash": "forged", "mine": "kept"},
        "ownerReferences": [{"uid": "somebody"}],
        "uid": "somebody",
        "finalizers": ["for-ever"],
    }
    it = stage({**config_map(), "metadata": metadata, "status": {"x": 1}})
    it.settle()
    made = it.only("ConfigMap")
    assert made["metadata"]["name"] == NAME
    assert made["metadata"]["namespace"] == "shop"
    assert made["metadata"]["labels"] == {
        "akri.sh/instance": "cams-4294ea",
        "akri.sh/configuration": "cams",
        "controller": "akri.sh",
        "mine": "kept",
        "app": "kept",
    }
    assert made["metadata"]["annotations"]["mine"] == "kept"
    assert made["metadata"]["annotations"]["akri.sh/applied-hash"] != "forged"
    assert [one["uid"] for one in made["metadata"]["ownerReferences"]] == ["instance-1"]
    assert made["metadata"].keys() <= {
        "name", "namespace", "labels", "annotations", "ownerReferences", "uid", "creationTimestamp",
    }  # fmt: skip
    assert "status" not in made


def test_pods_of_its_template_have_the_labels_that_services_look_for() -> None:
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": {"spec": deployment()["spec"]}}}
    it = stage(deployment(), cron)
    it.settle(allowed_kinds=KINDS | {"batch/v1/CronJob"})
    of_deployment = it.only("Deployment")["spec"]["template"]["metadata"]["labels"]
    of_cron = it.only("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert of_deployment["akri.sh/instance"] == of_cron["akri.sh/instance"] == "cams-4294ea"
    assert of_deployment["app"] == "x"


def test_the_resource_may_be_a_key() -> None:
    it = stage(deployment(resources={"limits": {"{{PLACEHOLDER}}": "1"}}))
    it.settle()
    container = it.only("Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"limits": {"akri.sh/cams-4294ea": "1"}}


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (config_map(a="{{INSTANC}}"), "{{INSTANC}} is no placeholder: did you mean {{INSTANCE}}?"),
        (config_map(a="{{properties.ULR}}"), "did you mean {{properties.URL}}?"),
        (config_map(a="{{zzzzzzzzzz}}"), "there are CONFIGURATION, DEVICE"),
        ({**config_map(), "data": {"{{INSTANCE}}": "x"}}, "only {{PLACEHOLDER}} may be a key"),
        ({**config_map(), "metadata": {"namespace": "kube-system"}}, "it says namespace 'kube-system'"),
        ({**config_map(), "metadata": {"namespace": "{{properties.URL}}"}}, "it says namespace 'rtsp://x'"),
        ({**config_map(), "metadata": {"generateName": "x-"}}, "generateName"),
        ({**config_map(), "metadata": {"name": "{{properties.URL}}"}}, "'rtsp://x' is no name"),
        ({**config_map(), "metadata": {"name": "../../secrets/x"}}, "is no name"),
        ({**config_map(), "metadata": {"name": ["x"]}}, "is no name"),
        ({"apiVersion": "v1", "kind": "Secret"}, "v1/Secret is not among the kinds"),
        ({"apiVersion": "v1", "kind": "Namespace"}, "stands in no namespace"),
        ({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}, "stands in no namespace"),
        ({"apiVersion": "v1", "kind": "{{properties.KIND}}"}, "v1/Secret is not among the kinds"),
        ({"apiVersion": "v1", "kind": "List", "items": []}, "v1/List is not among the kinds"),
        ({"kind": "ConfigMap"}, "it needs apiVersion and kind"),
        ({"apiVersion": ["v1"], "kind": "ConfigMap"}, "it needs apiVersion and kind"),
    ],
)
def test_a_manifest_that_is_wrong_is_told_and_keeps_no_other_from_being_applied(
    manifest: JsonObject, words: str
) -> None:
    it = stage(manifest, config_map(), brokerProperties={"URL": "rtsp://x", "KIND": "Secret"})
    plan = it.settle()
    assert words in only_problem(plan)
    assert "brokerManifests[0]" in only_problem(plan)
    assert it.names("ConfigMap") == ["cams-4294ea-1"]
    assert plan.status["phase"] == "Failed"


def test_a_cluster_wide_kind_is_refused_even_where_the_list_has_it() -> None:
    it = stage({"apiVersion": "v1", "kind": "Node"})
    assert "stands in no namespace" in only_problem(it.settle(allowed_kinds=frozenset({"v1/Node"})))


def test_templates_of_others_pass_and_two_braces_can_be_written() -> None:
    text = '{{ .Values.x }} {{ $labels.y }} {{"z"}} {{}} {{-1}} \\{{end}} { {INSTANCE} } {{ INSTANCE }}'
    assert rendered(text, {"INSTANCE": "i"}) == (
        '{{ .Values.x }} {{ $labels.y }} {{"z"}} {{}} {{-1}} {{end}} { {INSTANCE} } i'
    )


@given(st.text() | st.text(alphabet="{}$()\\: \n-INSTACE"))
def test_any_value_of_a_device_is_the_same_text_and_nothing_else(value: str) -> None:
    it = stage(config_map(a="{{properties.V}}", b="<{{properties.V}}>"), brokerProperties={"V": value})
    assert it.settle().problems == []
    assert it.only("ConfigMap")["data"] == {"a": value, "b": f"<{value}>"}


@given(st.text(alphabet="$()A{}") | st.text())
def test_what_the_kubelet_would_expand_is_escaped_where_it_expands_and_nowhere_else(value: str) -> None:
    text, escaped = "{{properties.V}}", value.replace("$", "$$")
    container = {
        "args": [text, f"--x={text}"],
        "env": [{"name": "X", "value": text}],
        "image": text,
        "livenessProbe": {"exec": {"command": [text]}, "httpGet": {"httpHeaders": [{"value": text}]}},
        "lifecycle": {"preStop": {"exec": {"command": [text]}}},
    }
    it = stage(deployment(**container), brokerProperties={"V": value})
    it.settle()
    made = it.only("Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert made == {
        **CONTAINER,
        "args": [escaped, f"--x={escaped}"],
        "env": [{"name": "X", "value": escaped}],
        "image": value,
        "livenessProbe": {"exec": {"command": [escaped]}, "httpGet": {"httpHeaders": [{"value": value}]}},
        "lifecycle": {"preStop": {"exec": {"command": [value]}}},
    }


def test_an_edit_is_applied_in_place_and_what_is_no_longer_there_is_removed() -> None:
    it = stage(config_map(a="1"), deployment())
    it.settle()
    uid = it.only("ConfigMap")["metadata"]["uid"]
    it.edit(brokerManifests=[config_map(a="2")])
    it.settle()
    assert (it.only("ConfigMap")["metadata"]["uid"], it.only("ConfigMap")["data"]) == (uid, {"a": "2"})
    assert it.told == [("Deployment/cams-4294ea-1", "replaced")]


def test_an_object_outlives_a_wrong_edit_of_its_manifest() -> None:
    it = stage(config_map(a="1"))
    it.settle()
    it.edit(brokerManifests=[config_map(a="{{oops}}")])
    it.settle()
    assert it.only("ConfigMap")["data"] == {"a": "1"}


def test_another_property_is_applied() -> None:
    it = stage(config_map(a="{{properties.IP}}"), brokerProperties={"IP": "10.0.0.1"})
    it.settle()
    it.sees(brokerProperties={"IP": "10.0.0.2"})
    it.settle()
    assert it.only("ConfigMap")["data"] == {"a": "10.0.0.2"}


def test_two_manifests_of_one_name_are_told_and_do_not_fight() -> None:
    named = {**config_map(a="1"), "metadata": {"name": "x"}}
    it = stage(named, {**named, "data": {"a": "2"}})
    it.step()
    plan = it.plan()
    assert [one.reason for one in plan.problems] == ["NameTwice"]
    assert (plan.apply, it.only("ConfigMap")["data"]) == ([], {"a": "1"})


def test_a_manifest_cannot_take_the_name_of_the_instances_service() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cams-4294ea-svc"}, "spec": {}}
    it = Stage({"brokerSpec": pods(), "brokerManifests": [service], "instanceServiceSpec": {"ports": []}})
    it.settle()
    it.becomes("Pod")
    it.step()
    plan = it.plan()
    assert [one.reason for one in plan.problems] == ["NameTwice"]
    assert plan.apply == []


def test_the_node_that_was_chosen_stays_while_it_sees_the_device() -> None:
    it = stage(config_map(a="{{NODE}}"), nodes=["n2"])
    it.settle()
    it.sees(nodes=["n1", "n2"])
    it.settle()
    assert it.only("ConfigMap")["data"] == {"a": "n2"}
    it.sees(nodes=[])
    assert it.settle().problems == []
    assert it.only("ConfigMap")["data"] == {"a": "n2"}
    it.sees(nodes=["n1"])
    it.settle()
    assert it.only("ConfigMap")["data"] == {"a": "n1"}


def job(**spec: Any) -> JsonObject:
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {**jobs()["brokerJobSpec"], **spec}}


def test_a_job_among_them_is_never_stopped_at_its_work_and_does_not_run_again_when_it_is_gone() -> None:
    it = stage(job())
    assert it.settle(may_start=False).status["phase"] == "Waiting"
    it.settle()
    it.becomes("Job", active=1, ready=1)
    it.edit(brokerManifests=[job(backoffLimit=1)])
    uid = it.only("Job")["metadata"]["uid"]
    it.settle()
    assert it.only("Job")["metadata"]["uid"] == uid
    it.becomes("Job", conditions=[{"type": "Complete", "status": "True"}])
    it.settle()
    assert it.only("Job")["spec"]["backoffLimit"] == 1
    it.becomes("Job", conditions=[{"type": "Complete", "status": "True"}])
    it.settle()
    it.children.clear()
    assert it.settle().status["phase"] == "Succeeded"
    assert it.names("Job") == []


def test_a_pod_among_them_is_removed_and_made_again_when_it_changes() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [CONTAINER]}}
    it = stage(pod)
    it.settle()
    it.becomes("Pod")
    it.edit(brokerManifests=[{**pod, "spec": {"containers": [{**CONTAINER, "image": "other"}]}}])
    it.settle()
    assert it.told == [(f"Pod/{NAME}", "replaced")]
    assert it.only("Pod")["spec"]["containers"][0]["image"] == "other"


def test_a_deployment_is_a_broker_that_runs_when_its_pods_are_ready() -> None:
    it = Stage({"brokerManifests": [deployment()], "instanceServiceSpec": {"ports": []}})
    assert it.settle().status["phase"] == "Pending"
    it.becomes("Deployment", "", readyReplicas=1)
    it.settle()
    assert it.plan().status["phase"] == "Running"
    assert it.names("Service") == ["cams-4294ea-svc"]


def test_a_manifest_cannot_take_the_name_of_a_broker_pod() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-cams-4294ea-pod"}, "spec": {}}
    it = Stage({"brokerSpec": pods(), "brokerManifests": [pod]})
    it.step()
    plan = it.settle()
    assert [one.reason for one in plan.problems] == ["NameTwice"]
    assert it.told == []


def test_two_pods_of_one_name_are_told_and_do_not_replace_each_other() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [CONTAINER]}}
    it = stage(pod, {**pod, "spec": {}})
    assert [one.reason for one in it.settle().problems] == ["NameTwice"]
    assert it.told == []

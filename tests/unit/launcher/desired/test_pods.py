"""Broker pods: what Akri's are, and where ours are better. Golden manifests, placeholder, affinity, environment."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_broker_launcher.desired.labels import job_name, pod_name, service_name, short
from ashore_broker_launcher.desired.placeholder import environment, with_device
from ashore_broker_launcher.desired.placement import node_of, pinned
from ashore_broker_launcher.model import Instance
from tests.desired_kit import CONTAINER, Stage, pods

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def instance(name: str = "cams-4294ea", **spec: Any) -> Instance:
    return Stage({}, **spec).instance if name == "cams-4294ea" else _named(name, spec)


def _named(name: str, spec: dict[str, Any]) -> Instance:
    stage = Stage({}, **spec)
    stage.seen["metadata"]["name"] = name
    return stage.instance


def asking(**resources: Any) -> dict[str, Any]:
    return {**CONTAINER, "resources": resources}


def test_a_pod_is_as_akris_with_two_annotations_more() -> None:
    stage = Stage({"brokerSpec": pods(containers=[asking(limits={"{{PLACEHOLDER}}": "1"})])}, nodes=["node-a.lan"])
    stage.settle()
    pod = stage.only("Pod")
    assert pod["metadata"].pop("annotations") == {
        # Another hash replaces all pods that run when the launcher is upgraded: change it for a good reason only.
        "akri.sh/applied-hash": "bad24c0a74043ef5",
        "akri.sh/part": "pod",
        "akri.sh/properties-hash": "01e7b720ff566d53",
    }
    del pod["metadata"]["uid"], pod["metadata"]["creationTimestamp"]
    assert pod == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "node-a-lan-cams-4294ea-pod",
            "namespace": "shop",
            "labels": {
                "app": "node-a-lan-cams-4294ea-pod",
                "controller": "akri.sh",
                "akri.sh/configuration": "cams",
                "akri.sh/instance": "cams-4294ea",
                "akri.sh/target-node": "node-a.lan",
            },
            "ownerReferences": [
                {
                    "apiVersion": "akri.sh/v0",
                    "kind": "Instance",
                    "name": "cams-4294ea",
                    "uid": "instance-1",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "containers": [asking(limits={"akri.sh/cams-4294ea": "1"})],
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [
                            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-a.lan"]}]}
                        ]
                    }
                }
            },
        },
    }


def test_a_local_devices_pod_has_no_node_in_its_name() -> None:
    assert pod_name(instance(shared=False), "node") == "cams-4294ea-pod"


@pytest.mark.parametrize("name", ["cams." * 12 + "a", "c" * 63])
def test_a_name_too_long_is_cut_and_still_its_own(name: str) -> None:
    one, other = _named(name + "1", {}), _named(name + "2", {})
    found = {pod_name(one, "node"), pod_name(other, "node"), job_name(one, 12), job_name(other, 12), service_name(name)}
    assert len(found) == 5
    assert all(len(each) <= 63 and "." not in each for each in found)
    assert pod_name(one, "node").endswith("-pod")


def test_a_name_of_exactly_63_is_left_alone() -> None:
    assert short("x" * 59, "-pod") == "x" * 59 + "-pod"
    assert len(short("x" * 60, "-pod")) == 63


def test_two_nodes_that_differ_in_dots_only_get_two_pods() -> None:
    stage = Stage({"brokerSpec": pods()}, nodes=["n.1", "n-1"], capacity=2)
    stage.settle()
    assert len(stage.names()) == 2
    assert stage.settle().problems == []


def test_the_placeholder_is_replaced_in_limits_and_requests_of_all_containers() -> None:
    amounts = {"{{PLACEHOLDER}}": "2", "cpu": "1"}
    template = {
        "initContainers": [asking(requests=amounts)],
        "containers": [asking(limits=amounts, requests=amounts), CONTAINER],
    }
    expected = {"akri.sh/cams-4294ea": "2", "cpu": "1"}
    assert with_device(template, instance()) == {
        "initContainers": [asking(requests=expected)],
        "containers": [asking(limits=expected, requests=expected), CONTAINER],
    }


def test_claims_survive_the_placeholder() -> None:
    template = {"containers": [asking(limits={"{{PLACEHOLDER}}": "1"}, claims=[{"name": "gpu"}])]}
    assert with_device(template, instance())["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]


def test_whoever_asks_for_the_resource_gets_no_properties_from_us() -> None:
    template = {"containers": [asking(limits={"{{PLACEHOLDER}}": "1"})]}
    assert "env" not in with_device(template, instance(brokerProperties={"URL": "x"}))["containers"][0]


def test_whoever_does_not_gets_them_in_every_container_plain_and_with_the_digest() -> None:
    template = {"initContainers": [CONTAINER], "containers": [CONTAINER]}
    made = with_device(template, instance(brokerProperties={"URL": "rtsp://x"}))
    expected = [{"name": "URL", "value": "rtsp://x"}, {"name": "URL_4294EA", "value": "rtsp://x"}]
    assert [one["env"] for name in ("initContainers", "containers") for one in made[name]] == [expected, expected]


def test_the_users_own_variable_wins() -> None:
    template = {"containers": [{**CONTAINER, "env": [{"name": "URL", "value": "mine"}]}]}
    made = with_device(template, instance(brokerProperties={"URL": "theirs"}))["containers"][0]["env"]
    assert made == [{"name": "URL_4294EA", "value": "theirs"}, {"name": "URL", "value": "mine"}]


def expanded(value: str) -> str:
    """What the kubelet makes of a value: `$$` is a dollar sign, and `$(NAME)` a variable."""
    out, at = [], 0
    while at < len(value):
        if value.startswith("$$", at):
            out.append("$")
            at += 2
        elif value.startswith("$(", at) and ")" in value[at:]:
            out.append("SECRET")
            at = value.index(")", at) + 1
        else:
            out.append(value[at])
            at += 1
    return "".join(out)


@given(st.text() | st.text(alphabet="$()A"))
def test_a_device_cannot_read_its_brokers_secrets_through_its_properties(value: str) -> None:
    made = with_device({"containers": [CONTAINER]}, instance(brokerProperties={"NAME": value}))
    assert expanded(made["containers"][0]["env"][0]["value"]) == value


def test_a_property_that_no_variable_can_be_called_is_told_and_left_out() -> None:
    stage = Stage({"brokerSpec": pods()}, brokerProperties={"a b": "1", "": "2", "OK": "3"})
    plan = stage.settle()
    assert [one.reason for one in plan.problems] == ["PropertyName"]
    assert set(environment(stage.instance)) == {"OK", "OK_4294EA"}
    stage.becomes("Pod")
    assert stage.settle().status["phase"] == "Running"


def test_the_node_is_a_further_requirement_of_every_alternative_of_the_users() -> None:
    gpu = {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}
    zone = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}
    preferred = [{"weight": 1, "preference": gpu}]
    affinity = {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [gpu, zone]}, "preferredX": preferred},
        "podAffinity": {},
    }
    made = pinned({"affinity": affinity}, "n")["affinity"]
    here = [{"key": "metadata.name", "operator": "In", "values": ["n"]}]
    assert made["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {**gpu, "matchFields": here},
        {**zone, "matchFields": here},
    ]
    assert made["nodeAffinity"]["preferredX"] == preferred
    assert made["podAffinity"] == {}


def test_an_alternative_that_selects_nothing_still_selects_nothing() -> None:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{}]}}}
    assert pinned({"affinity": affinity}, "n") == {"affinity": affinity}


def test_the_node_is_read_back_also_beside_the_users_own_field() -> None:
    field = {"key": "metadata.name", "operator": "NotIn", "values": ["other"]}
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchFields": [field]}]}}}
    assert node_of({"spec": pinned({"affinity": affinity}, "n")}) == "n"


WORDS = f"""containers initContainers env resources limits affinity nodeAffinity {REQUIRED} nodeSelectorTerms
matchFields template spec metadata labels name {{{{PLACEHOLDER}}}}""".split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["containers", "affinity", "template", "spec", "x"]), JSON, max_size=4))
def test_a_template_of_any_shape_harms_nobody(template: dict[str, Any]) -> None:
    spec = {"brokerSpec": {"brokerPodSpec": template, "brokerJobSpec": template}, "instanceServiceSpec": template}
    stage = Stage(spec, brokerProperties={"URL": "x"})
    stage.settle()
    stage.becomes("Pod")
    assert stage.names("Pod") == ["a-cams-4294ea-pod"]
    assert stage.settle().problems == []

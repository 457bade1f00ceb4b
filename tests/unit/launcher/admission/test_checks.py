"""A Configuration that cannot work is told so, with the place, the reason and what was probably meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ashore_broker_launcher.admission.checks import Rules, problems, warnings
from ashore_broker_launcher.config import MANIFEST_KINDS
from tests.kube.akri_samples import samples
from tests.unit.launcher.admission.configurations import CONTAINER, RULES, configuration, job, pod, said

FILES = sorted((Path(__file__).parents[4] / "examples").rglob("configuration*.yaml"))
DETAILS = "spec.discoveryHandler.discoveryDetails"


@pytest.mark.parametrize("sample", samples(), ids=lambda one: one["metadata"]["name"])
def test_what_users_of_akri_have_is_accepted(sample: dict[str, Any]) -> None:
    assert problems(sample, RULES) == []
    assert warnings(sample) == []


def test_everything_of_ours_at_once_is_accepted() -> None:
    assert not said(
        **pod(),
        match={"all": [{"fact": "vendor", "glob": "Axis*"}, {"not": {"fact": "ip", "cidr": "10.0.0.0/8"}}]},
        departure={"grace": 30, "flap": {"count": 2, "first_hold": 1}},
        identity=["serial", "path"],
        nodes=["edge-*"],
        rollout={"maintenanceWindow": {"from": "22:00", "until": "05:00", "timeZone": "Europe/Berlin"}, "canary": 2},
        brokerManifests=[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
    )


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.parent.name)
def test_configurations_of_the_examples_are_accepted(file: Path) -> None:
    found = [one for one in yaml.safe_load_all(file.read_text()) if one and one["kind"] == "Configuration"]
    assert found
    for one in found:
        assert problems(one, Rules(manifest_kinds=MANIFEST_KINDS)) == []


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"capacitty": 2}, "spec has no 'capacitty'; did you mean 'capacity'?"),
        ({"rollout": {"canarry": 2}}, "spec.rollout has no 'canarry'; did you mean 'canary'?"),
        ({"departure": {"flap": {"maxhold": 1}}}, "spec.departure.flap has no 'maxhold'; did you mean 'max_hold'?"),
        ({"match": {"all": [{"fakt": "x"}]}}, "spec.match.all[0] has no 'fakt'; did you mean 'fact'?"),
        ({"brokerSpec": {"brokerPod": {}}}, "spec.brokerSpec has no 'brokerPod'; did you mean 'brokerPodSpec'?"),
        ({"capacity": "two"}, "spec.capacity: Expected `int`, got `str`"),
        ({"capacity": 0}, "spec.capacity: Expected `int` >= 1"),
        ({"identity": ["name"]}, "spec.identity[0] must be one of"),
        ({"departure": {"grace": -1}}, "spec.departure.grace must be bigger than or equal to 0, not '-1'"),
        ({"match": {"fact": "x"}}, "spec.match says nothing about its fact: add one of equals"),
        ({"match": {"glob": "x"}}, "spec.match has 'glob' without a fact"),
        (
            {"match": {"all": [{"any": [], "not": {"fact": "x", "min": 1}}]}},
            "spec.match.all[0] needs exactly one of all",
        ),
        ({"match": {"not": {"fact": "x", "cidr": "y"}}}, "spec.match.not.cidr is no network: write 10.1.2.0/24"),
        ({"match": {"any": [{"fact": "x", "regex": "("}]}}, "spec.match.any[0].regex is no regular expression"),
        (
            {"rollout": {"maintenanceWindow": {"from": "1:00", "until": "02:00"}}},
            "spec.rollout.maintenanceWindow.from: Expected `str` matching regex",
        ),
        (
            {"rollout": {"maintenanceWindow": {"from": "01:00", "until": "02:00", "timeZone": "../../etc/passwd"}}},
            "spec.rollout.maintenanceWindow.timeZone: there is no time zone",
        ),
        (
            {"brokerManifests": [{"apiVersion": "v1", "kind": "Secret"}]},
            "spec.brokerManifests[0] is a v1/Secret, which is not allowed; allowed are v1/ConfigMap, apps/",
        ),
        (
            {"brokerManifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system"}}]},
            "spec.brokerManifests[0] names the namespace 'kube-system'",
        ),
        ({"brokerSpec": {}}, "spec.brokerSpec needs exactly one of brokerPodSpec and brokerJobSpec; it has neither"),
        (
            {"brokerSpec": {**pod()["brokerSpec"], **job()["brokerSpec"]}},
            "spec.brokerSpec needs exactly one of brokerPodSpec and brokerJobSpec; it has both",
        ),
    ],
)
def test_a_mistake_has_its_sentence(spec: dict[str, Any], sentence: str) -> None:
    [one] = said(**spec)
    assert one.startswith(sentence)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (pod(spec={}), "brokerPodSpec has no 'spec': it is only the spec of a Pod"),
        (pod(containers=[]), "brokerPodSpec needs containers: a list of at least one"),
        (job(containers=[]), "brokerJobSpec has no 'containers': that belongs below spec.brokerSpec.brokerJobSpec."),
        (job(metadata={}), "brokerJobSpec has no 'metadata': it is only the spec of a Job"),
        (job(template={}), "brokerJobSpec needs a template with a spec, which has the containers"),
        (pod(containers=[{**CONTAINER, "image": "{{PLACEHOLDER}}"}]), "containers[0].image has {{PLACEHOLDER}}"),
        (pod(nodeSelector={"{{PLACEHOLDER}}": "1"}), "brokerPodSpec.nodeSelector has the name {{PLACEHOLDER}}"),
        (job(podFailurePolicy={"a": "{{PLACEHOLDER}}"}), "brokerJobSpec.podFailurePolicy.a has {{PLACEHOLDER}}"),
    ],
)
def test_what_is_in_the_wrong_place_of_a_broker_is_told(spec: dict[str, Any], sentence: str) -> None:
    found = said(**spec)
    assert any(sentence in one for one in found), found


def test_the_placeholder_belongs_into_requests_and_limits_of_all_containers() -> None:
    assert not said(**pod(initContainers=[CONTAINER, {**CONTAINER, "resources": {"requests": {"{{PLACEHOLDER}}": 1}}}]))
    assert not said(**job())


@pytest.mark.parametrize(
    ("handler", "details", "sentence"),
    [
        ("udev", "udevRule: []", f"{DETAILS} has no 'udevRule'; did you mean 'udevRules'?"),
        ("udev", "", f"{DETAILS} must contain ['udevRules'] properties"),
        ("udev", "udevRules: ['KERNEL=\"x\"']", f"{DETAILS}.udevRules[0] KERNEL=: only == and != are known"),
        ("udev", "udevRules: ['RUN==\"rm\"']", f"{DETAILS}.udevRules[0] RUN does something, and rules"),
        (
            "udev",
            "udevRules: ['']\npermissions: rwx",
            f"Invalid udev discovery details device permissions: {DETAILS}.permissions must be one of",
        ),
        ("onvif", "uuids: {action: Only}", f"{DETAILS}.uuids.action must be one of ['Exclude', 'Include'], not 'Only'"),
        ("onvif", "macAddresses: {items: [x]}", f"{DETAILS}.macAddresses: 'x' is no hardware address"),
        (
            "opcua",
            "opcuaDiscoveryMethod: {standard: {discoveryUrls: ['http://x']}}",
            f"{DETAILS}: 'http://x' is no",
        ),
        ("mdns", "{}", f"{DETAILS} looks for nothing"),
        ("debugEcho", "descriptions: [1]", f"{DETAILS}.descriptions[0] must be string, not '1'"),
        ("debugEcho", "descriptions: [2020-01-01]", f"{DETAILS}: descriptions[0] is a date: put it in quotes"),
        ("debugEcho", "just words", f"{DETAILS}: it must be names with values (`name: value`), and is a text"),
        ("debugEcho", "a: [", f"{DETAILS}: it is no YAML: "),
        ("+++", "", "spec.discoveryHandler.name has neither a letter nor a digit"),
    ],
)
def test_details_are_held_against_what_the_handler_understands(handler: str, details: str, sentence: str) -> None:
    [one] = said(handler, details)
    assert one.startswith(sentence)


def test_a_password_in_plain_text_is_refused_and_not_repeated() -> None:
    plain = [{"name": "username_default", "value": "root"}, {"name": "password_default", "value": "hunter2"}]
    [one] = said("onvif", "", properties=plain)
    assert "'password_default' holds a secret that everybody can read: use valueFrom.secretKeyRef" in one
    assert "hunter2" not in one


def test_a_handler_that_nobody_has_yet_is_no_mistake_but_worth_a_word() -> None:
    body = configuration("home-made", "whatever it reads")
    assert problems(body, RULES) == []
    assert warnings(body)[0].startswith("discoveryHandler.name: ashore has no handler 'home-made', so nothing is found")


def test_properties_that_a_handler_does_not_take_are_worth_a_word() -> None:
    body = configuration(properties=[{"name": "a", "value": "b"}])
    assert problems(body, RULES) == []
    assert warnings(body) == [
        "discoveryHandler.discoveryProperties: the handler 'debug-echo' takes none, so they are not used"
    ]


def test_a_name_that_is_too_long_is_refused() -> None:
    body = configuration()
    body["metadata"]["name"] = "a" * 47
    [one] = problems(body, RULES)
    assert one.startswith("metadata.name has 47 characters")


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ({"data": {"a": "{{INSTANCE}} {{ properties.URL }} \\{{X}}"}}, ""),
        ({"data": {"a": "{{INSTANC}}"}}, "has {{INSTANC}}, which is no placeholder; did you mean {{INSTANCE}}?"),
        ({"data": {"a": "{{ONVIF_DEVICE_UUID}}"}}, "did you mean {{properties.ONVIF_DEVICE_UUID}}?"),
        ({"data": {"{{INSTANCE}}": "a"}}, "cannot be filled in: {{INSTANCE}} stands in the key"),
        ({"metadata": {"generateName": "a-"}}, "has a generateName, which would make a new object each time"),
        ({"metadata": []}, "has metadata that is no object"),
        ({"kind": "Namespace"}, "is a v1/Namespace, which stands in no namespace"),
    ],
)
def test_a_manifest_is_looked_at_before_there_is_a_device(manifest: dict[str, Any], sentence: str) -> None:
    found = said(brokerManifests=[{"apiVersion": "v1", "kind": "ConfigMap", **manifest}])
    assert sentence in (found[0] if found else "")
    assert bool(found) is bool(sentence)


def nested(depth: int, make: Any) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = make(value)
    return value


@pytest.mark.parametrize("depth", [30, 900, 20_000])
@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: {"all": [inner]}])
@pytest.mark.parametrize("field", ["match", "brokerSpec", "departure", "brokerProperties", "instanceServiceSpec"])
def test_depth_is_no_danger(field: str, make: Any, depth: int) -> None:
    body = configuration(**{field: nested(depth, make)})
    assert isinstance(problems(body, RULES), list)
    body = configuration(**pod(affinity=nested(depth, make)))
    assert bool(problems(body, RULES)) is (depth > 30)


@pytest.mark.parametrize("wrong", [None, 1, "x", [], [1], True, 1.5, {"a": None}])
@pytest.mark.parametrize(
    "field",
    [
        "spec", "metadata", "discoveryHandler", "capacity", "brokerSpec", "brokerManifests", "brokerProperties",
        "match", "departure", "identity", "nodes", "rollout", "instanceServiceSpec",
    ],
)  # fmt: skip
def test_a_wrong_type_anywhere_is_told_and_breaks_nothing(field: str, wrong: Any) -> None:
    body = configuration()
    (body if field in ("spec", "metadata") else body["spec"])[field] = wrong
    assert all(isinstance(one, str) for one in problems(body, RULES))
    warnings(body)


def test_another_kind_of_object_is_told() -> None:
    assert problems({}) == ["it is None None, and not akri.sh/v0 Configuration"]


def test_many_unknown_keys_are_told_in_few_words() -> None:
    found = said(**{f"x{number}": 1 for number in range(1000)})
    assert len(found) == 21
    assert found[-1] == "and 980 more"

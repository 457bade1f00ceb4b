"""What agents are told of a configuration: details in their form, values in Akri's order, secrets by reference only."""

import base64
from typing import Any

import pytest

from ashore_broker_launcher.admission import handlers
from ashore_broker_launcher.desired.handed_out import HandedOut, World, handed_out, references
from ashore_broker_launcher.model import Configuration
from tests.unit.launcher.admission.configurations import configuration

PLACE = "spec.discoveryHandler.discoveryProperties[0] 'a'"
MAPS = {
    ("plant", "m"): {
        "data": {"text": "from data", "both": "data first"},
        "binaryData": {
            "both": base64.b64encode(b"not this").decode(),
            "binary": base64.b64encode(b"as text").decode(),
            "odd": base64.b64encode(b"\xff\xfe").decode(),
        },
    }
}


def handed(*args: Any, shared: tuple[str, ...] = (), maps: Any = MAPS, **spec: Any) -> HandedOut:
    world = World(handlers=handlers.known(), config_maps=maps, shared_namespaces=shared)
    return handed_out(Configuration.read(configuration(*args, **spec)), world)


def secret(**more: Any) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "s", "key": "k", "namespace": "plant", **more}}


def config_map(key: str, **more: Any) -> dict[str, Any]:
    return {"configMapKeyRef": {"name": "m", "key": key, "namespace": "plant", **more}}


def document(*args: Any, **spec: Any) -> dict[str, Any]:
    found = handed(*args, **spec)
    assert found.document is not None, found
    return found.document


def properties(value: dict[str, Any], **more: Any) -> Any:
    return document("home-made", "x", properties=[{"name": "a", **value}], **more)["details"].get("discoveryProperties")


def test_a_handler_of_ours_gets_its_details_as_an_object() -> None:
    assert document() == {"name": "plant.cams", "handler": "debug-echo", "details": {"descriptions": ["foo"]}}


def test_what_chooses_devices_is_passed_on() -> None:
    chosen = {"match": {"fact": "x", "exists": True}, "departure": {"grace": 5}, "identity": ["mac"], "nodes": ["a*"]}
    told = document(**chosen)
    assert {name: told[name] for name in chosen} == chosen


def test_a_handler_of_akri_gets_its_text_word_for_word() -> None:
    text = "# a remark\nanything: at all\n"
    assert document("Home_Made", text)["details"] == {"discoveryDetails": text}
    assert document("Home_Made", text)["handler"] == "home-made"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"value": "x"}, {"value": "x"}),
        ({"value": ""}, {"value": ""}),
        ({}, {}),
        ({"valueFrom": config_map("text")}, {"value": "from data"}),
        ({"valueFrom": config_map("both")}, {"value": "data first"}),
        ({"valueFrom": config_map("binary")}, {"value": "as text"}),
        ({"valueFrom": secret()}, {"secret": "file:plant.s.k"}),
        ({"valueFrom": secret(optional=True)}, {"secret": "file:plant.s.k", "optional": True}),
    ],
)
def test_a_value_is_taken_from_where_akri_takes_it(written: dict[str, Any], told: dict[str, Any]) -> None:
    assert properties(written) == [{"name": "a", **told}]


def test_what_is_optional_and_missing_is_left_out() -> None:
    assert properties({"valueFrom": config_map("none", optional=True)}) is None
    assert properties({"valueFrom": config_map("text", name="other", optional=True)}) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (config_map("none"), "the ConfigMap 'm' in 'plant' has no key 'none'"),
        (config_map("text", name="other"), "there is no ConfigMap 'other' in 'plant'"),
        (config_map("odd"), "the key 'odd' of the ConfigMap 'm' in 'plant' is not text, and nothing else is sent"),
        (
            config_map("odd", optional=True),
            "the key 'odd' of the ConfigMap 'm' in 'plant' is not text, and nothing else",
        ),
    ],
)
def test_what_is_required_and_missing_is_waited_for(value: dict[str, Any], why: str) -> None:
    found = handed("home-made", "x", properties=[{"name": "a", "valueFrom": value}])
    assert found.document is None
    assert not found.problems
    assert found.missing[0].startswith(f"{PLACE}: {why}")


def test_without_config_maps_only_the_form_is_looked_at() -> None:
    found = handed("home-made", "x", properties=[{"name": "a", "valueFrom": config_map("none")}], maps=None)
    assert found.document is not None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"value": "x", "valueFrom": secret()}, "has a value and a valueFrom: keep one"),
        ({"valueFrom": {}}, "needs exactly one of secretKeyRef and configMapKeyRef in its valueFrom"),
        ({"valueFrom": {**secret(), **config_map("text")}}, "needs exactly one of secretKeyRef and configMapKeyRef"),
        ({"valueFrom": secret(key="")}, "names no key of 's'"),
        ({"valueFrom": secret(key="../admin-token")}, "has a slash in a name"),
        (
            {"valueFrom": secret(namespace="kube-system")},
            "refers to the namespace 'kube-system', and the configuration",
        ),
        (
            {"valueFrom": config_map("text", namespace="other")},
            "refers to the namespace 'other', and the configuration",
        ),
    ],
)
def test_a_property_that_cannot_be_has_its_sentence(written: dict[str, Any], why: str) -> None:
    found = handed("home-made", "x", properties=[{"name": "a", **written}])
    assert found.document is None
    assert found.problems[0].startswith(f"{PLACE} {why}")


def test_another_namespace_must_have_been_opened_to_all() -> None:
    value = {"name": "a", "valueFrom": secret(namespace="default")}
    assert handed("home-made", "x", properties=[value]).problems
    assert handed("home-made", "x", properties=[value], shared=("default",)).document is not None


def test_a_name_that_is_there_twice_is_told() -> None:
    twice = [{"name": "a", "value": "x"}, {"name": "a", "value": "y"}]
    assert handed("home-made", "x", properties=twice).problems == [
        "spec.discoveryHandler.discoveryProperties[1] 'a' is there twice"
    ]


def test_onvif_gets_its_properties_with_references_for_secrets() -> None:
    given = [
        {"name": "username_default", "value": "root"},
        {"name": "password_default", "valueFrom": secret()},
        {"name": "nothing"},
    ]
    assert document("onvif", "discoveryTimeoutSeconds: 2", properties=given)["details"] == {
        "discoveryTimeoutSeconds": 2,
        "discoveryProperties": {"username_default": "root", "password_default": "file:plant.s.k"},
    }


def test_the_config_maps_that_it_names_are_known() -> None:
    given = [{"name": "a", "valueFrom": config_map("x")}, {"name": "b", "valueFrom": secret()}, {"name": "c"}]
    assert references(Configuration.read(configuration(properties=given))) == {("plant", "m")}


@pytest.mark.parametrize(
    "written", ["env:ASHORE_NATS_SEED", "file:other.s.k", "file:plant2.s.k", "file:s", "file:plant./../other.s.k"]
)
def test_a_reference_to_what_is_not_its_namespaces_is_refused_wherever_it_is_written(written: str) -> None:
    in_details = handed("onvif", f"discoveryProperties: {{username_default: '{written}'}}")
    in_properties = handed("onvif", "", properties=[{"name": "username_default", "value": written}])
    deep = handed("mqtt", f"brokers: [{{host: a, tls: {{ca: '{written}'}}}}]")
    for found in (in_details, in_properties, deep):
        assert found.document is None
        (problem,) = found.problems
        assert written in problem
        assert "file:plant." in problem


def test_a_reference_to_a_secret_of_its_own_namespace_may_be_written_by_hand() -> None:
    told = document("onvif", "discoveryProperties: {username_default: 'file:plant.s.k'}")
    assert told["details"]["discoveryProperties"] == {"username_default": "file:plant.s.k"}
    shared = handed("onvif", "discoveryProperties: {username_default: 'file:other.s.k'}", shared=("other",))
    assert shared.document is not None

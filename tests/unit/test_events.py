"""The contract: what an event looks like on the wire, and what is not taken for one."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ashore import events
from ashore.events_asyncapi import asyncapi

GUID = "0123456789abcdef0123456789abcdef"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def issued(guid: str = GUID) -> events.VoucherIssued:
    return events.VoucherIssued(guid=guid, serial="SN 1/2.3", device_info="model-x", key_type="SECP256R1")


def body_of(event: events.Event, **changes: str) -> bytes:
    wrapped = events.envelope(event, source="/manufacturer/a", id="id-1", time=NOON)
    return events.encode(msgspec.structs.replace(wrapped, **changes))


def test_a_subject_is_the_name_and_the_guid() -> None:
    assert issued().subject == f"voucher-issued.{GUID}"


def test_an_event_on_the_wire_is_a_structured_cloudevent() -> None:
    wrapped = events.envelope(issued(), source="/manufacturer/a", id="id-1", time=NOON, traceparent="00-1-2-01")
    assert msgspec.json.decode(events.encode(wrapped)) == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "/manufacturer/a",
        "type": "dev.ashore.voucher-issued.v1",
        "subject": f"voucher-issued.{GUID}",
        "time": "2026-11-23T12:00:00Z",
        "datacontenttype": "application/json",
        "traceparent": "00-1-2-01",
        "data": {"guid": GUID, "serial": "SN 1/2.3", "device_info": "model-x", "key_type": "SECP256R1"},
    }


def test_without_a_trace_there_is_no_traceparent() -> None:
    assert b"traceparent" not in body_of(issued())


INSTANCE = {"site": "s", "namespace": "edge.one", "configuration": "cams", "instance": "cams-4294ea", "uid": "u-1"}
WORKLOAD = {**INSTANCE, "kind": "Pod", "workload": "cams-4294ea-pod", "node": "node-a"}
EXAMPLES: list[events.Event] = [
    issued(),
    events.VoucherExtended(guid=GUID, serial="1", voucher="AA==", owner_key="0" * 64, digest="f" * 64),
    events.VoucherReceived(guid=GUID, serial="1", device_info="m", origin="event"),
    events.OwnerRegistered(
        guid=GUID, addresses=["http://owner:8042"], wait_seconds=3600, expires_at="2026-11-23T13:00:00Z"
    ),
    events.DeviceRedirected(guid=GUID, addresses=["http://owner:8042"]),
    events.OnboardingStarted(guid=GUID, device_info="m", replica="a", attempt=1),
    events.OnboardingFailed(guid=GUID, code=100, message_number=64, reason="r", remedy=""),
    events.DeviceOnboarded(guid=GUID, new_guid=GUID, profile="", credential_reuse=True, duration_ms=7),
    events.DeviceSeen(
        site="s",
        node="n",
        handler="udev",
        key="path-a",
        change="appeared",
        state="present",
        epoch=1,
        revision=1,
        cause="add",
        wire_at=1,
        seen_at=1,
        matches=[events.Match(configuration="usb", instance="usb-a")],
    ),
    events.AgentAlive(site="s", node="n", epoch=1, interval_seconds=10, release="1", started_at=1, devices=2),
    events.ConfigurationSet(site="s", token="usb", configuration=msgspec.Raw(b"null")),
    events.InstanceAdded(
        **INSTANCE, device="serial-a", nodes=[events.InstanceNode(node="node-a")], usage={"cams-4294ea-0": "node-a"}
    ),
    events.InstanceChanged(**INSTANCE, device="serial-a", properties={"URL": "rtsp://camera"}),
    events.InstanceRemoved(**INSTANCE, cause="disappeared"),
    events.WorkloadLaunched(**WORKLOAD),
    events.WorkloadFailed(**WORKLOAD, reason="Error", exit_code=1, log="no"),
    events.WorkloadFinished(**WORKLOAD, log="done"),
    events.WorkloadStopped(**WORKLOAD, cause="instance-removed"),
    events.DeadLetter(durable="owner", event="voucher-extended", stream="FACTS", sequence=1, attempts=2, reason="r"),
]


def test_a_kubernetes_name_is_one_part_of_a_subject() -> None:
    assert events.InstanceRemoved(**INSTANCE, cause="x").subject == "instance-removed.s.edge-one.cams.cams-4294ea"


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.name)
def test_every_event_comes_back_as_it_was(event: events.Event) -> None:
    assert events.open_event(events.decode(body_of(event))) == event


def test_every_event_has_an_example_above() -> None:
    assert {type(event) for event in EXAMPLES} == set(events.EVENTS)


@pytest.mark.parametrize("guid", ["", GUID.upper(), GUID + "\n", GUID[:-1], f"{GUID[:-2]}.*", "../" + GUID[3:]])
def test_an_event_with_a_wrong_guid_is_never_made(guid: str) -> None:
    with pytest.raises(events.EventError, match="guid"):
        events.envelope(issued(guid), source="/manufacturer/a", id="id-1", time=NOON)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(events.EventError, match="time"):
        events.envelope(issued(), source="/manufacturer/a", id="id-1", time=NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"specversion":"0.3"}',
        body_of(issued())[:-1],
        body_of(issued()) + b"x",
        body_of(issued()).replace(b'"1.0"', b'"1.1"'),
        body_of(issued()).replace(b'"id-1"', b'""'),
        body_of(issued()).replace(b"dev.ashore.", b"com.evil."),
        body_of(issued()).replace(b"2026-11-23T12:00:00Z", b"yesterday"),
        body_of(issued()).replace(f"voucher-issued.{GUID}".encode(), b"voucher-issued.*"),
        body_of(issued()).replace(f"voucher-issued.{GUID}".encode(), f"voucher-issued.{GUID}\\n".encode()),
    ],
    ids=range(16),
)
def test_a_body_that_is_no_envelope_is_refused(body: bytes) -> None:
    with pytest.raises(events.EventError, match="CloudEvents"):
        events.decode(body)


def test_a_body_larger_than_a_mebibyte_is_refused_unread() -> None:
    with pytest.raises(events.EventError, match="bytes"):
        events.decode(b" " * (events.MAX_EVENT_BYTES + 1))


def test_unknown_attributes_and_fields_of_later_releases_are_taken() -> None:
    body = body_of(issued()).replace(b'"data":{', b'"ext":"x","data":{"later":1,')
    assert events.open_event(events.decode(body)) == issued()


@pytest.mark.parametrize(
    "data", [b'{"guid":1}', b'{"guid":"\xff"}', b"[]", b"{}", b'{"guid":' + b"[" * 200 + b"]" * 200 + b"}"]
)
def test_data_that_breaks_the_contract_is_refused(data: bytes) -> None:
    wrapped = msgspec.structs.replace(events.decode(body_of(issued())), data=msgspec.Raw(data))
    with pytest.raises(events.EventError, match="breaks the contract"):
        events.open_event(wrapped)


def test_an_event_under_another_devices_subject_is_refused() -> None:
    with pytest.raises(events.EventError, match="its subject"):
        events.open_event(events.decode(body_of(issued(), subject="voucher-issued." + "f" * 32)))


def test_a_type_of_a_later_release_is_named_as_such() -> None:
    with pytest.raises(events.EventError, match="unknown to this release"):
        events.open_event(events.decode(body_of(issued(), type="dev.ashore.voucher-issued.v2")))


def test_every_fact_has_its_stream() -> None:
    assert {events.stream_of([event.name]).name for event in events.FACT_EVENTS} == {"FACTS"}
    assert events.FACTS.subjects == tuple(f"{event.name}.>" for event in events.FACT_EVENTS)


def test_a_stream_is_found_by_name_filter_or_subject() -> None:
    assert events.stream_of(["device-seen.site.*.>"]) is events.PRESENCE
    assert events.stream_of([f"rendezvous-blob.{GUID}"]) is events.RENDEZVOUS
    assert events.stream_of([">"]) is events.FACTS


@pytest.mark.parametrize("subjects", [[], ["nonsense"], ["*.x"], ["voucher-issued", "device-seen"]])
def test_subjects_of_no_stream_or_of_several_are_refused(subjects: list[str]) -> None:
    with pytest.raises(events.EventError):
        events.stream_of(subjects)


def test_no_subject_is_in_two_streams() -> None:
    subjects = [subject for stream in events.STREAMS for subject in stream.subjects]
    assert len(subjects) == len(set(subjects))


def test_the_asyncapi_document_describes_every_event_and_field() -> None:
    document: dict[str, Any] = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {event.name for event in events.EVENTS}
    schemas = document["components"]["schemas"]
    for event in events.EVENTS:
        fields = schemas[event.__name__]["properties"]
        assert set(fields) == set(event.__struct_fields__)
        bare = [name for name, field in fields.items() if "description" not in field and "anyOf" not in field]
        assert bare == [], f"{event.__name__} has fields without a description"


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target

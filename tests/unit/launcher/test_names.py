"""Names as Akri gives them."""

import pytest

from ashore_broker_launcher import names
from ashore_broker_launcher.desired.instances import device_id, naming
from ashore_broker_launcher.presence import Sighting
from tests.unit.launcher.kit import seen


@pytest.mark.parametrize(
    ("device", "node", "digest"),
    [
        ("my_local_device", "my_node", "e77db4"),
        ("my_local_device", "my_other_node", "099763"),
        ("my_shared_device", "", "4294ea"),
        ("dev_1", "", "cb2ad7"),
        ("dev_2", "", "7bbc11"),
        ("foo0", "", "8120fe"),
        ("foo1", "", "a19705"),
        ("bar0", "", "d46b65"),
        ("bar1", "", "ab76e6"),
    ],
)
def test_digests_are_akris(device: str, node: str, digest: str) -> None:
    assert names.digest(device, node) == digest


def sightings(**about: object) -> list[Sighting]:
    event = seen(**about)  # type: ignore[arg-type]
    return [Sighting(event, match) for match in event.matches]


def test_a_device_that_only_its_handler_names_has_akris_digest() -> None:
    found = sightings(key="id-abc", handler="debug-echo", facets=("debug-echo:foo0",), shared=True)
    assert device_id(found[0]) == "foo0"
    assert naming("akri-debug-echo", found, lambda _: "").digest == "8120fe"


def test_a_device_that_a_serial_names_keeps_its_name_wherever_it_is_plugged_in() -> None:
    one = sightings(key="serial-k5qm", facets=("udev:/devices/usb1/1-1",))
    other = sightings(key="serial-k5qm", facets=("udev:/devices/usb1/1-2",))
    assert naming("serials", one, lambda _: "") == naming("serials", other, lambda _: "")


def test_a_local_device_has_another_name_on_another_node() -> None:
    one, other = sightings(node="node-a"), sightings(node="node-b")
    assert naming("cams", one, lambda _: "") != naming("cams", other, lambda _: "")


def test_two_devices_with_one_digest_are_told_apart() -> None:
    found = naming("cams", sightings(), lambda _: "serial-of-another")
    assert found.collided
    assert len(found.digest) == 2 * names.LONGER_DIGEST_BYTES


def test_configurations_of_one_name_in_two_namespaces_have_names_of_their_own() -> None:
    pairs = [("a", "b-c"), ("a-b", "c"), ("a", "b.c"), ("a-b", "c.d"), ("a", "b-c.d")]
    assert len({names.bus_token(*pair) for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert names.from_bus_name(names.bus_name(*pair)) == pair

"""The table of what agents see: events twice, late and in any order."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ashore.events import DeviceSeen
from ashore_broker_launcher.presence import Presence
from tests.unit.launcher.kit import alive, seen

CAMS = "default.cams"


def nodes(presence: Presence, key: str = "serial-k5qm", configuration: str = CAMS) -> list[str]:
    return [one.node for one in presence.sightings(configuration, key)]


def test_a_device_is_seen_by_each_node_that_tells_it() -> None:
    presence = Presence()
    assert presence.hear(seen(node="node-b")) == {(CAMS, "serial-k5qm")}
    presence.hear(seen(node="node-a"))
    assert nodes(presence) == ["node-a", "node-b"]
    assert presence.devices(CAMS) == {"serial-k5qm"}


def test_a_device_that_disappeared_is_seen_no_more() -> None:
    presence = Presence()
    presence.hear(seen())
    assert presence.hear(seen(revision=2, change="disappeared")) == {(CAMS, "serial-k5qm")}
    assert nodes(presence) == []


def test_a_device_that_is_unknown_or_in_its_grace_stays() -> None:
    presence = Presence()
    presence.hear(seen())
    presence.hear(seen(revision=2, change="unknown", state="unknown"))
    assert nodes(presence) == ["node-a"]
    presence.hear(seen(revision=3, change="changed", state="absent"))
    assert nodes(presence) == ["node-a"]


def test_an_event_that_is_late_changes_nothing() -> None:
    presence = Presence()
    presence.hear(seen(revision=2, change="disappeared"))
    assert presence.hear(seen(revision=1)) == set()
    assert nodes(presence) == []


def test_what_was_not_told_again_in_a_whole_snapshot_is_gone() -> None:
    presence = Presence()
    presence.hear(seen("serial-a"))
    presence.hear(seen("serial-b"))
    presence.hear(seen("serial-a", epoch=2))
    assert presence.alive(alive(epoch=2), 0) == {(CAMS, "serial-b")}
    assert presence.devices(CAMS) == {"serial-a"}
    assert presence.hear(seen("serial-b", epoch=1, revision=9)) == set()
    assert presence.devices(CAMS) == {"serial-a"}, "an event of an older snapshot is of the past"


def test_a_configuration_that_wants_a_device_no_longer_loses_it() -> None:
    presence = Presence()
    presence.hear(seen(configurations=(CAMS, "default.others")))
    touched = presence.hear(seen(revision=2, change="changed", configurations=("default.others",)))
    assert touched == {(CAMS, "serial-k5qm"), ("default.others", "serial-k5qm")}
    assert presence.devices(CAMS) == set()


def test_an_agent_that_is_silent_for_three_intervals_is_lost_and_its_devices_stay() -> None:
    presence = Presence()
    presence.alive(alive(interval=10), 100)
    presence.hear(seen())
    assert presence.lost(129) == frozenset()
    assert presence.lost(131) == {"node-a"}
    assert nodes(presence) == ["node-a"]


def test_an_agent_is_complete_after_its_first_snapshot() -> None:
    presence = Presence()
    assert not presence.is_complete("node-a")
    presence.alive(alive(epoch=0), 0)
    assert not presence.is_complete("node-a")
    presence.alive(alive(epoch=1), 0)
    assert presence.is_complete("node-a")


EVENTS = st.lists(
    st.builds(
        lambda key, node, epoch, revision, change, names: seen(
            key, node=node, epoch=epoch, revision=revision, change=change, configurations=tuple(names)
        ),
        st.sampled_from(["serial-a", "serial-b"]),
        st.sampled_from(["node-a", "node-b"]),
        st.integers(1, 3),
        st.integers(1, 4),
        st.sampled_from(["appeared", "changed", "disappeared", "unknown"]),
        st.lists(st.sampled_from(["default.cams", "default.others"]), unique=True),
    ),
    max_size=12,
    unique_by=lambda event: (event.node, event.key, event.epoch, event.revision),
)


@given(EVENTS, st.data())
def test_the_order_in_which_events_come_and_how_often_changes_nothing(
    events: Sequence[DeviceSeen], data: st.DataObject
) -> None:
    one, other = Presence(), Presence()
    shuffled = data.draw(st.permutations([*events, *events[:3]]))
    for event in events:
        one.hear(event)
    for event in shuffled:
        other.hear(event)
    for configuration in ("default.cams", "default.others"):
        assert one.devices(configuration) == other.devices(configuration)
        for key in one.devices(configuration):
            left, right = one.sightings(configuration, key), other.sightings(configuration, key)
            assert msgspec.to_builtins([item.seen for item in left]) == msgspec.to_builtins(
                [item.seen for item in right]
            )

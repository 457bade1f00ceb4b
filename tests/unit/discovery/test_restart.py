"""What an agent remembers of its last run, and what it makes of it."""

from pathlib import Path

import msgspec

from ashore_discovery.store import State, Store, keep, restore
from ashore_discovery.tracking.presence import Manners
from tests.discovery_kit import Stage, configuration


def again(stage: Stage, **manners: bool) -> Stage:
    """A later run, with what the earlier one has written."""
    kept = msgspec.json.decode(
        msgspec.json.encode(keep(stage.tracker.registry.devices.values(), 7, [], {})), type=State
    )
    later = Stage(*[one.configuration for one in stage.desk._wanted.values()], **manners)
    later.clock.now = stage.clock.now + 60
    for device in kept.devices:
        later.tracker.restore(restore(device), later.clock.now)
    return later


def test_what_is_still_there_is_no_news() -> None:
    stage = Stage()
    stage.see(identity={"mac": "ac:cc:8e:0a:0b:0c"}, vendor="Axis")
    later = again(stage)
    assert later.see(identity={"mac": "ac:cc:8e:0a:0b:0c"}, vendor="Axis") == []
    assert later.wait(3600) == []
    assert later.key() == stage.key()


def test_what_has_changed_meanwhile_goes_on_counting() -> None:
    stage = Stage()
    stage.see(vendor="Axis")
    later = again(stage)
    assert later.see(vendor="Axis", model="M3045") == ["changed"]
    assert later.changes[-1].view.revision == 2


def test_what_left_meanwhile_is_gone_after_the_first_look_around() -> None:
    stage = Stage()
    stage.see()
    later = again(stage)
    later.manners = Manners(handler="plain", exhaustive=True)
    found = later.tracker.registry.find("plain", "cam-1")
    assert found is not None
    found[1].manners = later.manners
    assert later.swept(later.clock.now) == ["disappeared"]


def test_what_nobody_has_looked_at_becomes_unknown_and_not_gone() -> None:
    stage = Stage()
    stage.see()
    later = again(stage)
    assert later.wait(14) == []
    assert later.wait(2) == ["unknown"]
    assert later.wait(86_400) == []


def test_a_device_at_an_address_that_changed_meanwhile_keeps_its_key() -> None:
    stage = Stage()
    stage.see("a", identity={"uuid": "abc-1"}, address="10.0.0.1")
    later = again(stage)
    later.see("a", identity={"uuid": "abc-1"}, address="10.0.0.2", ip="10.0.0.2")
    assert later.key("a") == stage.key("a")
    assert len(later.tracker.registry.devices) == 1


def test_a_grace_that_ran_begins_again() -> None:
    stage = Stage(configuration(departure={"grace": 30}))
    stage.see()
    stage.see(kind="gone")
    later = again(stage)
    assert later.see() == ["changed"]
    assert later.told[-1][2] == "returned"


async def test_a_broken_file_costs_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, State)
    assert store.read() == State()
    (tmp_path / "discovery-state.json").write_bytes(b'{"devices": [{')
    assert store.read() == State()
    (tmp_path / "discovery-state.json").write_bytes(b"\xff\xfe")
    assert store.read() == State()
    store.write()
    assert (tmp_path / "discovery-state.json").stat().st_mode & 0o077 == 0

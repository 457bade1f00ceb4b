"""How many new devices are believed, and who must answer first; on a clock that is turned by hand."""

from ashore_discovery.handler import Limits
from ashore_discovery.limits import MOST_SENDERS, PerSender
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.listening.listener import manners_of
from tests.discovery_kit import Clock, Stage

MAC = "ac:cc:8e:0a:0b:0c"


def crowd(unproven: int = 2, **limits: float) -> Stage:
    stage = Stage(announced=True, probes=True, limits=Limits(unproven=unproven, **limits))  # type: ignore[arg-type]
    for number in range(unproven):
        assert stage.see(f"first-{number}") == ["appeared"]
    return stage


def test_of_ten_thousand_spoofed_hellos_fifty_are_told_and_no_more() -> None:
    stage = Stage(announced=True, probes=True)
    told = [kind for number in range(10_000) for kind in stage.see(f"forged-{number}")]
    assert told == ["appeared"] * 50
    gate = stage.tracker.quarantines["plain"]
    assert len(gate.held) == len(stage.asked) == 1000
    while stage.asked:
        assert stage.answer(alive=False) == []
    assert gate.held == {}
    assert gate.refused == 9_950
    assert len(gate.waiting) == 200


def test_after_the_flood_the_limit_of_believed_devices_is_not_used_up() -> None:
    stage = Stage(announced=True, probes=True, limits=Limits(burst=60, per_second=0, unproven=50))
    for number in range(10_000):
        stage.see(f"forged-{number}")
    while stage.asked:
        stage.answer(alive=False)
    assert stage.see("real") == []
    assert stage.answer(alive=True) == ["appeared"]


def test_who_answers_is_told_with_its_latest_words() -> None:
    stage = crowd()
    assert stage.see("cam", cause="hello") == []
    assert [ask.what for ask in stage.asked] == ["prove"]
    assert stage.see("cam", cause="hello", model="M3045") == []
    assert len(stage.asked) == 1
    assert stage.answer(alive=True) == ["appeared"]
    assert stage.changes[-1].view.facts == {"model": "M3045"}
    assert stage.see("cam", kind="gone") == ["disappeared"]


def test_who_does_not_answer_is_asked_once_more_and_may_come_again() -> None:
    stage = crowd()
    stage.see("cam")
    assert stage.answer(alive=False) == []
    assert stage.answer(alive=False) == []
    assert stage.asked == []
    assert list(stage.tracker.quarantines["plain"].waiting) == ["cam"]
    stage.see("cam")
    assert stage.answer(alive=True) == ["appeared"]
    assert stage.tracker.quarantines["plain"].waiting == {}


def test_who_leaves_while_it_is_asked_is_not_told() -> None:
    stage = crowd()
    for kind in ("bye", "gone", "missed"):
        stage.see("cam")
        assert stage.see("cam", kind=kind) == []
        assert stage.answer(alive=True) == []
    assert stage.tracker.quarantines["plain"].held == {}


def test_who_cannot_be_asked_any_more_is_not_told() -> None:
    stage = crowd()
    stage.see("cam")
    stage.lost()
    assert stage.answer(alive=None) == []
    stage.see("other")
    stage.closed()
    assert stage.answer(alive=True) == []


def test_another_side_of_a_device_that_is_known_need_not_prove_itself() -> None:
    stage = crowd()
    stage.see("web", source="mdns", identity={"mac": MAC})
    stage.see("cam")
    assert stage.see("cam", identity={"mac": MAC}) == ["appeared"]
    assert stage.key("cam") == stage.key("web", "mdns")
    assert stage.tracker.quarantines["plain"].held == {}
    assert stage.answer(alive=True) == []


def test_as_time_passes_some_more_are_told_at_once() -> None:
    stage = crowd()
    assert stage.see("late") == []
    stage.clock.now += 2
    assert stage.see("later") == ["appeared"]


def test_what_nobody_can_forge_and_what_cannot_be_asked_is_told_at_once() -> None:
    for manners in ({"announced": False, "probes": True}, {"announced": True, "probes": False}):
        stage = Stage(limits=Limits(unproven=2), **manners)
        assert [kind for number in range(10) for kind in stage.see(f"cam-{number}")] == ["appeared"] * 10


def test_each_sender_has_a_limit_of_its_own_and_only_so_many_are_remembered() -> None:
    clock = Clock()
    senders = PerSender(1, 3, clock)
    assert [senders.take("10.0.0.1") for _ in range(5)] == [True] * 3 + [False] * 2
    assert senders.take("10.0.0.2")
    clock.now += 1
    assert [senders.take("10.0.0.1") for _ in range(2)] == [True, False]
    for number in range(10_000):
        senders.take(str(number))
    assert len(senders) == MOST_SENDERS


def test_whatever_believes_announcements_can_ask_who_sends_them() -> None:
    catalogue = Catalogue()
    found = [manners_of(catalogue.load(name)) for name in catalogue.names()]
    assert sorted(one.handler for one in found if one.announced) == ["mdns", "onvif", "ssdp"]
    assert all(one.probes for one in found if one.announced)

"""Where a device looks for its owner, and for how long rendezvous info may have it wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.fdo import rvinfo
from ashore.fdo.credential import Credential
from ashore.fdo.errors import InvalidMessageError
from ashore.fdo.rvinfo import Directive
from ashore.fdo.types import HashType, digest
from ashore_device.credential_file import Candidate, Record
from ashore_device.routes import LONGEST_PAUSE, check_new, last_delay, routes

LONGEST_ON_THE_WIRE = 2**32 - 1
DELAYS = st.one_of(st.none(), st.integers(0, LONGEST_ON_THE_WIRE))


def credential(*directives: Directive, guid: bytes = b"g" * 16) -> Credential:
    return Credential(
        guid=guid,
        device_info="test",
        rv_info=rvinfo.encode(list(directives)),
        public_key_hash=digest(HashType.SHA256, b""),
        hmac_secret=b"s" * 32,
    )


def record(*credentials: Credential) -> Record:
    candidates = tuple(Candidate(credential=each) for each in credentials)
    return Record(state="initialised", serial="S-1", device_info="test", private_key=b"", candidates=candidates)


def way(name: str = "rv.example", **given: object) -> Directive:
    return Directive(dns=name, protocol="http", **given)


@given(st.lists(DELAYS, min_size=1, max_size=20), st.integers(1, 3))
def test_no_search_has_a_device_wait_for_more_than_a_day(delays: list[int | None], known: int) -> None:
    one = credential(*(way(f"rv{number}.example", delay_seconds=delay) for number, delay in enumerate(delays)))
    device = record(*[one] * known)
    found = list(routes(device))
    assert len(found) == known * len(delays)
    assert 0 <= sum(route.delay for route in found) <= LONGEST_PAUSE
    assert (last_delay(device) or 0) <= LONGEST_PAUSE


def test_a_delay_within_a_day_is_kept_to_the_second() -> None:
    device = record(credential(way(delay_seconds=3), way("b", delay_seconds=86_000), way("c", delay_seconds=86_400)))
    assert [route.delay for route in routes(device)] == [3, 86_000, 0]
    assert last_delay(device) == 86_400


def test_a_delay_of_years_is_a_day() -> None:
    device = record(credential(way(delay_seconds=LONGEST_ON_THE_WIRE), way("b", delay_seconds=LONGEST_ON_THE_WIRE)))
    assert [route.delay for route in routes(device)] == [LONGEST_PAUSE, 0]
    assert last_delay(device) == LONGEST_PAUSE


NOWHERE = {
    "nothing": [],
    "an empty directive": [Directive()],
    "for owners": [way(owner_only=True)],
    "no address": [Directive(protocol="http", device_port=8040)],
    "another protocol": [Directive(dns="rv.example", protocol="coap")],
    "no protocol": [Directive(dns="rv.example")],
    "no host's address": [Directive(ip="0.0.0.0", protocol="http"), Directive(ip="ff02::1", protocol="http")],
    "no host's name": [way("rv..example")],
    "a bypass to nobody": [Directive(rv_bypass=True, protocol="http")],
}


@pytest.mark.parametrize("info", NOWHERE.values(), ids=NOWHERE)
def test_new_rendezvous_info_that_leads_nowhere_is_refused(info: list[Directive]) -> None:
    with pytest.raises(InvalidMessageError, match="the device keeps its credential"):
        check_new(credential(way()), credential(*info))


@pytest.mark.parametrize(
    "info",
    [
        [way("gone.example")],
        [Directive(ip="192.0.2.1", protocol="https")],
        [way(dev_only=True)],
        [way(rv_bypass=True)],
        [Directive(), way(delay_seconds=LONGEST_ON_THE_WIRE)],
    ],
    ids=["by name", "by address", "for devices", "bypass", "one of two"],
)
def test_new_rendezvous_info_that_may_lead_somewhere_is_taken(info: list[Directive]) -> None:
    check_new(credential(way()), credential(*info))


def test_rendezvous_info_that_stays_as_it_is_makes_nothing_worse() -> None:
    check_new(credential(), credential(guid=b"h" * 16))

"""What a configuration may want, what is made of a device's words, where it may be asked, and who says too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.handlers.http import place
from ashore_discovery.handlers.onvif import gate
from ashore_discovery.handlers.onvif.camera import Told
from ashore_discovery.handlers.onvif.details import OnvifDetails
from ashore_discovery.handlers.onvif.gate import Gate
from ashore_discovery.handlers.onvif.handler import Onvif
from ashore_discovery.handlers.onvif.knowing import Known, places, sighting
from ashore_discovery.handlers.onvif.wsdiscovery import Target
from ashore_discovery.limits import MOST_SENDERS, Network
from ashore_discovery.model import Facet, Offer, Refusal
from tests.discovery_kit import Clock

UUID = "b92b63b5-7c15-4c6d-a677-995f4c50d684"
FACTS = {
    "uuid": UUID,
    "ip": "10.1.2.9",
    "addresses": ["10.1.2.9", "fe80::1"],
    "mac": "ac:cc:8e:01:02:03",
    "url": "http://10.1.2.9/onvif/device_service",
    "scopes": ["onvif://www.onvif.org/type/ptz", "onvif://www.onvif.org/location/yard"],
}


def offered(written: object, **facts: object) -> Offer | Refusal:
    details = read(OnvifDetails, written, "details")
    facet = Facet(source="onvif/eth0", handler="onvif", id=f"urn:uuid:{UUID}", facts={**FACTS, **facts})
    return Onvif.offer(details, facet, lambda: ())


def test_a_broker_gets_what_akri_gives_it() -> None:
    assert offered({}) == Offer(
        properties={
            "ONVIF_DEVICE_SERVICE_URL": "http://10.1.2.9/onvif/device_service",
            "ONVIF_DEVICE_UUID": UUID,
            "ONVIF_DEVICE_IP_ADDRESS": "10.1.2.9",
            "ONVIF_DEVICE_MAC_ADDRESS": "ac:cc:8e:01:02:03",
        }
    )


@pytest.mark.parametrize(
    ("key", "own", "strange"),
    [
        ("ipAddresses", "10.1.2.9", "10.1.2.99"),
        ("ipAddresses", "FE80::1", "10.1.2.99"),
        ("macAddresses", "AC-CC-8E-01-02-03", "ac:cc:8e:01:02:04"),
        ("scopes", "onvif://www.onvif.org/type/ptz", "onvif://www.onvif.org/type"),
        ("uuids", UUID.upper(), "b92b63b5-7c15-4c6d-a677-995f4c50d685"),
        ("uuids", f"urn:uuid:{UUID}", "b92b63b5"),
    ],
)
def test_akris_filters_include_and_exclude(key: str, own: str, strange: str) -> None:
    def wants(items: list[str], **action: str) -> bool:
        return isinstance(offered({key: {"items": items, **action}}), Offer)

    assert wants([own])
    assert wants([strange, own], action="Include")
    assert not wants([strange])
    assert not wants([])
    assert wants([strange], action="Exclude")
    assert not wants([strange, own], action="Exclude")
    assert wants([], action="Exclude")


def test_scopes_are_compared_with_their_case() -> None:
    assert isinstance(offered({"scopes": {"items": ["onvif://www.onvif.org/type/PTZ"]}}), Refusal)


@pytest.mark.parametrize("action", ["Include", "Exclude"])
def test_a_device_whose_hardware_address_is_not_known_cannot_be_chosen_by_it(action: str) -> None:
    answer = offered({"macAddresses": {"action": action, "items": ["ac:cc:8e:01:02:03"]}}, mac=None)
    assert isinstance(answer, Refusal)
    assert "is not known" in answer.why


def test_mistakes_are_told() -> None:
    for wrong in ({"ipAddress": {}}, {"scopes": {"action": "include"}}, {"discoveryTimeoutSeconds": 0}):
        with pytest.raises(ConfigurationError):
            read(OnvifDetails, wrong, "details")
    details = read(OnvifDetails, {"macAddresses": {"items": ["ac:cc"]}}, "details")
    assert "'ac:cc' is no hardware address" in next(iter(Onvif.problems(details)))


def test_filters_do_not_change_the_plan_and_credentials_do() -> None:
    plain = read(OnvifDetails, {}, "details")
    filtered = read(OnvifDetails, {"uuids": {"items": [UUID]}}, "details")
    secret = read(OnvifDetails, {"discoveryProperties": {"username_default": "u"}}, "details")
    slow = read(OnvifDetails, {"discoveryTimeoutSeconds": 3}, "details")
    assert Onvif.plan([plain]) == Onvif.plan([filtered, plain])
    assert Onvif.plan([plain]) != Onvif.plan([secret])
    assert Onvif.plan([plain, slow]).timeout == 3


def known(*xaddrs: str, sender: str = "10.1.2.9") -> Known:
    found = Known(epr=f"urn:uuid:{UUID}", version="2005/04")
    scopes = ["onvif://www.onvif.org/name/Gate%20North", "onvif://www.onvif.org/Profile/T", "onvif://x/y"]
    found.hear(Target(epr=found.epr, types=["Device"], scopes=scopes, xaddrs=list(xaddrs)), sender, 1.0)
    return found


NEARBY = Network()


def test_what_a_device_says_is_made_into_facts_and_identity() -> None:
    one = known("http://10.1.2.9:8080/onvif")
    one.told = Told(
        facts={"vendor": "Axis", "model": "M3045", "serial": "ACCC8E010203", "firmware": "9.80"},
        macs=["ac:cc:8e:01:02:03"],
        credentials="accepted",
    )
    one.late = True
    found = sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0)
    found.check()
    assert found.facts["name"] == "Gate North"
    assert found.facts["profiles"] == ["T"]
    assert found.facts["credentials"] == "accepted"
    assert found.facts["mac"] == "ac:cc:8e:01:02:03"
    assert found.identity == {
        "uuid": f"urn:uuid:{UUID}",
        "address": "10.1.2.9:8080",
        "mac": ["ac:cc:8e:01:02:03"],
        "serial": "Axis/M3045/ACCC8E010203",
    }


def test_a_device_that_returns_is_recognised_by_its_words_alone_and_so_keeps_its_key() -> None:
    one = known("http://10.1.2.9/onvif")
    first = sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0)
    one.told, one.enriched = Told(facts={"vendor": "Axis", "model": "M", "serial": "ACCC8E01"}), True
    assert sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0) == first
    one.late = True
    assert sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0).identity == first.identity


def test_what_comes_over_ipv4_and_ipv6_is_one_and_does_not_alternate() -> None:
    one = known("http://10.1.2.9/onvif")
    six = Target(epr=one.epr, types=["Device"], xaddrs=["http://[fe80::9]/onvif"])
    one.hear(six, "fe80::9", 2.0)
    first = sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0)
    one.hear(Target(epr=one.epr, xaddrs=["http://10.1.2.9/onvif"]), "10.1.2.9", 3.0)
    again = sighting(one, places(one, NEARBY, "eth0"), "hello", 1.0)
    assert first == again
    assert first.endpoints == ["http://10.1.2.9/onvif", "http://[fe80::9]/onvif"]
    assert first.facts["addresses"] == ["10.1.2.9", "fe80::9"]


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/onvif",
        "http://127.0.0.1:8045/healthz",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:8.8.8.8]/",
        "http://0.0.0.0/",
        "http://camera.example/onvif",
        "ftp://10.1.2.9/",
        "http://u:p@10.1.2.9/",
        "http://10.1.2.9:99999/",
        "http://10.1.2.9/a b",
        "file:///etc/passwd",
        "http://[fe80::1/",
        "javascript:1",
    ],
)
def test_a_url_that_leads_elsewhere_is_never_asked(url: str) -> None:
    one = known(url)
    assert places(one, NEARBY, "eth0") == {}
    found = sighting(one, {}, "hello", 1.0)
    assert (found.facts["ip"], found.endpoints) == ("10.1.2.9", [])


def test_of_several_addresses_that_is_asked_which_spoke() -> None:
    one = known("http://10.9.9.9/a", "http://[fe80::1]/a", "http://10.1.2.9/a")
    assert list(places(one, NEARBY, "eth0")) == ["http://10.1.2.9/a", "http://10.9.9.9/a", "http://[fe80::1]/a"]


def test_an_address_of_a_link_gets_our_own_scope() -> None:
    found = place("http://[fe80::1%25eth7]:80/a?b", "eth0")
    assert found is not None
    assert (found.host, found.authority, found.target) == ("fe80::1%eth0", "[fe80::1]", "/a?b")


@given(some.one_of(some.text(max_size=80), some.text(max_size=60).map("http://10.0.0.1/{}".format)))
def test_whatever_url_comes_it_ends_no_line(url: str) -> None:
    found = place(url, "eth0")
    assert found is None or found.target.isascii()
    assert found is None or not set(found.target + found.authority) & set("\r\n \0")


def test_one_sender_cannot_say_everything_nor_name_a_thousand_devices() -> None:
    clock = Clock()
    guard = Gate(clock)
    assert sum(guard.admits("10.0.0.1") for _ in range(10_000)) == gate._ONE_AT_ONCE
    assert guard.admits("10.0.0.2")
    assert sum(guard.founds("10.0.0.1") for _ in range(10_000)) == gate._NEW_AT_ONCE
    clock.now += 10
    assert guard.admits("10.0.0.1")
    assert guard.founds("10.0.0.1")


def test_what_is_refused_is_counted_with_its_sender_and_the_reason() -> None:
    reasons: list[str] = []
    guard = Gate(Clock(), reasons.append)
    while guard.founds("10.0.0.1"):
        pass
    assert reasons == ["datagram of 10.0.0.1: too many new devices"]


def test_all_senders_together_cannot_say_everything() -> None:
    guard = Gate(Clock())
    assert sum(guard.admits(f"10.0.{number // 256}.{number % 256}") for number in range(20_000)) == gate._ALL_AT_ONCE
    assert len(guard._talking) == MOST_SENDERS


def test_a_repetition_is_one_for_some_seconds() -> None:
    clock = Clock()
    guard = Gate(clock)
    assert [guard.is_new("a"), guard.is_new("a"), guard.is_new("b")] == [True, False, True]
    clock.now += 60
    assert guard.is_new("a")

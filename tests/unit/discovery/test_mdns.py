"""The handler `mdns` without a network: records, filters, presets, identity, and what hostile bytes do to them."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import DNSPointer, RecordUpdate, Zeroconf, current_time_millis, service_type_name  # type: ignore[attr-defined]

from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.handlers.mdns.asking import Asking
from ashore_discovery.handlers.mdns.book import MOST_ON_A_HOST, Book
from ashore_discovery.handlers.mdns.details import SERVICE_TYPE, MdnsDetails, TxtRule
from ashore_discovery.handlers.mdns.ear import Ear, News
from ashore_discovery.handlers.mdns.handler import Mdns
from ashore_discovery.handlers.mdns.presets import KINDS, KNOWN, Preset
from ashore_discovery.handlers.mdns.service import (
    MOST_ADDRESSES,
    Service,
    endpoints_of,
    facts_of,
    identity_of,
    properties_of,
    read_addresses,
    read_host,
    read_name,
    read_txt,
)
from ashore_discovery.limits import Network
from ashore_discovery.model import MOST_FACTS, Facet, Offer, Refusal, Sighting
from ashore_discovery.tracking import identity

CAMERA = Service(
    name="AXIS M3045 - ACCC8E0A0B0C",
    type="_axis-video._tcp",
    host="axis-accc8e0a0b0c.local",
    port=80,
    txt={"macaddress": "ACCC8E0A0B0C"},
    addresses=["10.1.2.9", "fe80::1%eth0"],
)


def offer(details: MdnsDetails, service: Service) -> Offer | Refusal:
    facet = Facet(source="mdns/eth0", handler="mdns", id=service.id, facts=facts_of(service))
    return Mdns.offer(details, facet, list)


def pairs(*texts: bytes) -> bytes:
    return b"".join(bytes([len(text)]) + text for text in texts)


def test_a_txt_record_is_read_as_the_rfc_says() -> None:
    data = pairs(b"", b"Path=/a=b", b"path=/second", b"flag", b"empty=", b"=no key", b"\xffkey=1")
    assert read_txt(data) == {"path": "/a=b", "flag": "", "empty": ""}


def test_a_value_that_is_no_text_is_told_in_hexadecimal() -> None:
    assert read_txt(pairs(b"a=\xff\x00", b"b=line\n")) == {"a": "0xff00", "b": "0x6c696e650a"}


def test_a_pair_that_is_cut_off_is_left_out() -> None:
    assert read_txt(pairs(b"a=1") + b"\x20b=2") == {"a": "1"}


@given(st.binary(max_size=20_000))
def test_no_txt_record_makes_a_sighting_that_is_too_large(data: bytes) -> None:
    service = msgspec.structs.replace(CAMERA, txt=read_txt(data))
    facts = facts_of(service)
    Sighting(id=service.id, facts=facts, identity=identity_of(service)).check()
    assert len(facts) <= MOST_FACTS
    assert not any("\0" in value for value in properties_of(facts).values())


@given(st.text(max_size=400), st.sampled_from(sorted(KNOWN)))
def test_no_name_makes_a_sighting_that_is_too_large(alias: str, kind: str) -> None:
    for text in (alias, f"{alias}.{kind}.local."):
        name = read_name(text, kind)
        if name is not None:
            service = Service(name=name, type=kind, host=read_host(alias))
            Sighting(id=service.id, facts=facts_of(service), identity=identity_of(service)).check()


@given(st.lists(st.binary(max_size=17), max_size=60))
def test_only_addresses_that_a_device_can_have_are_kept(packed: list[bytes]) -> None:
    found = read_addresses(packed, "eth0")
    assert len(found) <= MOST_ADDRESSES
    assert not {"0.0.0.0", "127.0.0.1", "224.0.0.251", "::", "::1"} & set(found)


@given(st.binary(max_size=600), st.booleans())
def test_no_answer_harms_who_asked(data: bytes, ours: bool) -> None:
    async def ask() -> None:
        questioner = Asking("lo", Network().allows)
        with questioner._question(CAMERA, ["10.1.2.9"]) as (body, answered):
            assert body is not None
            number = body[:2] if ours else b"\0\0"
            questioner.datagram_received(number + b"\x84\0" + data, ("10.1.2.9", 5353))
            assert not answered.done() or b"\x00\x21" in data

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (TxtRule(key="MacAddress", equals="accc8e0a0b0c"), True),
        (TxtRule(key="macaddress", glob="ACCC8E*"), True),
        (TxtRule(key="macaddress", glob="00408C*"), False),
        (TxtRule(key="macaddress", present=True), True),
        (TxtRule(key="macaddress", present=False), False),
        (TxtRule(key="secure", present=False), True),
        (TxtRule(key="secure", equals="1"), False),
    ],
)
def test_txt_rules(rule: TxtRule, holds: bool) -> None:
    details = MdnsDetails(services=["_axis-video._tcp"], txt=[rule])
    assert isinstance(offer(details, CAMERA), Offer) is holds


def test_names_are_chosen_and_excluded() -> None:
    assert isinstance(offer(MdnsDetails(presets=[Preset.CAMERAS], names=["axis *"]), CAMERA), Offer)
    assert isinstance(offer(MdnsDetails(presets=[Preset.CAMERAS], names=["bosch*"]), CAMERA), Refusal)
    assert isinstance(offer(MdnsDetails(presets=[Preset.CAMERAS], exclude_names=["*m3045*"]), CAMERA), Refusal)


def test_a_broker_gets_where_it_is_and_what_it_says() -> None:
    found = offer(MdnsDetails(services=["_AXIS-Video._tcp.local."]), CAMERA)
    assert isinstance(found, Offer)
    assert found.properties == {
        "MDNS_NAME": CAMERA.name,
        "MDNS_TYPE": "_axis-video._tcp",
        "MDNS_HOST": CAMERA.host,
        "MDNS_PORT": "80",
        "MDNS_ADDRESS": "10.1.2.9",
        "MDNS_ADDRESSES": "10.1.2.9,fe80::1%eth0",
        "TXT_MACADDRESS": "ACCC8E0A0B0C",
    }
    assert endpoints_of(CAMERA) == ["http://10.1.2.9:80", "http://[fe80::1%eth0]:80"]


def test_every_preset_says_what_it_means() -> None:
    assert set(KINDS) == set(Preset)
    details = [MdnsDetails(presets=[one]) for one in Preset]
    assert not [problem for one in details for problem in Mdns.problems(MdnsDetails(services=list(Mdns.plan([one]))))]


def test_a_shelly_of_the_first_generation_is_known_by_its_name() -> None:
    details = MdnsDetails(presets=[Preset.SHELLY])
    assert isinstance(offer(details, Service(name="shelly1-A1B2C3", type="_http._tcp")), Offer)
    assert isinstance(offer(details, Service(name="Router", type="_http._tcp")), Refusal)


@pytest.mark.parametrize(
    ("kind", "name", "txt", "expected"),
    [
        ("_axis-video._tcp", "Axis", {"macaddress": "ACCC8E0A0B0C"}, "mac:accc8e0a0b0c"),
        ("_esphomelib._tcp", "kitchen", {"mac": "a4cf12345678"}, "mac:a4cf12345678"),
        ("_ipp._tcp", "Printer", {"uuid": "4509A320-00A0-008F-00B6-002507510eca"},
         "uuid:4509a320-00a0-008f-00b6-002507510eca"),
        ("_shelly._tcp", "shellyplus1-a8032ab12345", {}, "mac:a8032ab12345"),
        ("_http._tcp", "Page", {"mac": "a4cf12345678"}, "application:dns-sd:page@h.local"),
    ],
)  # fmt: skip
def test_identity_comes_from_what_the_type_is_known_to_say(
    kind: str, name: str, txt: dict[str, str], expected: str
) -> None:
    service = Service(name=name, type=kind, host="h.local", txt=txt, addresses=["10.0.0.1"])
    assert identity.names(identity_of(service), "mdns", service.id)[0] == expected


def test_mistakes_in_a_configuration_are_told() -> None:
    assert list(Mdns.problems(MdnsDetails()))
    assert list(Mdns.problems(MdnsDetails(services=["_http._tcp"], txt=[TxtRule(key="a")])))
    with pytest.raises(ConfigurationError, match="did you mean 'services'"):
        read(MdnsDetails, {"service": ["_http._tcp"]}, "details")
    with pytest.raises(ConfigurationError):
        read(MdnsDetails, {"presets": ["toasters"]}, "details")


@given(st.from_regex(SERVICE_TYPE, fullmatch=True))
def test_every_service_type_that_is_taken_can_be_browsed(text: str) -> None:
    assert service_type_name(f"{text}.local.", strict=False)


@pytest.mark.parametrize("text", ["http", "_http", "_http._sctp", "_a--b._tcp", "_1._tcp", "_-a._tcp", "_a b._tcp"])
def test_what_is_no_service_type_is_told(text: str) -> None:
    assert list(Mdns.problems(MdnsDetails(services=[text])))


def test_there_is_a_limit_to_services() -> None:
    book = Book(2)
    noted = [book.note(msgspec.structs.replace(CAMERA, name=str(number))) for number in range(4)]
    assert noted == [True, True, False, False]
    assert book.refused == 2
    book.forget("0._axis-video._tcp.local")
    assert book.note(CAMERA)


def test_there_is_a_limit_to_services_of_one_host() -> None:
    book = Book(10_000)
    noted = [book.note(msgspec.structs.replace(CAMERA, name=str(number))) for number in range(600)]
    assert sum(noted) == MOST_ON_A_HOST
    assert book.note(msgspec.structs.replace(CAMERA, name="0", port=81))


def test_a_host_is_forgotten_with_its_last_service() -> None:
    book = Book(10)
    book.note(CAMERA)
    book.note(msgspec.structs.replace(CAMERA, host="other.local"))
    assert list(book.hosts) == ["other.local"]
    book.forget(CAMERA.id)
    assert not book.hosts


async def test_a_device_outside_the_allowed_networks_is_not_asked() -> None:
    questioner = Asking("lo", Network(["10.0.0.0/8"]).allows)
    stranger: Any = msgspec.structs.replace(CAMERA, addresses=["8.8.8.8", "fe80::1%eth0"])
    assert await questioner.ask(stranger) is None


CAMERA_PAGES = "_camera._sub._http._tcp"


class Overheard:
    """An ear that is told records by hand."""

    def __init__(self, *browsed: str) -> None:
        self.news: list[News] = []
        self.ear = Ear("eth0", Book(10), self.news.append)
        self.ear._browsed = frozenset(browsed)

    def hear(self, *kinds: str, ttl: int = 120, ago: float = 0.0) -> list[tuple[str, tuple[str, ...]]]:
        """One packet with pointers from these types to the service `Gate`; what is told of it."""
        self.news.clear()
        now = current_time_millis()
        records = [DNSPointer(f"{kind}.local.", 12, 1, ttl, "Gate._http._tcp.local.", now - ago) for kind in kinds]
        self.ear.async_update_records(Zeroconf.__new__(Zeroconf), now, [RecordUpdate(one, None) for one in records])
        self.ear.async_update_records_complete()
        return [(one.kind, one.service.subtypes) for one in self.news]


def test_a_subtype_leads_to_the_service_and_is_a_fact_of_it() -> None:
    heard = Overheard(CAMERA_PAGES)
    assert heard.hear("_http._tcp", CAMERA_PAGES) == [("seen", ("_camera",))]
    service = heard.news[0].service
    assert (service.id, facts_of(service)["subtypes"]) == ("gate._http._tcp.local", ["_camera"])
    assert isinstance(offer(MdnsDetails(services=[f"{CAMERA_PAGES.upper()}.local."]), service), Offer)
    assert isinstance(offer(MdnsDetails(services=["_door._sub._http._tcp"]), service), Refusal)
    assert isinstance(offer(MdnsDetails(services=["_http._tcp"]), service), Offer)
    assert isinstance(offer(MdnsDetails(services=[CAMERA_PAGES]), CAMERA), Refusal)


def test_a_service_that_is_looked_for_by_its_subtype_only_leaves_with_it() -> None:
    heard = Overheard(CAMERA_PAGES)
    heard.hear(CAMERA_PAGES)
    assert heard.hear(CAMERA_PAGES, ttl=0) == [("bye", ("_camera",))]
    heard.hear(CAMERA_PAGES)
    assert heard.hear(CAMERA_PAGES, ttl=1, ago=5000) == [("missed", ("_camera",))]


def test_a_service_that_is_looked_for_otherwise_stays_without_its_subtype() -> None:
    heard = Overheard("_http._tcp", CAMERA_PAGES, "_door._sub._http._tcp")
    assert heard.hear("_http._tcp", CAMERA_PAGES, "_door._sub._http._tcp") == [("seen", ("_camera", "_door"))]
    assert heard.hear(CAMERA_PAGES, ttl=0) == [("seen", ("_door",))]


@pytest.mark.parametrize("kinds", [("_http._tcp", CAMERA_PAGES), (CAMERA_PAGES, "_http._tcp")])
def test_a_service_that_says_goodbye_to_all_its_types_has_left_once(kinds: tuple[str, str]) -> None:
    heard = Overheard("_http._tcp", CAMERA_PAGES)
    heard.hear(*kinds)
    assert [kind for kind, _ in heard.hear(*kinds, ttl=0)] == ["bye"]
    assert heard.ear._book.services == {}


@pytest.mark.parametrize("text", ["_sub._http._tcp", "a b._sub._http._tcp", "._sub._http._tcp", "_x._sub._http"])
def test_a_subtype_that_is_none_is_told(text: str) -> None:
    assert "is no service type" in next(iter(Mdns.problems(MdnsDetails(services=[text]))))


def test_a_plan_that_wants_the_subtype_no_longer_forgets_the_service_unless_it_is_wanted_otherwise() -> None:
    assert Mdns.plan([MdnsDetails(services=[CAMERA_PAGES]), MdnsDetails(services=["_http._tcp"])]) == {
        CAMERA_PAGES,
        "_http._tcp",
    }
    service = Service(name="Gate", type="_http._tcp", subtypes=("_camera",))
    assert service.types == {"_http._tcp", CAMERA_PAGES}

"""SSDP's datagrams, which device they are of, and descriptions: all of it written by strangers."""

import asyncio
from contextlib import suppress

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from ashore_discovery.handlers.datagrams import Inbox
from ashore_discovery.handlers.http import HttpError, Place
from ashore_discovery.handlers.ssdp import description, messages
from ashore_discovery.handlers.ssdp.book import Book
from ashore_discovery.handlers.ssdp.details import SsdpDetails
from ashore_discovery.handlers.ssdp.handler import Ssdp
from ashore_discovery.limits import Network
from ashore_discovery.model import Facet, Offer, Refusal, Sighting
from tests.discovery_kit import Clock

ROOT, EMBEDDED = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
MEDIA = "urn:schemas-upnp-org:device:MediaServer:1"
WHERE = "http://10.0.0.9:80/d.xml"


def notify(udn: str = ROOT, target: str = messages.ROOT, nts: str = "ssdp:alive", **headers: object) -> bytes:
    named = {
        "HOST": "239.255.255.250:1900",
        "Cache-Control": "max-age=1800",
        "LOCATION": WHERE,
        "NT": target,
        "NTS": nts,
        "USN": f"uuid:{udn}" if target.startswith("uuid:") else f"uuid:{udn}::{target}",
        **{name.replace("_", "."): value for name, value in headers.items()},
    }
    return "\r\n".join(["NOTIFY * HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]).encode()


def hear(book: Book, body: bytes, address: str = "10.0.0.9", now: float = 1000.0) -> list[Sighting]:
    message = messages.parse(body)
    assert message is not None
    return list(book.hear(message, address, now))


def test_an_announcement_is_read() -> None:
    message = messages.parse(notify(SERVER="Linux UPnP/1.1 x/1", BOOTID_UPNP_ORG=7, CONFIGID_UPNP_ORG=3))
    assert message is not None
    assert (message.kind, message.udn, message.target, message.location) == ("alive", ROOT, messages.ROOT, WHERE)
    assert (message.max_age, message.boot_id, message.config_id, message.server) == (1800, 7, 3, "Linux UPnP/1.1 x/1")


def test_an_answer_with_headers_as_old_devices_write_them_is_read() -> None:
    message = messages.parse(f"HTTP/1.0 200 OK\nst:{MEDIA}\nusn:uuid:{ROOT.upper()}::{MEDIA}\nEXT:\n\n".encode())
    assert message is not None
    assert (message.kind, message.udn, message.target, message.max_age) == ("answer", ROOT, MEDIA, 1800)


@pytest.mark.parametrize("body", [b"", b"M-SEARCH * HTTP/1.1\r\n\r\n", b"NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\n\r\n"])
def test_what_names_no_device_is_nothing(body: bytes) -> None:
    assert messages.parse(body) is None


@pytest.mark.parametrize(("text", "seconds"), [("max-age=0", 30), ("max-age=999999999", 86_400), ("no-cache", 1800)])
def test_a_time_to_live_is_neither_nothing_nor_for_ever(text: str, seconds: int) -> None:
    message = messages.parse(notify(**{"Cache-Control": text}))
    assert message is not None
    assert message.max_age == seconds


@given(st.binary(max_size=4096) | st.binary(max_size=2048).map(lambda more: notify() + more))
@settings(max_examples=300)
def test_no_datagram_breaks_the_book(body: bytes) -> None:
    message = messages.parse(body)
    if message is not None:
        for sighting in Book().hear(message, "10.0.0.9", 1000.0):
            sighting.check()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ROOT, EMBEDDED, "third"]),
            st.sampled_from([messages.ROOT, MEDIA, f"uuid:{ROOT}", "urn:x:service:y:1"]),
            st.sampled_from(["ssdp:alive", "ssdp:byebye", "ssdp:update"]),
            st.sampled_from(["10.0.0.9", "10.0.0.8", "fe80::9"]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_whatever_is_said_in_whatever_order_the_book_holds_together(said: list[tuple[str, str, str, str, int]]) -> None:
    book, seen = Book(), set()
    for number, (udn, target, nts, address, boot) in enumerate(said):
        for sighting in hear(book, notify(udn, target, nts, BOOTID_UPNP_ORG=boot), address, 1000.0 + number):
            sighting.check()
            (seen.add if sighting.kind in ("seen", "missed") else seen.discard)(sighting.id)
    assert set(book.devices) == seen


def test_services_and_devices_within_a_device_are_one_with_it() -> None:
    book = Book()
    hear(book, notify())
    hear(book, notify(EMBEDDED, "urn:schemas-upnp-org:device:WANDevice:1"))
    (last,) = hear(book, notify(ROOT, MEDIA))
    assert list(book.devices) == [ROOT]
    assert last.facts["targets"] == [messages.ROOT, MEDIA, "urn:schemas-upnp-org:device:WANDevice:1"]
    assert hear(book, notify(EMBEDDED, "upnp:x", "ssdp:byebye")) == []


def test_a_device_that_was_heard_of_before_the_one_it_is_in_is_taken_back() -> None:
    book = Book()
    hear(book, notify(EMBEDDED, MEDIA))
    kinds = [(one.kind, one.id) for one in hear(book, notify())]
    assert kinds == [("gone", EMBEDDED), ("seen", ROOT)]


def test_who_claims_to_be_in_a_device_from_another_address_is_a_device_of_its_own() -> None:
    book = Book()
    hear(book, notify())
    hear(book, notify(EMBEDDED, MEDIA), address="10.0.0.66")
    assert set(book.devices) == {ROOT, EMBEDDED}


def test_a_goodbye_from_somebody_else_only_makes_us_ask() -> None:
    book = Book()
    hear(book, notify())
    assert [one.kind for one in hear(book, notify(nts="ssdp:byebye"), address="10.0.0.66")] == ["missed"]
    assert [one.kind for one in hear(book, notify(nts="ssdp:byebye"))] == ["bye"]


def test_a_device_that_has_restarted_or_is_configured_anew_is_asked_anew() -> None:
    book = Book()
    hear(book, notify(BOOTID_UPNP_ORG=1, CONFIGID_UPNP_ORG=1))
    assert [one.kind for one in hear(book, notify(BOOTID_UPNP_ORG=2, CONFIGID_UPNP_ORG=1), now=1100)] == ["bye", "seen"]
    assert [one.kind for one in hear(book, notify(BOOTID_UPNP_ORG=2, CONFIGID_UPNP_ORG=5), now=1200)] == ["bye", "seen"]
    assert [one.kind for one in hear(book, notify(BOOTID_UPNP_ORG=2, CONFIGID_UPNP_ORG=5), now=1300)] == ["seen"]


def test_an_update_announces_the_next_boot_id_and_is_no_restart() -> None:
    book = Book()
    hear(book, notify(BOOTID_UPNP_ORG=1))
    hear(book, notify(nts="ssdp:update", BOOTID_UPNP_ORG=1, NEXTBOOTID_UPNP_ORG=2), now=1100)
    assert [one.kind for one in hear(book, notify(BOOTID_UPNP_ORG=2), now=1200)] == ["seen"]


def test_a_device_over_both_protocols_keeps_its_facts() -> None:
    book = Book()
    six = notify(LOCATION="http://[fe80::9]:80/d.xml")
    hear(book, notify())
    (first,) = hear(book, six, address="fe80::9")
    (again,) = hear(book, notify())
    assert first.facts == again.facts
    assert again.endpoints == [WHERE, "http://[fe80::9]:80/d.xml"]


def test_what_is_dropped_is_counted_with_its_sender_and_the_reason() -> None:
    reasons: list[str] = []
    inbox = Inbox(Clock(), structlog.get_logger(), reasons.append)
    inbox.datagram_received(b"x" * 9000, ("10.0.0.9", 1900))
    inbox.drop("10.0.0.8", "nonsense")
    assert reasons == ["datagram of 10.0.0.9: too large, or too many", "datagram of 10.0.0.8: nonsense"]


def test_a_sender_is_heard_only_so_often_and_nothing_is_too_large() -> None:
    clock = Clock()
    inbox = Inbox(clock, structlog.get_logger())
    for _ in range(1000):
        inbox.datagram_received(b"x", ("10.0.0.66", 1900))
    inbox.datagram_received(b"x" * 9000, ("10.0.0.9", 1900))
    assert inbox.dropped == 601
    inbox.datagram_received(b"x", ("10.0.0.9", 1900))
    assert inbox.dropped == 601


def test_a_flood_of_forged_devices_ends() -> None:
    book = Book()
    for number in range(5000):
        hear(book, notify(f"forged-{number}", LOCATION=f"http://10.0.0.9/{number}"))
    assert len(book.devices) == 4096


def test_what_is_in_a_device_that_is_known_founds_no_device() -> None:
    book = Book()
    root = notify(ROOT, "upnp:rootdevice", LOCATION="http://10.0.0.9/")
    assert book.founds(messages.parse(root), "10.0.0.9")
    hear(book, root)
    hear(book, notify("part", LOCATION="http://10.0.0.9/"))
    for known in (root, notify("part", LOCATION="http://10.0.0.9/"), notify("part-2", LOCATION="http://10.0.0.9/")):
        assert not book.founds(messages.parse(known), "10.0.0.9")
    assert book.founds(messages.parse(notify("stranger", LOCATION="http://10.0.0.9/x")), "10.0.0.9")


@pytest.mark.parametrize(
    "location",
    [
        "http://8.8.8.8/",
        "http://127.0.0.1/",
        "https://10.0.0.9/",
        "http://10.0.0.8/",
        "http://name/",
        "http://[",
        "http://10.0.0.9:99999/",
        "http://10.0.0.9/a b",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_description_is_fetched_only_from_the_device_itself(location: str) -> None:
    with pytest.raises(description.DescriptionError):
        description.where(location, ["10.0.0.9"], Network(), "eth0")


def test_a_link_local_address_gets_its_interface() -> None:
    found = description.where("http://[fe80::9]:8080/d.xml?x=1", ["fe80::9"], Network(), "eth0")
    assert found == Place("fe80::9%eth0", 8080, "/d.xml?x=1", tls=False)
    assert found.authority == "[fe80::9]:8080"


def xml(body: str) -> bytes:
    return f"<root xmlns='urn:schemas-upnp-org:device-1-0'><device>{body}</device></root>".encode()


def test_a_description_is_read() -> None:
    body = xml(
        f"<UDN>uuid:{ROOT}</UDN><friendlyName> The\n shelf </friendlyName><manufacturer>Acme</manufacturer>"
        "<modelName>S1</modelName><serialNumber>X-77</serialNumber>"
        "<serviceList><service><serviceType>urn:x:service:y:1</serviceType></service></serviceList>"
    )
    learnt = description.read(body, ROOT)
    assert learnt.facts == {
        "name": "The shelf",
        "vendor": "Acme",
        "model": "S1",
        "serial": "X-77",
        "services": ["urn:x:service:y:1"],
    }
    assert learnt.identity == {"serial": "acme/s1/x-77"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<root>",
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'>]><root><device><UDN>&a;</UDN></device></root>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><root/>",
        xml("<UDN>uuid:other</UDN>"),
        xml("<x/>" * 10_000 + f"<UDN>uuid:{ROOT}</UDN>"),
        b"<?xml version='1.0' encoding='nonsense'?><root/>",
    ],
)
def test_a_hostile_description_is_refused(body: bytes) -> None:
    with pytest.raises(description.DescriptionError):
        description.read(body, ROOT)


@given(st.binary(max_size=2000) | st.text(alphabet="<>/&;device UDN'=!?-[]", max_size=300).map(str.encode))
def test_no_description_breaks_its_reader(body: bytes) -> None:
    with suppress(description.DescriptionError):
        description.read(body, ROOT)


async def answer(body: bytes) -> bytes:
    """What is fetched from a device that answers this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(body)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/d.xml"
        return await description.fetch(description.where(url, ["127.0.0.1"], Network(), None))


async def test_bodies_of_all_kinds_are_read() -> None:
    assert await answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd") == b"abc"
    assert await answer(b"HTTP/1.0 200 OK\r\n\r\nabc") == b"abc"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n"
    assert await answer(chunked) == b"abc"


@pytest.mark.parametrize(
    "body",
    [
        b"HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.1/\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000,
    ],
)
async def test_redirects_and_floods_are_refused(body: bytes) -> None:
    with pytest.raises((description.DescriptionError, HttpError)):
        await answer(body)


@given(st.binary(max_size=500).map(lambda more: b"HTTP/1.1 200 OK\r\n" + more))
def test_no_answer_breaks_the_reader(body: bytes) -> None:
    with suppress(description.DescriptionError, HttpError):
        asyncio.run(answer(body))


def test_a_configuration_gets_what_fits_its_patterns() -> None:
    facts = {"targets": [MEDIA], "server": "Linux Axis/1", "vendor": "Acme", "model": "S1", "address": ["10.0.0.9"]}
    facet = Facet(source="ssdp/eth0", handler="ssdp", id=ROOT, facts=facts)
    wanted = SsdpDetails(
        search_targets=["urn:*:MediaServer:*"], servers=["*axis*"], manufacturers=["acme"], models=["S?"]
    )
    offer = Ssdp.offer(wanted, facet, list)
    assert isinstance(offer, Offer)
    assert offer.properties["SSDP_MODEL"] == "S1"
    assert offer.properties["SSDP_UDN"] == ROOT
    refusal = Ssdp.offer(SsdpDetails(models=["Z*"]), facet, list)
    assert refusal == Refusal("its model: S1, and none is like Z*")


def test_only_whole_targets_are_searched_for_by_name() -> None:
    assert Ssdp.plan([SsdpDetails(search_targets=[MEDIA, "urn:*"]), SsdpDetails()]) == frozenset({MEDIA})

"""WS-Discovery and SOAP, read and written: both namespaces, careless devices, and whatever strangers send."""

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ashore_discovery.handlers import markup
from ashore_discovery.handlers.markup import MarkupError
from ashore_discovery.handlers.onvif import wsdiscovery
from ashore_discovery.handlers.onvif.camera import envelope, hardware_addresses, moment
from ashore_discovery.handlers.onvif.wsdiscovery import canonical, parse, probe, relates_to, resolve

UUID = "b92b63b5-7c15-4c6d-a677-995f4c50d684"
OLD = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
NEW = "http://docs.oasis-open.org/ws-dd/ns/discovery/2009/01"


def message(body: str, discovery: str = OLD, header: str = "") -> bytes:
    return (
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:d="{discovery}"'
        f' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header>{header}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def inside(name: str, epr: str = f"urn:uuid:{UUID}") -> str:
    return (
        f"<d:{name}><a:EndpointReference><a:Address>{epr}</a:Address></a:EndpointReference>"
        "<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>"
        "<d:Scopes>onvif://www.onvif.org/name/Gate\n onvif://www.onvif.org/type/ptz </d:Scopes>"
        "<d:XAddrs>http://10.1.2.9/onvif/device_service http://[fe80::1]/onvif/device_service</d:XAddrs>"
        f"<d:MetadataVersion>7</d:MetadataVersion></d:{name}>"
    )


@pytest.mark.parametrize("namespace", [OLD, NEW])
@pytest.mark.parametrize("kind", ["Hello", "Bye"])
def test_hello_and_bye_are_read_in_both_namespaces(kind: str, namespace: str) -> None:
    read = parse(message(inside(kind), namespace, "<a:MessageID>urn:uuid:1</a:MessageID>"))
    assert (read.kind, read.message_id) == (kind, "urn:uuid:1")
    assert read.version == ("2005/04" if namespace == OLD else "2009/01")
    (target,) = read.targets
    assert target.epr == f"urn:uuid:{UUID}"
    assert target.types == ["NetworkVideoTransmitter", "Device"]
    assert target.scopes == ["onvif://www.onvif.org/name/Gate", "onvif://www.onvif.org/type/ptz"]
    assert target.xaddrs == ["http://10.1.2.9/onvif/device_service", "http://[fe80::1]/onvif/device_service"]
    assert target.metadata_version == 7
    assert target.is_onvif
    assert target.is_complete


@pytest.mark.parametrize(
    "body",
    [
        f"<d:ProbeMatches>{inside('ProbeMatch')}</d:ProbeMatches>",
        # ipycam and some cameras leave out what stands around.
        inside("ProbeMatch"),
    ],
)
def test_matches_are_read_with_and_without_what_stands_around_them(body: str) -> None:
    read = parse(message(body, header="<a:RelatesTo>urn:uuid:q</a:RelatesTo>"))
    assert (read.kind, read.relates_to) == ("ProbeMatches", "urn:uuid:q")
    assert [one.epr for one in read.targets] == [f"urn:uuid:{UUID}"]


def test_prefixes_that_nobody_has_declared_are_no_obstacle_within_a_value() -> None:
    # Akri's own Probe, and many cameras, name types by prefixes that mean nothing.
    assert parse(message(inside("Hello").replace("dn:", "nowhere:"))).targets[0].is_onvif


def test_a_printer_is_no_camera() -> None:
    printer = inside("Hello").replace("dn:NetworkVideoTransmitter tds:Device", "wprt:PrintDeviceType")
    assert not parse(message(printer.replace("onvif://www.onvif.org", "ldap:///ou=here"))).targets[0].is_onvif


@pytest.mark.parametrize("spelt", [UUID, UUID.upper(), f"uuid:{UUID}", f"URN:UUID:{UUID}", f" urn:uuid:{UUID}\n"])
def test_an_endpoint_reference_has_one_spelling(spelt: str) -> None:
    assert canonical(spelt) == f"urn:uuid:{UUID}"


def test_other_endpoint_references_stay_as_they_are() -> None:
    assert canonical("http://Example/Cam") == "http://Example/Cam"


def test_what_is_asked_can_be_read_by_ourselves() -> None:
    for version in ("2005/04", "2009/01"):
        asked = parse(probe("urn:uuid:q&", version=version))
        assert (asked.kind, asked.message_id, asked.version, asked.targets) == ("Probe", "urn:uuid:q&", version, [])
        assert parse(resolve("urn:uuid:r", "urn:x<y", version)).kind == "Resolve"


def test_an_answer_is_recognised_without_reading_all_of_it() -> None:
    assert relates_to(message("", header='<a:RelatesTo x="1"> urn:uuid:q </a:RelatesTo>')) == "urn:uuid:q"
    assert relates_to(message(inside("Hello"))) == ""


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"<",
        b"\xff\xfe\x00",
        b"<a/>",
        b"<a>" * 1000,
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 5000 + b"</a>",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<!DOCTYPE a SYSTEM "http://10.0.0.1/x"><a/>',
        b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b"<a>" + b"x" * wsdiscovery.LARGEST + b"</a>",
        message("<d:Goodbye/>"),
    ],
)
def test_hostile_datagrams_are_refused(hostile: bytes) -> None:
    with pytest.raises(MarkupError):
        parse(hostile)


def test_of_too_much_in_one_message_a_part_is_taken() -> None:
    many = "".join(inside("ProbeMatch", f"urn:x:{number}")[:200] + "</d:ProbeMatch>" for number in range(2))
    with pytest.raises(MarkupError):
        parse(message(many))
    short = "<d:ProbeMatch><a:EndpointReference><a:Address>urn:{}</a:Address></a:EndpointReference></d:ProbeMatch>"
    matches = "".join(short.format(number) for number in range(100))
    assert len(parse(message(f"<d:ProbeMatches>{matches}</d:ProbeMatches>")).targets) == wsdiscovery.MOST_TARGETS
    scopes = " ".join(f"onvif://{number}" for number in range(300))
    hello = f"<d:Hello><a:EndpointReference><a:Address>urn:x</a:Address></a:EndpointReference><d:Scopes>{scopes}"
    assert len(parse(message(f"{hello}</d:Scopes></d:Hello>")).targets[0].scopes) == wsdiscovery.MOST_SCOPES


@pytest.mark.parametrize("epr", ["", "x" * 300, "a\u202eb"])
def test_a_target_without_a_usable_name_is_none(epr: str) -> None:
    assert parse(message(inside("Hello", epr))).targets == []


PIECES = some.sampled_from(
    [
        "<d:Hello>", "</d:Hello>", "<d:ProbeMatches>", "<d:ProbeMatch>", "</d:ProbeMatch>", "</d:ProbeMatches>",
        "<a:EndpointReference>", "</a:EndpointReference>", "<a:Address>", "</a:Address>", f"urn:uuid:{UUID}",
        "<d:Types>", "</d:Types>", "<d:XAddrs>", "</d:XAddrs>", "http://10.0.0.1/", "http://[::1%25x]:99999/",
        "<d:MetadataVersion>", "</d:MetadataVersion>", "٣", "-1", "&amp;", "&x;", "<!--", "-->", "<![CDATA[", "]]>",
    ]
)  # fmt: skip


@given(
    some.one_of(some.binary(max_size=400), some.lists(PIECES, max_size=30).map(lambda found: message("".join(found))))
)
def test_whatever_comes_is_read_or_refused(datagram: bytes) -> None:
    relates_to(datagram)
    try:
        read = parse(datagram)
    except MarkupError:
        return
    assert all(one.epr and len(one.epr) <= wsdiscovery.LONGEST_EPR for one in read.targets)


def test_a_question_is_soap() -> None:
    root = fromstring(envelope("GetDeviceInformation"))
    assert markup.child(root, "Body", "GetDeviceInformation") is not None


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("<Time><Hour>16</Hour><Minute>20</Minute><Second>9</Second></Time>", 1457886009.0),
        ("<Time><Hour>16</Hour><Minute>20</Minute><Second>60</Second></Time>", 1457886059.0),
        ("<Time><Hour>25</Hour><Minute>20</Minute><Second>9</Second></Time>", None),
        ("<Time><Hour>x</Hour></Time>", None),
        ("", None),
    ],
)
def test_a_device_says_what_time_it_has(time: str, expected: float | None) -> None:
    date = "<Date><Year>2016</Year><Month>3</Month><Day>13</Day></Date>"
    assert moment(fromstring(f"<B><R><UTCDateTime>{time}{date}</UTCDateTime></R></B>")) == expected


def test_hardware_addresses_are_listed_once_in_one_spelling() -> None:
    found = "".join(f"<I><Info><HwAddress>{one}</HwAddress></Info></I>" for one in ("AC-CC-8E-01-02-03", "", "x" * 99))
    assert hardware_addresses(fromstring(f"<B>{found}{found}</B>")) == ["ac:cc:8e:01:02:03"]

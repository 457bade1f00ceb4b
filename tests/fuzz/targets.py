"""Everything that reads bytes from outside, as functions that must take any bytes at all; FDO has its own modules.

What a reader may raise is caught here; whatever else comes out of a target is a mistake. Sightings that strangers can
cause must be such as the layers above take: a device that makes its own sighting unusable would never be seen.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Final

import msgspec

from ashore.bus.memory import MemoryBus
from ashore.events import ConfigurationSet
from ashore_discovery.configurations.document import Configuration
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.configurations.sources import Sources, read_body
from ashore_discovery.handler import HandlerError
from ashore_discovery.handlers import http, leases, markup
from ashore_discovery.handlers.coap import links
from ashore_discovery.handlers.coap import messages as coap
from ashore_discovery.handlers.mdns import service as mdns
from ashore_discovery.handlers.modbus import frames
from ashore_discovery.handlers.mqtt.details import Gone, HomeAssistant, Own, Sparkplug, TopicMap
from ashore_discovery.handlers.mqtt.home_assistant import HomeAssistantScheme
from ashore_discovery.handlers.mqtt.own import OwnScheme
from ashore_discovery.handlers.mqtt.scheme import Message, Scheme
from ashore_discovery.handlers.mqtt.sparkplug import SparkplugScheme
from ashore_discovery.handlers.mqtt.topic_map import TopicMapScheme
from ashore_discovery.handlers.onvif import camera, knowing, security, wsdiscovery
from ashore_discovery.handlers.opcua import hello
from ashore_discovery.handlers.ssdp import description
from ashore_discovery.handlers.ssdp import messages as ssdp
from ashore_discovery.handlers.ssdp.book import Book
from ashore_discovery.handlers.udev import rules
from ashore_discovery.limits import Network
from ashore_discovery.listening.akri import messages as akri
from ashore_discovery.listening.akri.lists import ListError
from ashore_discovery.listening.catalogue import Catalogue, NoSuchHandlerError
from ashore_discovery.listening.remote import Report
from ashore_discovery.matching.filters import evaluate
from ashore_discovery.model import Facts, Learnt, Sighting, SightingError
from ashore_discovery.tracking.identity import key_of, names
from ashore_discovery.tracking.rulings import Rulings
from tests.fuzz.conversations import CONVERSATIONS
from tests.fuzz.fdo_targets import FDO_TARGETS

Target = Callable[[bytes], None]
UDN: Final = "4d696e69-444c-164e-9d41-0123456789ab"
_FACTS: Final[Facts] = {"vendor": "Axis", "ip": "10.1.2.3", "ports": ["80"], "count": 3}


def taken(found: Sighting) -> None:
    """The layers above take it, and can name it."""
    found.check()
    for name in names(found.identity, "h", found.id):
        key_of(name, node="n", shared=True)


def taken_learnt(learnt: Learnt) -> None:
    taken(Sighting(id="x", facts=learnt.facts, identity=learnt.identity, endpoints=learnt.endpoints))


def mdns_txt(data: bytes) -> None:
    """A TXT record; what stands before the first zero is the service's name."""
    name, _, record = data.partition(b"\0")
    alias = f"{name.decode('utf-8', 'replace')}._http._tcp.local."
    own = mdns.read_name(alias, "_http._tcp")
    if own is None:
        return
    for kind in ("_http._tcp", "_hap._tcp", "_axis-video._tcp", "_opcua-tcp._tcp"):
        found = mdns.Service(
            name=own,
            type=kind,
            host=mdns.read_host(alias),
            port=80,
            txt=mdns.read_txt(record),
            addresses=mdns.read_addresses([record[:4], record[:16]], "eth0"),
        )
        facts, endpoints = mdns.facts_of(found), mdns.endpoints_of(found)
        taken(Sighting(id=found.id, facts=facts, identity=mdns.identity_of(found), endpoints=endpoints))
        assert all("\0" not in text for text in mdns.properties_of(facts).values())


def ws_discovery(data: bytes) -> None:
    """A datagram of WS-Discovery."""
    wsdiscovery.relates_to(data)
    with suppress(markup.MarkupError):
        for target in wsdiscovery.parse(data).targets:
            known = knowing.Known(epr=target.epr, version="2005/04")
            known.hear(target, "10.0.0.9", 1.0)
            known.hear(target, "fe80::1", 2.0)
            taken(knowing.sighting(known, knowing.places(known, Network(), "eth0"), "hello", 1.0))


def soap(data: bytes) -> None:
    """What a camera answers over SOAP."""
    answer = http.Answer(200, [("www-authenticate", data[:512].decode("latin-1"))], data)
    security.challenge(answer.all("www-authenticate"))
    camera._refuses(answer)
    with suppress(camera.FaultError):
        body = camera._body(answer)
        camera.moment(body)
        facts = {name: markup.text(markup.descendant(body, tag)) for name, tag in camera._INFORMATION.items()}
        known = knowing.Known(epr="urn:x", version="2005/04")
        known.told = camera.Told(facts=facts, macs=camera.hardware_addresses(body))
        taken_learnt(knowing.learnt(known))


def ssdp_message(data: bytes) -> None:
    """Several datagrams of SSDP, divided by a zero, from two senders."""
    book = Book()
    for number, body in enumerate(data.split(b"\0")[:8]):
        message = ssdp.parse(body)
        if message is not None:
            address = f"10.0.0.{number % 2}"
            book.founds(message, address)
            for found in book.hear(message, address, float(number)):
                taken(found)


def upnp_description(data: bytes) -> None:
    """The description of a UPnP device."""
    with suppress(description.DescriptionError):
        taken_learnt(description.read(data, UDN))


def coap_message(data: bytes) -> None:
    """A datagram of CoAP; what can be read can be written, and is the same when it is read again."""
    with suppress(coap.MessageError):
        message = coap.decode(data)
        assert coap.decode(message.encode()) == message
        message.number(coap.CONTENT_FORMAT)


def coap_links(data: bytes) -> None:
    """A list of links."""
    with suppress(links.LinkError):
        for link in links.parse(data):
            link.words("rt")


def home_assistant(data: bytes) -> None:
    """A description for Home Assistant, and what is said at its availability topics."""
    scheme = HomeAssistantScheme("b", "mqtt://b", HomeAssistant())
    _hear(scheme, data, ("homeassistant/sensor/x/config", "homeassistant/device/x/y/config"))
    for topic in scheme.more():
        _hear(scheme, data, (topic,))


def sparkplug(data: bytes) -> None:
    """A payload of Sparkplug B, as a birth and as a death."""
    scheme = SparkplugScheme("b", "mqtt://b", Sparkplug(late="ask"))
    _hear(scheme, data, [f"spBv1.0/g/{verb}/n" for verb in ("NDATA", "NBIRTH", "NDEATH")])
    _hear(scheme, data, [f"spBv1.0/g/{verb}/n/d" for verb in ("DBIRTH", "DDATA", "DDEATH")])


def own_birth(data: bytes) -> None:
    """A birth of our own scheme, in JSON or CBOR."""
    _hear(OwnScheme("b", "mqtt://b", Own()), data, [f"ashore/v1/s/d/{verb}" for verb in ("birth", "seen", "death")])


def topic_map(data: bytes) -> None:
    """A payload for a topic map, and a topic out of its beginning."""
    form = TopicMap(
        name="line",
        topic="plant/{line}/{device}/#",
        facts={"model": "/info/model", "tags": "/tags/0"},
        serial="/sn",
        gone=Gone(pointer="/state", values=["off"]),
    )
    head, _, body = data.partition(b"\0")
    topics = (f"plant/{head.decode('utf-8', 'replace')}", "plant/a/b/c")
    _hear(TopicMapScheme("b", "mqtt://b", form), body, topics)


def _hear(scheme: Scheme, payload: bytes, topics: Iterable[str]) -> None:
    for topic in topics:
        heard = scheme.hear(Message(topic, payload, True, 1.0))
        for item in heard.items if heard else ():
            if isinstance(item, Sighting):
                taken(item)
    for name in scheme.ids():
        scheme.holds(name, 1.0)
        scheme.question(name, 1.0)


def modbus(data: bytes) -> None:
    """An answer of Modbus, to each of the questions."""
    for reader in (frames.objects, frames.server, frames.register):
        with suppress(frames.FrameError, frames.RefusedError):
            reader(data)
    if len(data) >= frames.HEADER.size:
        with suppress(frames.FrameError):
            frames.header(data[: frames.HEADER.size])


def opcua_hello(data: bytes) -> None:
    """An answer to a Hello of OPC UA."""
    with suppress(hello.HelloError):
        hello.decode(data)


def http_answer(data: bytes) -> None:
    """An answer over HTTP."""

    async def answered() -> None:
        reader = asyncio.StreamReader(limit=8192)
        reader.feed_data(data)
        reader.feed_eof()
        with suppress(ValueError, EOFError, asyncio.LimitOverrunError):
            await http.read(reader)

    _loop().run_until_complete(answered())


def dhcp_leases(data: bytes) -> None:
    """A file of leases: its server writes names of hosts as they come."""
    leases.read(data.decode("utf-8", "replace"))


def url(data: bytes) -> None:
    """An address that a stranger has sent."""
    text = data.decode("utf-8", "replace")
    Network().allows_url(text)
    http.place(text, "eth0")


def akri_list(data: bytes) -> None:
    """A list of devices of one of Akri's handlers, and its registration."""
    with suppress(ListError):
        whole = _loop().run_until_complete(akri.read_list(data, 1.0))
        for one in whole.devices.values():
            msgspec.json.encode(one)
    with suppress(akri.MessageError):
        akri.read_registration(data)


def remote_report(data: bytes) -> None:
    """A report of a handler over the bus."""
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        for said in msgspec.json.decode(data, type=Report).sightings:
            with suppress(SightingError):
                taken(Sighting(**msgspec.structs.asdict(said)))


def node_file(data: bytes) -> None:
    """The file of a node, in YAML and in TOML."""
    for name in ("file.yaml", "file.toml"):
        try:
            found = read_body(data, name)
        except ConfigurationError:
            continue
        Rulings(found.devices).explain(["mac:accc8e0a0b0c"])
        for one in found.configurations:
            _use(one)


def configuration(data: bytes) -> None:
    """A configuration that comes over the bus, or a ruling."""
    sources = Sources("s", MemoryBus(), None, lambda: None)
    null, raw = msgspec.Raw(b"null"), msgspec.Raw(data)
    sources._hear(ConfigurationSet(site="s", token="a", configuration=raw))
    sources._hear(ConfigurationSet(site="s", token="-a", configuration=null, ruling=raw))
    Rulings(sources.rulings()).explain(["mac:accc8e0a0b0c"])
    for one in sources.configurations():
        _use(one)


def _use(one: Configuration) -> None:
    """As the agent does: whatever is wrong with it is told, and what is right can be used."""
    catalogue = _catalogue()
    with suppress(NoSuchHandlerError, ConfigurationError, HandlerError):
        kind = catalogue.load(one.handler)
        details = read(kind.details_type, {"raw": one.details} if kind.raw else one.details, "details")
        if [*one.problems(), *kind.problems(details)]:
            return
        kind.plan([details])
        if one.match is not None:
            evaluate(one.match, _FACTS)


def udev_rule(data: bytes) -> None:
    """A rule of udev."""
    with suppress(rules.RuleError):
        rules.parse(data.decode("utf-8", "replace"))


@cache
def _catalogue() -> Catalogue:
    return Catalogue()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


_SOAP: Final = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="a" xmlns:d="d">'
    b"<s:Header><a:MessageID>urn:uuid:1</a:MessageID><a:RelatesTo>urn:uuid:2</a:RelatesTo></s:Header><s:Body>%b"
    b"</s:Body></s:Envelope>"
)
_HELLO: Final = (
    b"<d:Hello><a:EndpointReference><a:Address>urn:uuid:3</a:Address></a:EndpointReference><d:Types>dn:Device</d:Types>"
    b"<d:Scopes>onvif://www.onvif.org/name/Gate</d:Scopes><d:XAddrs>http://10.0.0.9/onvif</d:XAddrs></d:Hello>"
)
_ANSWER: Final = (
    b"<Manufacturer>A</Manufacturer><SerialNumber>4711</SerialNumber><HwAddress>AC-CC-8E-0A-0B-0C</HwAddress>"
    b"<UTCDateTime><Date><Year>2026</Year><Month>1</Month><Day>1</Day></Date>"
    b"<Time><Hour>1</Hour><Minute>1</Minute><Second>60</Second></Time></UTCDateTime>"
)
_NOTIFY: Final = (
    b"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nNTS: ssdp:%b\r\nUSN: uuid:1::upnp:rootdevice\r\n"
    b"CACHE-CONTROL: max-age=60\r\nLOCATION: http://10.0.0.9/x\r\nBOOTID.UPNP.ORG: 7\r\n\r\n"
)
_DEVICE: Final = {"dev": {"ids": ["a"], "cns": [["mac", "ac:cc:8e:0a:0b:0c"]], "mf": "A", "sn": "1"}, "avty_t": "a/b"}
_USB: Final = {"name": "usb", "handler": "udev", "details": {"udevRules": ['KERNEL=="video*"']}}
_FILTERED: Final = {
    **_USB,
    "match": {"all": [{"fact": "ip", "cidr": "10.0.0.0/8"}, {"not": {"fact": "vendor", "regex": "^A"}}]},
}

TARGETS: Final[dict[Target, list[bytes]]] = {
    mdns_txt: [b"Gate\0\x07path=/x\x10mac=ACCC8E0A0B0C\x03id="],
    ws_discovery: [_SOAP % _HELLO, _SOAP % _HELLO.replace(b"Hello", b"ProbeMatch")],
    soap: [_SOAP % _ANSWER, b'Digest realm="x", nonce="y", qop="auth", algorithm=MD5'],
    ssdp_message: [_NOTIFY % b"alive", b"\0".join(_NOTIFY % kind for kind in (b"alive", b"update", b"byebye"))],
    upnp_description: [
        b"<root><device><UDN>uuid:%b</UDN><serialNumber>1</serialNumber><modelName>m</modelName></device></root>"
        % UDN.encode()
    ],
    coap_message: [coap.Message(coap.CON, coap.GET, 7, b"t", coap.get("/.well-known/core", "rt=x")).encode()],
    coap_links: [b'</temp>;rt="temperature outdoor";if=sensor,</x>;ep="a";base="coap://10.0.0.9"'],
    home_assistant: [json.dumps(_DEVICE).encode(), b"online"],
    sparkplug: [bytes.fromhex("120b0a056264536571200858031a")[:13], b"\x12\x07\x0a\x03a/b\x50\x01"],
    own_birth: [b'{"boot": "1", "serial": "2", "ttl": 30, "facts": {"a": 1}}', b"\xa1dboota1"],
    topic_map: [b'l1/pump\0{"info": {"model": "P"}, "tags": ["a"], "sn": 7, "state": "on"}'],
    modbus: [b"\x2b\x0e\x01\x81\x00\x00\x02\x00\x04Acme\x01\x02M1", b"\x11\x05Hello", b"\xab\x01"],
    opcua_hello: [b"ACKF\x1c\x00\x00\x00" + bytes(20), b"ERRF\x12\x00\x00\x00\x00\x00\x7d\x80\x02\x00\x00\x00no"],
    http_answer: [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ],
    dhcp_leases: [b"1800000000 ac:cc:8e:0a:0b:0c 10.1.2.3 pump *\nlease 10.1.2.4 {\n", b"10.1.2.5,ac:cc:8e:0a:0b:0c\n"],
    url: [b"http://10.0.0.9:80/x?y", b"http://[fe80::1%25eth0]:80/", b"https://user@name/"],
    akri_list: [
        b"\x0a\x14\x0a\x03cam\x12\x06\x0a\x01k\x12\x01v\x1a\x05\x12\x03/de",
        b"\x0a\x03foo\x12\x04/a.s\x18\x01",
    ],
    remote_report: [b'{"sightings": [{"id": "a", "facts": {"x": 1.5}, "identity": {"mac": "ac:cc:8e:0a:0b:0c"}}]}'],
    node_file: [
        json.dumps(
            {"configurations": [_FILTERED], "devices": [{"name": "a", "same_as": ["mac:accc8e0a0b0c"]}]}
        ).encode(),
        b'[[configurations]]\nname = "a"\nhandler = "udev"\n[handlers.udev]\nscan_seconds = 3\n',
    ],
    configuration: [
        json.dumps(_FILTERED).encode(),
        b'{"name": "a", "handler": "udev", "details": {"\xff": 1}}',
        b'{"name": "a", "same_as": ["mac:accc8e0a0b0c"], "not_same_as": ["id:mdns/x"]}',
        b'{"name": "a", "handler": "mdns", "details": {"presets": ["cameras"], "txt": [{"key": "a"}]}}',
        b'{"name": "a", "handler": "modbus", "details": {"targets": [{"addresses": "10.0.0.0/30"}]}}',
        b'{"name": "a", "handler": "mqtt", "details": {"maps": [{"name": "m", "topic": "a/{b}/c"}]}}',
        b'{"name": "a", "handler": "onvif", "details": {"scopes": {"action": "Include", "items": ["x"]}}}',
        b'{"name": "a", "handler": "coap", "details": {"rt": ["oic.*"]}, "nodes": ["n*"], "departure": {"grace": 3}}',
    ],
    **CONVERSATIONS,
    **FDO_TARGETS,
    udev_rule: [b'KERNEL=="video[0-9]*", ATTRS{idVendor}!="046d", ENV{ID_BUS}=="usb", TAG=="x"'],
}
"""Each with something to begin with."""
BY_NAME: Final = {target.__name__: target for target in TARGETS}

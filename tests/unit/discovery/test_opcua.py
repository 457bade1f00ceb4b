"""The handler `opcua`: what it makes of what strangers write, without a server; see tests/discovery for real ones."""

import asyncio
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ashore_discovery.handlers.opcua import hello, learning
from ashore_discovery.handlers.opcua.book import Book, Described, Endpoint, Key, says_alive
from ashore_discovery.handlers.opcua.details import OpcuaDetails
from ashore_discovery.handlers.opcua.handler import Opcua
from ashore_discovery.handlers.opcua.places import Place, Target, announced, parse
from ashore_discovery.handlers.opcua.resolver import Resolver
from ashore_discovery.limits import Network
from ashore_discovery.model import Facet, Offer, Refusal, Sighting
from tests.discovery_kit import NOON, Clock

LDS = Place("10.0.0.1", 4840, "")
PRESS = Place("10.0.0.7", 4841, "/plant")
AT = Target("10.0.0.7", 4841, PRESS.url)
ACKNOWLEDGE = struct.pack("<4sI5I", b"ACKF", 28, 0, 65_536, 65_536, 0, 0)


def details(*urls: str, **fields: object) -> OpcuaDetails:
    standard = {"discoveryUrls": list(urls or (LDS.url,)), "findServersOnNetwork": fields.pop("network", False)}
    return msgspec.convert({"opcuaDiscoveryMethod": {"standard": standard}, **fields}, OpcuaDetails)


def facet(name: str = "Press 1", **facts: object) -> Facet:
    known = {"application_name": name, "application_uri": "urn:p1", "url": PRESS.url, "found_by": [LDS.url]}
    return Facet(source="opcua", handler="opcua", id=PRESS.url, facts={**known, **facts})


def takes(action: str, items: list[str], globs: list[str] | None = None) -> bool:
    names = {"action": action, "items": items, "globs": globs or []}
    return isinstance(Opcua.offer(details(applicationNames=names), facet(), list), Offer)


def test_names_are_chosen_exactly_as_akri_does() -> None:
    assert takes("Include", ["Press 1"])
    assert not takes("Include", ["press 1"])
    assert not takes("Include", ["Press"])
    assert not takes("Include", [])
    assert not takes("Exclude", ["Press 1"])
    assert takes("Exclude", [])
    assert isinstance(Opcua.offer(details(), facet(), list), Offer)


def test_names_are_chosen_by_globs_too() -> None:
    assert takes("Include", [], ["Press *"])
    assert not takes("Exclude", [], ["Press *"])
    assert not takes("Include", ["Press *"])


def test_without_urls_the_discovery_server_of_the_node_is_asked() -> None:
    akri = msgspec.convert({"opcuaDiscoveryMethod": {"standard": {}}}, OpcuaDetails)
    assert Opcua.plan([akri]) == (("opc.tcp://localhost:4840", False),)


def test_a_broker_gets_the_properties_that_akri_gives() -> None:
    offer = Opcua.offer(details(), facet(), list)
    assert isinstance(offer, Offer)
    assert offer.properties["OPCUA_DISCOVERY_URL"] == "opc.tcp://10.0.0.7:4841/plant"
    assert offer.properties["OPCUA_APPLICATION_NAME"] == "Press 1"


def test_a_configuration_gets_only_what_its_own_discovery_servers_name() -> None:
    refusal = Opcua.offer(details("opc.tcp://10.0.0.2"), facet(), list)
    assert isinstance(refusal, Refusal)
    assert "opc.tcp://10.0.0.2:4840" in refusal.why
    heard_of = facet(found_by=[], found_on_network_by=[LDS.url])
    assert isinstance(Opcua.offer(details(), heard_of, list), Refusal)
    assert isinstance(Opcua.offer(details(network=True), heard_of, list), Offer)


def test_each_discovery_server_is_asked_once() -> None:
    plan = Opcua.plan([details("opc.tcp://a:4840/", "opc.tcp://b:1/x"), details("opc.tcp://A", network=True)])
    assert plan == (("opc.tcp://a:4840", True), ("opc.tcp://b:1/x", False))


@pytest.mark.parametrize(
    "url",
    ["", "a", "http://a", *(f"opc.tcp://{rest}" for rest in ("", "a:0", "a:99999", "u:p@a", "[::1", "a b"))],
)
def test_what_is_no_url_is_told(url: str) -> None:
    assert parse(url) is None
    if url:
        assert list(Opcua.problems(details(url)))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("opc.tcp://Press:4841/Plant", "opc.tcp://press:4841/Plant"),
        ("opc.tcp://press", "opc.tcp://press:4840"),
        ("opc.tcp://localhost:4841", "opc.tcp://10.0.0.1:4841"),
        ("opc.tcp://127.0.0.1:4841", "opc.tcp://10.0.0.1:4841"),
        ("opc.tcp://0.0.0.0:4841", "opc.tcp://10.0.0.1:4841"),
        ("opc.tcp://%FQDN%:4841/x", "opc.tcp://10.0.0.1:4841/x"),
        ("opc.tcp://[fd00::7]:4841", "opc.tcp://[fd00::7]:4841"),
        ("http://press:80", None),
    ],
)
def test_a_server_is_where_it_says_or_where_its_discovery_server_is(url: str, place: str | None) -> None:
    found = announced([url], LDS)
    assert (found and found.url) == place


@given(some.text())
def test_any_text_may_stand_for_a_url(text: str) -> None:
    for url in (text, f"opc.tcp://{text}", f"opc.tcp://{text}:4840/{text}"):
        place = announced([url], LDS)
        assert place is None or parse(place.url) == place


async def followed(url: str, asked: Place = LDS, network: Network | None = None) -> tuple[str, list[str]]:
    place = announced([url], asked)
    assert place is not None
    return await Resolver(network or Network(), Clock(), 5).followed(place, asked)


async def test_a_stranger_leads_only_into_allowed_networks() -> None:
    assert await followed("opc.tcp://8.8.8.8:22") == ("8.8.8.8", [])
    assert await followed("opc.tcp://10.0.0.9:4840") == ("10.0.0.9", ["10.0.0.9"])
    assert await followed("opc.tcp://10.0.0.9:4840", network=Network(["10.1.0.0/16"])) == ("10.0.0.9", [])
    # The operator has named this host, wherever it is.
    assert await followed("opc.tcp://8.8.8.8:22", Place("8.8.8.8", 4840, "")) == ("8.8.8.8", ["8.8.8.8"])


async def test_nobody_makes_us_speak_to_ourselves() -> None:
    resolver = Resolver(Network(), Clock(), 5)
    assert (await resolver.followed(Place("127.0.0.2", 22, ""), LDS))[1] == []
    assert (await resolver.followed(Place("::ffff:127.0.0.2", 22, ""), LDS))[1] == []


async def test_a_name_that_means_nothing_is_replaced_by_the_discovery_server() -> None:
    assert await followed("opc.tcp://no-such-host.invalid:4841") == ("10.0.0.1", ["10.0.0.1"])


def test_a_hello_says_whom_it_is_for() -> None:
    message = hello.hello("opc.tcp://a:4840")
    assert message[:4] == b"HELF"
    assert struct.unpack("<I", message[4:8]) == (len(message),)
    assert message.endswith(b"opc.tcp://a:4840")


def test_answers_are_read() -> None:
    assert hello.decode(ACKNOWLEDGE) == hello.Acknowledge(0, 65_536, 65_536, 0, 0)
    error = struct.pack("<4sIIi", b"ERRF", 20, 0x80830000, 4) + b"busy"
    assert hello.decode(error) == hello.Refused(0x80830000, "busy")
    assert hello.decode(struct.pack("<4sIIi", b"ERRF", 16, 1, -1)) == hello.Refused(1, "")


@given(some.binary() | some.binary().map(lambda more: b"ACKF" + more) | some.binary().map(lambda more: b"ERRF" + more))
def test_any_bytes_may_answer_a_hello(answer: bytes) -> None:
    with suppress(hello.HelloError):
        assert hello.decode(answer)
    with suppress(hello.HelloError):
        hello.decode(answer[:4] + struct.pack("<I", len(answer)) + answer[8:])


@asynccontextmanager
async def answering(answer: bytes, *, hang: bool = False) -> AsyncIterator[Target]:
    """Something on a real port that answers everybody with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(answer)
            await reader.read(100)
            if hang:
                await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Target("127.0.0.1", port, f"opc.tcp://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (ACKNOWLEDGE, "answers"),
        (struct.pack("<4sIIi", b"ERRF", 16, 0x80830000, -1), "answers"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "foreign"),
        (struct.pack("<4sI", b"ACKF", 0xFFFFFFFF), "foreign"),
        (b"ACK", "foreign"),
    ],
)
async def test_what_listens_is_known_by_its_answer(answer: bytes, meaning: str) -> None:
    async with answering(answer) as target:
        assert await hello.ask(target, 5) == meaning


async def test_silence_and_refusal_are_two_things() -> None:
    async with answering(b"", hang=True) as target:
        assert await hello.ask(target, 0.1) == "silent"
    assert await hello.ask(target, 5) == "refuses"


def test_silence_says_nothing_while_nobody_who_names_the_server_is_heard() -> None:
    assert says_alive("answers", witnessed=False) is True
    assert says_alive("refuses", witnessed=False) is False
    assert says_alive("silent", witnessed=False) is None
    assert says_alive("silent", witnessed=True) is False
    assert says_alive("unreachable", witnessed=True) is None


def test_a_server_that_names_itself_is_no_witness() -> None:
    book = Book()
    assert book.witnessed([PRESS.url], lambda url: url == PRESS.url)
    assert not book.witnessed([PRESS.url, LDS.url], lambda url: url == PRESS.url)
    book.answering.add(LDS.url)
    assert book.witnessed([PRESS.url, LDS.url], lambda url: url == PRESS.url)


def book_with_press() -> Book:
    book = Book()
    book.named(Key(LDS.url, network=False), LDS, [(PRESS, Described(uri="urn:p1", name="Press 1", kind="Server"))])
    return book


def test_a_server_is_told_only_when_it_answers_and_missed_only_once() -> None:
    book = book_with_press()
    (known,) = book.servers.values()
    assert book.checked(known, None, NOON, fresh=False) is None
    seen = book.checked(known, AT, NOON, fresh=True)
    assert isinstance(seen, Sighting)
    seen.check()
    assert seen.identity == {"address": "10.0.0.7:4841", "application": "urn:p1@10.0.0.7"}
    missed = book.checked(known, None, NOON, fresh=False)
    assert missed is not None
    assert missed.kind == "missed"
    assert book.checked(known, None, NOON, fresh=False) is None
    assert book.checked(known, None, NOON, fresh=True) is not None


def test_who_is_listed_no_more_stays_as_long_as_it_answers() -> None:
    book = book_with_press()
    (known,) = book.servers.values()
    book.checked(known, AT, NOON, fresh=True)
    book.named(Key(LDS.url, network=False), LDS, [])
    assert book.servers
    book.checked(known, None, NOON, fresh=True)
    book.named(Key(LDS.url, network=False), LDS, [])
    assert not book.servers


def test_what_only_an_unwanted_discovery_server_names_is_not_looked_for() -> None:
    book = book_with_press()
    assert not book.keep({Key(LDS.url, network=False)})
    assert [known.place for known in book.keep(set())] == [PRESS]
    assert not book.servers


def test_endpoints_become_facts_and_a_certificate_an_identity() -> None:
    certificate = b"\x30\x82\x00\x03abc"
    server = Described(uri="urn:p1")
    chain = certificate + b"\x30\x00"
    one = Endpoint(
        url="opc.tcp://p:1", policy="Basic256", mode="Sign", tokens=("UserName",), certificate=chain, server=server
    )
    learnt = learning.learnt([one])
    assert learnt is not None
    assert learnt.facts["security_policies"] == ["Basic256"]
    assert len(str(learnt.identity["certificate"])) == 64
    assert learning.leaf(one.certificate) == certificate
    assert learning.learnt([]) is None


@given(some.binary() | some.binary().map(lambda more: b"\x30\x82" + more))
def test_any_bytes_may_stand_for_a_certificate(chain: bytes) -> None:
    assert chain.startswith(learning.leaf(chain))


NEEDS_ASYNCUA = pytest.mark.skipif(find_spec("asyncua") is None, reason="asyncua is not installed")


@NEEDS_ASYNCUA
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ACKNOWLEDGE,
        ACKNOWLEDGE + b"OPNF" + b"\xff" * 60,
        ACKNOWLEDGE + struct.pack("<4sIII", b"MSGF", 24, 1, 1) + bytes(8),
        struct.pack("<4sIIi", b"ERRF", 16, 0x80830000, -1),
    ],
)
async def test_whatever_answers_a_question_is_an_error_and_no_crash(answer: bytes) -> None:
    from ashore_discovery.handlers.opcua import client

    async with answering(answer, hang=True) as target:
        for ask in (client.find_servers(target, 0.3, 10), client.endpoints(target, 0.3)):
            with pytest.raises(client.AskError, match=target.url):
                await ask


@NEEDS_ASYNCUA
async def test_who_never_stops_talking_is_hung_up_on() -> None:
    from ashore_discovery.handlers.opcua import client

    sent = 0

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(struct.pack("<4sI", b"ACKF", 0xFFFFFFFF))
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(65_536))
                await writer.drain()
                sent += 65_536
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(client.AskError):
            await client.find_servers(Target("127.0.0.1", port, f"opc.tcp://127.0.0.1:{port}"), 30, 10)
    # What lies in the buffers of the kernel is not ours to count.
    assert sent < 32 * client.MOST_BYTES


def test_without_asyncua_it_says_how_to_get_it() -> None:
    program = (
        "import asyncio, sys; sys.modules['asyncua'] = None\n"
        "from ashore_discovery.handlers.opcua.handler import _asyncua\n"
        "asyncio.run(_asyncua())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "HandlerError: 'opcua' needs the package asyncua, which is missing: pip install" in done.stderr


def test_asyncua_is_not_imported_before_it_is_used() -> None:
    program = "import sys, ashore_discovery.handlers.opcua.handler; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

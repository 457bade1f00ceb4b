"""CoAP: messages, lists of links, and what is known of servers; all of it said by strangers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.handlers.coap import messages
from ashore_discovery.handlers.coap.book import Book, Peer, Registered, peer_of
from ashore_discovery.handlers.coap.exchange import Exchange, UnansweredError
from ashore_discovery.handlers.coap.handler import Coap, CoapDetails
from ashore_discovery.handlers.coap.links import Link, LinkError, parse
from ashore_discovery.handlers.coap.messages import Message, MessageError, decode
from ashore_discovery.handlers.datagrams import Inbox
from ashore_discovery.limits import Network
from ashore_discovery.model import Facet, Offer, Refusal

PEER = Peer("10.0.0.9", 5683)


def test_a_message_is_read_as_the_standard_writes_it() -> None:
    # RFC 7252, appendix A, figure 16: a GET of /temperature, and its answer.
    asked = bytes.fromhex("40017d34") + b"\xbbtemperature"
    assert decode(asked) == Message(messages.CON, messages.GET, 0x7D34, b"", [(messages.URI_PATH, b"temperature")])
    answer = bytes.fromhex("60457d34ff") + b"22.3 C"
    assert decode(answer) == Message(messages.ACK, messages.CONTENT, 0x7D34, b"", [], b"22.3 C")


numbers = st.integers(0, 65_804)
parts = st.builds(
    Message,
    st.integers(0, 3),
    st.integers(1, 255),
    st.integers(0, 65_535),
    st.binary(max_size=8),
    st.lists(st.tuples(numbers, st.binary(max_size=300)), max_size=5).map(
        lambda some: sorted(some, key=lambda o: o[0])
    ),
    st.binary(max_size=100),
)


@given(parts)
def test_what_is_written_is_read(message: Message) -> None:
    assert decode(message.encode()) == message


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda more: b"\x54\x45\x00\x01toke" + more))
def test_no_datagram_breaks_the_reader(data: bytes) -> None:
    with suppress(MessageError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40",
        b"\x00\x01\x00\x01",
        b"\x49\x45\x00\x01" + b"x" * 9,
        b"\x40\x45\x00\x01\xff",
        b"\x40\x45\x00\x01\xf0",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)


def test_links_are_read() -> None:
    said = b'</sensors/temp>;if="sensor";rt="temperature-c x"; ct=41 ,\n</a>;title="a, \\"b\\"; <c>";obs'
    assert parse(said) == [
        Link("/sensors/temp", {"if": "sensor", "rt": "temperature-c x", "ct": "41"}),
        Link("/a", {"title": 'a, "b"; <c>', "obs": ""}),
    ]
    assert parse(b"") == parse(b" ") == []


@pytest.mark.parametrize("body", [b"<", b"</a", b"a", b"</a>,", b"</a></b>", b'</a>;x="', b"\xff", b"x" * 40_000])
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(LinkError):
        parse(body)


@given(st.text(alphabet='<>;,="\\ /ab\n\0', max_size=400).map(str.encode) | st.binary(max_size=400))
def test_no_list_breaks_its_reader(body: bytes) -> None:
    with suppress(LinkError):
        sighting = Book().answered(PEER, parse(body), "answer", 1000.0)
        assert sighting is not None
        sighting.check()


@pytest.mark.parametrize("part", [b"</a>" + b" " * 30_000, b'</a>;x="' + b"\\" * 30_000, b"</a>" + b";" * 30_000])
def test_a_long_list_takes_no_long_time(part: bytes) -> None:
    with suppress(LinkError):
        parse(part)


def test_too_many_links_are_not_all_believed() -> None:
    assert len(parse(b",".join(b"</%d>;rt=t" % number for number in range(2000)))) == 256


def test_a_server_is_known_by_itself_and_by_a_directory() -> None:
    book = Book()
    book.answered(PEER, [Link("/a", {"rt": "x y"})], "answer", 1.0)
    registered = Registered(
        "urn:uuid:11111111-2222-3333-4444-555555555555", "plant", "coap://d", (Link("coap://h/b", {}),)
    )
    seen = book.listed(PEER, registered, 2.0)
    assert seen is not None
    assert seen.facts["rt"] == ["x", "y"]
    assert seen.facts["resources"] == ["/a", "/b"]
    assert seen.identity["uuid"] == "11111111-2222-3333-4444-555555555555"
    left = book.unlisted(PEER.name, 3.0)
    assert left is not None
    # It has answered itself, so that it is not listed any more does not make it gone.
    assert (left.kind, left.facts["resources"]) == ("seen", ["/a"])


def test_who_is_only_in_a_directory_leaves_with_it() -> None:
    book = Book()
    book.listed(PEER, Registered("n", "", "coap://d", ()), 1.0)
    assert book.listed_by("coap://d") == [PEER.name]
    left = book.unlisted(PEER.name, 2.0)
    assert left is not None
    assert left.kind == "bye"
    assert not book.servers


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("coap://10.0.0.9", PEER),
        ("coap://[fe80::1%eth0]:99", Peer("fe80::1%eth0", 99)),
        ("coaps://10.0.0.9", None),
        ("coap://10.0.0.9:x", None),
        ("coap://[", None),
        ("", None),
    ],
)
def test_where_a_server_is(url: str, peer: Peer | None) -> None:
    assert peer_of(url) == peer


def test_names_lead_back_to_where_a_server_is() -> None:
    for peer in (PEER, Peer("fe80::1%eth0", 5683)):
        assert peer_of(f"coap://{peer.name}") == peer


Answer = Callable[[Message], list[Message]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[Exchange, Peer]]:
    """Somebody on the loopback who answers like this, and somebody to ask him."""

    class Server(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            for one in answer(decode(data)):
                transport.sendto(one.encode(), addr)

    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []

    def spawn(work) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work))
        return tasks[-1]

    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0), family=socket.AF_INET)
    exchange = Exchange(Network(), lambda: Inbox(loop.time, structlog.get_logger()), lambda *_: None, lambda *_: None)
    try:
        await exchange.use({"lo"}, spawn)
        yield exchange, Peer("127.0.0.1", transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
        await exchange.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_long_list_comes_in_blocks() -> None:
    body = b"".join(b"%04d" % number for number in range(40))

    def answer(asked: Message) -> list[Message]:
        number = (asked.number(messages.BLOCK2) or 0) >> 4
        part, more = body[number * 64 :][:64], len(body) > (number + 1) * 64
        block = (number << 4 | more << 3 | 2).to_bytes(2, "big").lstrip(b"\0")
        return [Message(messages.ACK, messages.CONTENT, asked.id, asked.token, [(messages.BLOCK2, block)], part)]

    async with answering(answer) as (exchange, peer):
        assert await exchange.get(peer, ".well-known/core") == body


async def test_blocks_without_an_end_are_given_up() -> None:
    def answer(asked: Message) -> list[Message]:
        number = (asked.number(messages.BLOCK2) or 0) >> 4
        block = (messages.BLOCK2, (number << 4 | 8 | 6).to_bytes(3, "big"))
        return [Message(messages.ACK, messages.CONTENT, asked.id, asked.token, [block], b"x" * 1024)]

    async with answering(answer) as (exchange, peer):
        with pytest.raises(UnansweredError):
            await exchange.get(peer, "x")


async def test_an_answer_may_come_later_than_its_acknowledgement() -> None:
    acknowledged: list[Message] = []

    def answer(asked: Message) -> list[Message]:
        if asked.code == messages.EMPTY:
            acknowledged.append(asked)
            return []
        empty = Message(messages.ACK, messages.EMPTY, asked.id)
        return [empty, Message(messages.CON, messages.CONTENT, 77, asked.token, [], b"late")]

    async with answering(answer) as (exchange, peer):
        assert await exchange.get(peer, "x") == b"late"
        await asyncio.sleep(0.1)
    assert [(one.kind, one.id) for one in acknowledged] == [(messages.ACK, 77)]


async def test_a_ping_is_answered_with_a_reset() -> None:
    async with answering(lambda asked: [Message(messages.RST, messages.EMPTY, asked.id)]) as (exchange, peer):
        assert await exchange.ping(peer, 2.0) is True
    async with answering(lambda _: []) as (exchange, peer):
        assert await exchange.ping(peer, 0.3) is False


async def test_an_observation_tells_of_changes_and_not_of_what_is_older() -> None:
    asking: list[Message] = []

    def said(asked: Message) -> list[Message]:
        asking.append(asked)
        numbers = [7] if len(asking) > 1 else [5, 4, 6]
        options = [[(messages.OBSERVE, bytes((number,)))] for number in numbers]
        return [Message(messages.NON, messages.CONTENT, 100, asked.token, one, b"x") for one in options]

    async with answering(said) as (exchange, peer), exchange.observing(peer, "x") as observation:
        assert await observation.now() == b"x"
        await observation.changed()
        assert await observation.now() == b"x"


def test_a_path_keeps_its_last_slash() -> None:
    named = [value for name, value in messages.get("/a/b/") if name == messages.URI_PATH]
    assert named == [b"a", b"b", b""]
    assert messages.get("/") == messages.get("")


async def test_an_error_is_no_answer() -> None:
    async with answering(lambda asked: [Message(messages.ACK, 0x84, asked.id, asked.token)]) as (exchange, peer):
        with pytest.raises(UnansweredError, match=r"4\.04"):
            await exchange.get(peer, "x")


def test_a_configuration_gets_what_fits_its_patterns() -> None:
    facts = {"host": "10.0.0.9", "port": 5683, "rt": ["temperature"], "if": ["core.s"], "resources": ["/t"]}
    facet = Facet(source="coap", handler="coap", id=PEER.name, facts=facts, endpoints=["coap://10.0.0.9:5683"])
    offer = Coap.offer(CoapDetails(rt=["temp*"], if_=["core.*"], hosts=["10.0.*"]), facet, list)
    assert isinstance(offer, Offer)
    assert offer.properties["COAP_RESOURCES"] == "/t"
    assert isinstance(Coap.offer(CoapDetails(ct=["60"]), facet, list), Refusal)

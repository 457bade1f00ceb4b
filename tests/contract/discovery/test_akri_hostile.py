"""Strangers at both ends of Akri's interface: frames that promise too much, end too early, or are no HTTP/2 at all."""

import asyncio
import re
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from ashore_discovery.handler import Seen
from ashore_discovery.limits import Network
from ashore_discovery.listening.akri.details import AkriSettings, Anything
from ashore_discovery.listening.akri.endpoints import FILE, FORGET_SECONDS, Book, Kept, Places
from ashore_discovery.listening.akri.handler import Plan, kind_of
from ashore_discovery.listening.akri.reception import SOCKET, AkriReception
from ashore_discovery.listening.akri.wire import LARGEST_LIST
from ashore_discovery.listening.catalogue import Catalogue
from tests.bus_kit import until
from tests.contract.discovery.akri_peers import short_folder
from tests.discovery_kit import Clock, listening

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
GOOD = b"\x0a\x03\x0a\x01x"
"""A list with one device, `x`."""
OTHER = b"\x0a\x03\x0a\x01y"


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


def framed(body: bytes, *, size: int | None = None, flag: int = 0) -> bytes:
    return bytes([flag]) + (len(body) if size is None else size).to_bytes(4, "big") + body


def raw(data: bytes, *, end: bool = False) -> Callable[[H2Connection, int], None]:
    def answer(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, HEADERS)
        for start in range(0, len(data), 16000):
            connection.send_data(stream, data[start : start + 16000])
        if end:
            connection.end_stream(stream)

    return answer


@asynccontextmanager
async def stranger(path: Path, answer: Callable[[H2Connection, int], None] | bytes) -> AsyncIterator[list[int]]:
    """A server that answers each call in its own way."""
    calls: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(answer, bytes):
            calls.append(0)
            writer.write(answer)
            await writer.drain()
            writer.close()
            return
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    calls.append(event.stream_id)
                    answer(connection, event.stream_id)
            writer.write(connection.data_to_send())
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield calls
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (raw(framed(b"x", size=2**32 - 1)), f"and {LARGEST_LIST} are taken"),
        (raw(framed(b"x", size=100), end=True), "in the middle of a message"),
        (raw(framed(GOOD, flag=1)), "compressed"),
        (raw(framed(b"\xff\xff\xff")), "cannot be read"),
        (raw(framed(b"\x0a\x00" * 100_000)), "2000 are taken"),
        (raw(b"", end=True), "takes too long"),
        (lambda connection, stream: connection.reset_stream(stream), "reset"),
        (lambda connection, stream: connection.close_connection(), "GOAWAY|lost"),
        (
            lambda connection, stream: connection.send_headers(
                stream, [(":status", "200"), ("content-type", "text/html")], end_stream=True
            ),
            "content-type",
        ),
        (lambda connection, stream: connection.send_headers(stream, [(":status", "404")], end_stream=True), "404"),
        (
            lambda connection, stream: connection.send_headers(
                stream, [*HEADERS, ("grpc-status", "13"), ("grpc-message", "%0Abad%00 " + "x" * 5000)], end_stream=True
            ),
            "INTERNAL:  bad",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "lost|Protocol"),
        (b"", "lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_a_stranger_serves_is_a_reason_and_nothing_else(
    folder: Path, answer: Callable[[H2Connection, int], None] | bytes, why: str
) -> None:
    book = Book(folder, Places(folder, Network()), Catalogue([]))
    family, _ = book.enter(Kept(name="rfid", endpoint=str(folder / "rfid.sock")))
    async with (
        stranger(folder / "rfid.sock", answer) as calls,
        listening(kind_of(family, book), Anything(), settings=AkriSettings()) as heard,
    ):
        reasons = lambda: [*(reason for _, reason in heard.modes), str(heard.failed or "")]  # noqa: E731
        await until(lambda: any(re.search(why, reason) for reason in reasons()), seconds=20)
        assert calls
        assert not heard.sightings
        assert all(len(reason) < 1000 and reason.isprintable() for reason in reasons())


async def test_an_endpoint_that_is_away_is_forgotten_where_another_of_its_name_answers(folder: Path) -> None:
    clock = Clock()
    book = Book(folder, Places(folder, Network()), Catalogue([]))
    away = str(folder / "away.sock")
    for path in (away, str(folder / "rfid.sock")):
        family, _ = book.enter(Kept(name="rfid", endpoint=path))
    async with (
        stranger(folder / "rfid.sock", raw(framed(GOOD))),
        listening(kind_of(family, book), Anything(), settings=AkriSettings(), clock=clock) as heard,
    ):
        await heard.until("seen", "x")
        await until(lambda: family.endpoints[away].failures > 1)
        # Who has not been asked may have seen something: nothing is missing yet.
        assert not heard.sweeps
        clock.now += FORGET_SECONDS + 1
        await until(lambda: away not in family.endpoints)
        await heard.swept()
        assert heard.handler.family.endpoints.keys() == {str(folder / "rfid.sock")}  # type: ignore[attr-defined]
    assert [one.endpoint for one in msgspec.json.decode((folder / FILE).read_bytes(), type=list[Kept])] == [
        str(folder / "rfid.sock")
    ]


async def test_nothing_is_missing_while_a_list_still_waits_to_be_told(folder: Path) -> None:
    book = Book(folder, Places(folder, Network()), Catalogue([]))
    late = Kept(name="rfid", endpoint=str(folder / "late.sock"))
    book.enter(late)
    family, _ = book.enter(Kept(name="rfid", endpoint=str(folder / "rfid.sock")))
    order: list[str] = []

    async with AsyncExitStack() as stack:

        class Watched(kind_of(family, book)):  # type: ignore[misc]
            async def run(self, plan: Plan) -> Seen:
                async for item in super().run(plan):
                    order.append(getattr(item, "id", "swept"))
                    yield item
                    if order == ["x"]:
                        # The other list comes just while the first is being told.
                        await stack.enter_async_context(stranger(folder / "late.sock", raw(framed(OTHER))))
                        book.enter(late)
                        await until(lambda: all(one.state == "listed" for one in self._calls.calls.values()))

        await stack.enter_async_context(stranger(folder / "rfid.sock", raw(framed(GOOD))))
        async with listening(Watched, Anything(), settings=AkriSettings()) as heard:
            await heard.swept()
    assert order == ["x", "y", "swept"]


async def test_the_only_endpoint_is_dialled_for_ever(folder: Path) -> None:
    clock = Clock()
    book = Book(folder, Places(folder, Network()), Catalogue([]))
    family, _ = book.enter(Kept(name="rfid", endpoint=str(folder / "rfid.sock")))
    async with listening(kind_of(family, book), Anything(), settings=AkriSettings(), clock=clock) as heard:
        await until(lambda: family.endpoints[str(folder / "rfid.sock")].failures > 1)
        clock.now += 1000 * FORGET_SECONDS
        async with stranger(folder / "rfid.sock", raw(framed(GOOD))):
            book.enter(Kept(name="rfid", endpoint=str(folder / "rfid.sock")))
            await heard.until("seen", "x")


async def test_the_socket_is_for_the_group_and_a_stale_one_is_replaced(folder: Path) -> None:
    for _ in range(2):
        async with reception(folder):
            assert stat.S_ISSOCK((folder / SOCKET).stat().st_mode)
        # An agent that was killed leaves its socket behind.
        server = await asyncio.start_unix_server(lambda reader, writer: None, str(folder / SOCKET))
        server.close()


async def test_another_agent_is_not_pushed_aside(folder: Path) -> None:
    async with reception(folder):
        with pytest.raises(FileExistsError, match="another agent"):
            await make(folder).serve()
        assert (folder / SOCKET).exists()
    (folder / SOCKET).write_text("not a socket")
    with pytest.raises(FileExistsError, match="remove it"):
        await make(folder).serve()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (framed(b"\xff" * 10), "3"),
        (framed(b"x", size=2**31), "3"),
        (framed(b""), "3"),
        (framed(b"\x0a\x01x\x12\x01/", flag=1), "3"),
        (b"", "3"),
    ],
)
async def test_nonsense_at_the_socket_gets_an_answer_and_no_handler(folder: Path, sent: bytes, status: str) -> None:
    async with reception(folder) as found:
        headers = await ask(folder, sent)
        assert headers["grpc-status"] == status
        assert not found._book.families


async def test_what_is_no_http_2_is_hung_up_on(folder: Path) -> None:
    async with reception(folder):
        reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET))
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        assert (await ask(folder, framed(b"")))["grpc-status"] == "3"


def make(folder: Path) -> AkriReception:
    return AkriReception(folder, folder, Network(), Catalogue([]), lambda: None)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else 0


@asynccontextmanager
async def reception(folder: Path) -> AsyncIterator[AkriReception]:
    found = make(folder)
    task = asyncio.create_task(found.serve())
    await until(lambda: mode_of(folder / SOCKET) == 0o660 or task.done())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(folder: Path, sent: bytes) -> dict[str, str]:
    """Send this as a registration; the answer is the last headers."""
    async with asyncio.timeout(20):
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(folder / SOCKET))
                break
            except ConnectionRefusedError:
                # It is bound, but does not listen yet.
                await asyncio.sleep(0.01)
        connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        path = "/v0.Registration/RegisterDiscoveryHandler"
        # Akri's own authority, and as grpcio percent-encodes a path.
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "%2Fvar%2Flib"), (":path", path)]
        connection.send_headers(1, [*headers, ("te", "trailers"), ("content-type", "application/grpc")])
        connection.send_data(1, sent, end_stream=True)
        writer.write(connection.data_to_send())
        found: dict[str, str] = {}
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, DataReceived):
                    continue
                found |= dict(getattr(event, "headers", None) or [])
                if isinstance(event, StreamEnded):
                    writer.close()
                    return found
        return found

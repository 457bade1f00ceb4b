"""What an API server may do to a question, and what the launcher makes of it; told by a server that is scripted."""

import asyncio
from collections.abc import Callable

import pytest

from ashore_broker_launcher.cluster import (
    CONFIG_MAP,
    ClusterError,
    Conflict,
    JsonObject,
    Kind,
    NotFound,
    Refused,
    Unreachable,
)
from ashore_broker_launcher.launchers.kubernetes.cluster import KubernetesCluster
from ashore_broker_launcher.launchers.kubernetes.http import Bounds
from tests.kube.control_plane import free_ports
from tests.kube.scripted import Answering, ScriptedServer, endless, failed, listed, raw, said, silence

SMALL = Bounds(answer=20_000, event=20_000, connect_seconds=5, answer_seconds=30)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FILLING = b"1000\r\n" + b"x" * 4096 + b"\r\n"
ONE: JsonObject = {"metadata": {"namespace": "place", "name": "one", "uid": "1", "resourceVersion": "7"}}


async def got(*script: Answering, bounds: Bounds = SMALL) -> JsonObject:
    async with ScriptedServer(*script) as server, KubernetesCluster(server.access(), bounds=bounds) as cluster:
        return await cluster.get(CONFIG_MAP, "place", "one")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (failed(404, "NotFound"), NotFound, "get ConfigMap place/one"),
        (failed(409, "Conflict"), Conflict, "no"),
        (failed(403, "Forbidden"), Refused, "ClusterRole"),
        (failed(401, "Unauthorized"), Refused, "kubeconfig"),
        (failed(400, "BadRequest"), Refused, "no"),
        (failed(422, "Invalid"), Refused, "no"),
        (failed(429, "TooManyRequests"), Unreachable, "no"),
        (failed(500, "InternalError"), Unreachable, "no"),
        (failed(503, "ServiceUnavailable"), Unreachable, "no"),
        (said(b"<html>bad gateway</html>", 502), Unreachable, "bad gateway"),
        (said(b"", 302, Location="http://127.0.0.1:1/"), Refused, "get ConfigMap"),
        (said([1, 2, 3]), Unreachable, "cannot be read"),
        (said({"kind": "Something"}), Unreachable, "no object"),
        (said(b'{"metadata": '), Unreachable, "cannot be read"),
        (raw(b"", close=True), Unreachable, "closed"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Unreachable, "not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", close=True), Unreachable, "closed"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n12345"), Unreachable, "not HTTP"),
        (
            raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
            Unreachable,
            "not HTTP",
        ),
        (endless(CHUNKED, FILLING), Unreachable, "larger"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X-Filling: " + b"x" * 4096 + b"\r\n"), Unreachable, "headers|larger"),
        (endless(b"HTTP/1.1 200 OK\r\nX-Filling: ", b"x" * 4096), Unreachable, "headers|HTTP"),
    ],
)
async def test_an_answer_that_is_none_is_told_in_the_words_of_the_port(
    answer: Answering, error: type[ClusterError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await got(answer)


async def test_who_does_not_answer_is_given_up() -> None:
    impatient = Bounds(answer_seconds=0.05)
    with pytest.raises(Unreachable, match="no answer"):
        await got(silence(), bounds=impatient)
    with pytest.raises(Unreachable, match="no answer"):
        await got(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), bounds=impatient)


async def test_where_nobody_listens_is_told() -> None:
    server = ScriptedServer()
    async with server:
        access = server.access()
    [port] = free_ports(1)
    nowhere = access._replace(url=access.url._replace(netloc=f"127.0.0.1:{port}"))
    async with KubernetesCluster(nowhere) as cluster:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await cluster.get(CONFIG_MAP, "place", "one")


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (failed(429, Retry_After="3"), 3),
        (failed(503, Retry_After="0"), 0),
        (said({"details": {"retryAfterSeconds": 4}}, 429), 4),
        (failed(429, Retry_After="86400"), 300),
        (failed(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), None),
        (failed(503), None),
    ],
)
async def test_how_long_the_api_server_wants_us_to_wait_is_handed_on(answer: Answering, seconds: float | None) -> None:
    with pytest.raises(Unreachable) as told:
        await got(answer)
    assert told.value.retry_seconds == seconds


async def test_an_answer_in_pieces_without_a_length_or_after_a_go_on_is_whole() -> None:
    body = b'{"metadata": {"name": "one"}}'
    wanted = {"metadata": {"name": "one"}}
    assert await got(raw(CHUNKED + b"4\r\n" + body[:4] + b"\r\n19\r\n" + body[4:] + b"\r\n0\r\n\r\n")) == wanted
    assert await got(raw(b"HTTP/1.1 200 OK\r\n\r\n" + body, close=True)) == wanted
    assert (
        await got(raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n" + body)) == wanted
    )


async def test_a_connection_is_used_again_and_one_that_ended_meanwhile_is_replaced() -> None:
    async with ScriptedServer(said(ONE), said(ONE, close=True), said(ONE)) as server:
        async with KubernetesCluster(server.access()) as cluster:
            for _ in range(3):
                await cluster.get(CONFIG_MAP, "place", "one")
        assert [question.connection for question in server.asked] == [1, 1, 2]


async def test_what_was_asked_on_a_connection_that_ends_is_asked_again_unless_that_would_make_two() -> None:
    async with ScriptedServer(said(ONE), raw(b"", close=True), said(ONE)) as server:
        async with KubernetesCluster(server.access()) as cluster:
            await cluster.get(CONFIG_MAP, "place", "one")
            assert await cluster.apply(CONFIG_MAP, ONE)
        assert [question.method for question in server.asked] == ["GET", "PATCH", "PATCH"]
    async with ScriptedServer(said(ONE), raw(b"", close=True), said(ONE)) as server:
        async with KubernetesCluster(server.access()) as cluster:
            await cluster.get(CONFIG_MAP, "place", "one")
            with pytest.raises(Unreachable):
                await cluster.create(CONFIG_MAP, ONE)
        assert [question.method for question in server.asked] == ["GET", "POST"]


async def test_who_is_cancelled_leaves_no_answer_behind_for_the_next() -> None:
    another = {"metadata": {"name": "another"}}
    async with ScriptedServer() as server, KubernetesCluster(server.access()) as cluster:
        asking = asyncio.create_task(cluster.get(CONFIG_MAP, "place", "one"))
        await until(lambda: len(server.asked) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.ended == 1)
        server.script.append(said(another))
        assert await cluster.get(CONFIG_MAP, "place", "another") == another
        assert [question.connection for question in server.asked] == [1, 2]


async def test_no_more_than_32_questions_are_under_way_and_all_are_answered() -> None:
    held = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await held.wait()
        await said(ONE)(writer)

    async with ScriptedServer(*[late] * 100) as server, KubernetesCluster(server.access()) as cluster:
        asking = [asyncio.create_task(cluster.get(CONFIG_MAP, "place", "one")) for _ in range(100)]
        await until(lambda: len(server.asked) == 32)
        held.set()
        assert await asyncio.gather(*asking) == [ONE] * 100
        assert {question.connection for question in server.asked} == set(range(1, 33))


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("place", ".."), ("..", "one"), ("", "one"), ("place", ""), ("place", "."), ("plätze", "one\r\nX: y")],
)
async def test_a_name_that_would_lead_elsewhere_is_refused_or_stays_a_name(namespace: str, name: str) -> None:
    async with ScriptedServer(failed(404)) as server, KubernetesCluster(server.access()) as cluster:
        with pytest.raises((Refused, NotFound)):
            await cluster.get(CONFIG_MAP, namespace, name)
        for question in server.asked:
            _, *parts = question.path.split("/")
            assert len(parts) == 6
            assert not {"", ".", ".."} & set(parts)


async def test_a_kind_that_would_lead_elsewhere_is_refused() -> None:
    wicked = Kind("v1", "ConfigMap", "../../secrets")
    async with ScriptedServer(failed(404)) as server, KubernetesCluster(server.access()) as cluster:
        with pytest.raises(NotFound):
            await cluster.get(wicked, "place", "one")
        assert server.asked[0].path == "/api/v1/namespaces/place/..%2F..%2Fsecrets/one"


async def test_pages_that_the_api_server_has_forgotten_are_read_anew() -> None:
    one, two = a_map("one"), a_map("two")
    script = [listed("5", one, more="next"), failed(410, "Expired"), listed("9", one, more="next"), listed("9", two)]
    async with ScriptedServer(*script) as server, KubernetesCluster(server.access()) as cluster:
        found = await cluster.list(CONFIG_MAP)
        assert [each["metadata"]["name"] for each in found] == ["one", "two"]
        assert server.queries("continue") == [None, "next", None, "next"]


async def test_what_is_forgotten_again_and_again_is_given_up() -> None:
    script = [listed("5", a_map("one"), more="next"), failed(410, "Expired")] * 3
    async with ScriptedServer(*script) as server, KubernetesCluster(server.access()) as cluster:
        with pytest.raises(Unreachable, match="forgets"):
            await cluster.list(CONFIG_MAP)


async def test_pages_that_are_too_large_are_asked_for_with_fewer_objects() -> None:
    script = [endless(CHUNKED, FILLING), listed("5", a_map("one"))]
    async with ScriptedServer(*script) as server, KubernetesCluster(server.access(), bounds=SMALL) as cluster:
        assert len(await cluster.list(CONFIG_MAP)) == 1
        assert server.queries("limit") == ["500", "62"]


def a_map(name: str) -> JsonObject:
    return {"metadata": {"namespace": "place", "name": name, "uid": name, "resourceVersion": "1"}}


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what is awaited happens elsewhere
            await asyncio.sleep(0.01)

"""The webhook answers reviews of the API server, and survives whatever else is sent to it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from ashore.http.api import api
from ashore.http.auth import Auth
from ashore_broker_launcher.admission.webhook import MOST_BYTES, WebhookApi
from ashore_broker_launcher.cluster import JsonObject, Kind, Refused, Unreachable
from tests.unit.launcher.admission.configurations import RULES, configuration, pod


class Doubting:
    """Says of every broker what it is told to say."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, JsonObject]] = []

    async def check(self, kind: Kind, body: JsonObject) -> None:
        self.asked.append((kind.name, body))
        if self.error is not None:
            raise self.error


def client_of(cluster: Doubting | None = None) -> httpx.AsyncClient:
    application = api(WebhookApi(RULES, cluster).routes(), auth=Auth([], enabled=False), title="webhook", version="1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="https://webhook")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of() as one:
        yield one


def review(body: Any, operation: str = "CREATE", old: Any = None) -> dict[str, Any]:
    request = {"uid": "705ab4f5", "operation": operation, "namespace": "plant", "object": body, "oldObject": old}
    request |= {"kind": {"group": "akri.sh", "version": "v0", "kind": "Configuration"}, "dryRun": False}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


async def answer(client: httpx.AsyncClient, *args: Any, **more: Any) -> dict[str, Any]:
    got = await client.post("/validate", json=review(*args, **more))
    assert got.status_code == 200
    body = got.json()
    assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert body["response"]["uid"] == "705ab4f5"
    return body["response"]


async def test_a_configuration_that_can_work_is_allowed(client: httpx.AsyncClient) -> None:
    assert await answer(client, configuration(**pod())) == {"uid": "705ab4f5", "allowed": True}


async def test_one_mistake_is_told_in_a_sentence_and_several_in_a_list(client: httpx.AsyncClient) -> None:
    one = await answer(client, configuration(capacitty=1))
    assert not one["allowed"]
    assert one["status"] == {
        "code": 422,
        "reason": "Invalid",
        "message": "spec has no 'capacitty'; did you mean 'capacity'?",
    }
    two = await answer(client, configuration(capacitty=1, nods=[]))
    assert two["status"]["message"].count("\n- ") == 2


async def test_an_unknown_handler_is_a_warning(client: httpx.AsyncClient) -> None:
    said = await answer(client, configuration("home-made"))
    assert said["allowed"]
    assert "ashore has no handler 'home-made'" in said["warnings"][0]


async def test_an_update_that_leaves_the_spec_alone_passes_whatever_it_says(client: httpx.AsyncClient) -> None:
    wrong = configuration(capacitty=1)
    labelled = {**wrong, "metadata": {**wrong["metadata"], "labels": {"a": "b"}}}
    assert (await answer(client, labelled, operation="UPDATE", old=wrong))["allowed"]
    assert not (await answer(client, configuration(capacitty=2), operation="UPDATE", old=wrong))["allowed"]


async def test_what_is_deleted_is_not_looked_at(client: httpx.AsyncClient) -> None:
    assert (await answer(client, None, operation="DELETE", old=configuration(capacitty=1)))["allowed"]


async def test_the_cluster_is_asked_with_a_resource_in_the_placeholders_place() -> None:
    cluster = Doubting()
    async with client_of(cluster) as client:
        assert (await answer(client, configuration(**pod())))["allowed"]
    [(kind, body)] = cluster.asked
    assert (kind, body["metadata"]["namespace"]) == ("Pod", "plant")
    assert body["spec"]["containers"][0]["resources"] == {"limits": {"akri.sh/trial": "1"}}


@pytest.mark.parametrize(
    ("error", "allowed", "words"),
    [
        (Refused('creating: Pod "ashore-admission-trial" is invalid: spec.a: Required value', 422), False,
         "Pod is invalid: spec.brokerSpec.brokerPodSpec.a: Required value"),
        (Refused('Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.x"', 400),
         False, 'unknown field "spec.brokerSpec.brokerPodSpec.x"'),
        (Refused("pods is forbidden: exceeded quota", 403), True, "its broker could not be started now: pods is forb"),
        (Refused("admission webhook x does not support dry run", 400), True, "its broker could not be started now"),
        (Unreachable("away"), True, ""),
        (TimeoutError(), True, ""),
    ],
)  # fmt: skip
async def test_only_what_lasts_is_a_reason_to_refuse(error: Exception, allowed: bool, words: str) -> None:
    async with client_of(Doubting(error)) as client:
        said = await answer(client, configuration(**pod()))
    assert said["allowed"] is allowed
    assert words in (said.get("warnings", [""])[0] if allowed else said["status"]["message"])
    assert ("warnings" in said) is (allowed and bool(words))


async def test_nobody_is_asked_about_what_is_wrong_anyway() -> None:
    cluster = Doubting()
    async with client_of(cluster) as client:
        await answer(client, configuration(capacitty=1, **pod()))
    assert not cluster.asked


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)


async def test_a_bomb_of_aliases_is_refused(client: httpx.AsyncClient) -> None:
    said = await answer(client, configuration(details=BOMB))
    assert "its aliases make it too large" in said["status"]["message"]


@pytest.mark.parametrize("body", ["x", 5, [], True])
async def test_an_object_that_is_none_is_no_review(client: httpx.AsyncClient, body: Any) -> None:
    got = await client.post("/validate", json=review(body))
    assert got.status_code == 400


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"null", b"[]", b"5", b"\xff\xfe", b"apiVersion: v1", b"{}", b'{"request":{}}',
        b"[" * 100_000, b'{"a":' * 100_000, json.dumps(review({}) | {"apiVersion": "admission.k8s.io/v9"}).encode(),
        json.dumps(review({}) | {"request": {"uid": 5, "operation": "CREATE"}}).encode(),
        json.dumps(review({})).encode()[:-40],
    ],
    ids=range(14),
)  # fmt: skip
async def test_what_is_no_review_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    got = await client.post("/validate", content=content)
    assert got.status_code == 400
    assert got.headers["content-type"] == "application/problem+json"


async def test_a_review_whose_object_is_deep_is_answered_or_refused(client: httpx.AsyncClient) -> None:
    for depth in (100, 2_000, 50_000):
        deep = '{"a":' * depth + "1" + "}" * depth
        text = json.dumps(review(configuration(match="HERE"))).replace('"HERE"', deep)
        got = await client.post("/validate", content=text.encode())
        assert got.status_code == 400 or not got.json()["response"]["allowed"]


async def test_a_body_that_is_too_large_is_not_read(client: httpx.AsyncClient) -> None:
    got = await client.post("/validate", content=b"x" * (MOST_BYTES + 1))
    assert got.status_code == 413


async def test_a_large_configuration_gets_a_short_answer(client: httpx.AsyncClient) -> None:
    wrong = {f"unknown-{number}" * 50: 1 for number in range(2_000)}
    said = await answer(client, configuration(**wrong))
    assert len(said["status"]["message"]) < 25_000

"""What comes from outside may be anything: it is refused or dropped, and nothing falls over."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore.responder import Answer, Responder
from ashore_discovery.configurations.document import NodeFile
from ashore_discovery.configurations.schema import ConfigurationError, read
from ashore_discovery.configurations.sources import read_file
from ashore_discovery.handler import HandlerError
from ashore_discovery.handlers.udev import rules
from ashore_discovery.limits import Network, Pace
from ashore_discovery.listening.tools import Tools
from ashore_discovery.matching.filters import Filter, evaluate
from ashore_discovery.model import Sighting, SightingError
from ashore_discovery.tracking.identity import key_of, names
from tests.discovery_kit import Clock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=200))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    with suppress(rules.RuleError):
        rules.parse(text)


@given(JSON)
def test_anything_is_a_file_or_a_configuration_error(data: object) -> None:
    with suppress(ConfigurationError):
        read(NodeFile, data, "file")


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=10), st.text(max_size=50), max_size=5))
def test_any_sighting_is_taken_or_refused(name: str, facts: dict[str, str]) -> None:
    with suppress(SightingError):
        Sighting(id=name, facts=facts).check()


@given(st.sampled_from(["serial", "uuid", "mac", "path", "address"]), st.text(max_size=60))
def test_any_identity_makes_a_key_that_is_a_token(kind: str, value: str) -> None:
    for name in names({kind: value}, "h", value):  # type: ignore[dict-item]
        key = key_of(name, node="n", shared=True)
        assert key.replace("-", "").isalnum()
        assert key == key.lower()


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=3), st.text(max_size=20))
def test_a_filter_always_comes_to_a_verdict(facts: dict[str, str], wanted: str) -> None:
    for name in facts:
        evaluate(Filter(fact=name, glob=wanted, min=1, cidr="10.0.0.0/8"), facts)


@pytest.mark.parametrize(
    "sighting",
    [
        Sighting(id=""),
        Sighting(id="x" * 513),
        Sighting(id="x", facts={str(number): "y" for number in range(193)}),
        Sighting(id="x", facts={"y": "z" * 4097}),
        Sighting(id="x", facts={str(number): "z" * 4000 for number in range(20)}),
        Sighting(id="x", endpoints=["z"] * 17),
        Sighting(id="x", ttl=-1),
        Sighting(id="x", ttl=float("nan")),
        Sighting(id="x", kind="exploded"),  # type: ignore[arg-type]
        Sighting(id="x", identity={"colour": "red"}),  # type: ignore[dict-item]
        Sighting(id="x", facts={"y": {"z": 1}}),  # type: ignore[dict-item]
    ],
)
def test_a_sighting_that_is_none_is_refused(sighting: Sighting) -> None:
    with pytest.raises(SightingError):
        sighting.check()


def test_urls_lead_only_to_networks_that_are_allowed() -> None:
    network = Network()
    assert network.allows_url("http://192.168.1.7/onvif/device_service")
    assert network.allows_url("http://[fe80::1%25eth0]:80/")
    for url in (
        "http://8.8.8.8/",
        "http://example.com/",
        "file:///etc/passwd",
        "http://[::ffff:8.8.8.8]/",
        "http://[x",
        "",
    ):
        assert not network.allows_url(url), url


def test_secrets_are_found_by_reference_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/camera").write_text("s3cret\n")
    (tmp_path / "outside").write_text("no")
    monkeypatch.setenv("CAMERA", "from the environment")
    tools = Tools(clock=Clock(), secrets=tmp_path / "secrets")
    assert tools.secret("file:camera") == "s3cret"
    assert tools.secret("env:CAMERA") == "from the environment"
    for reference in ("file:../outside", "file:none", "env:NONE", "camera", "file:"):
        with pytest.raises(HandlerError):
            tools.secret(reference)


def test_questions_have_a_pace() -> None:
    clock = Clock()
    pace = Pace(2, 4, clock)
    assert [pace.take() for _ in range(5)] == [True] * 4 + [False]
    clock.now += 1
    assert [pace.take() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("text", ["a: [", "configurations: 3", "&a [*a]", "\x00", "configurations: [{name: A}]"])
def test_a_file_that_is_none_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        read_file(path)


def test_a_file_may_be_toml_and_has_each_name_once(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text('[[configurations]]\nname = "a"\nhandler = "udev"\n')
    assert read_file(path).configurations[0].name == "a"
    path.write_text(2 * '[[configurations]]\nname = "a"\nhandler = "udev"\n')
    with pytest.raises(ConfigurationError, match="two configurations named a"):
        read_file(path)


async def test_the_responder_outlives_whoever_connects() -> None:
    async def fine() -> Answer:
        return Answer(200, json.dumps({"fine": True}).encode())

    responder = Responder({"/fine": fine})
    port = await responder.start("127.0.0.1", 0)
    try:
        for nonsense in (b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x00\xff" * 100 + b"\r\n\r\n", b"x" * 20_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(nonsense)
            writer.write_eof()
            with suppress(ConnectionError):
                assert (await reader.read())[:13] in (b"", b"HTTP/1.1 400 ")
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /fine?x=1 HTTP/1.1\r\n\r\n")
        assert (await reader.read()).endswith(b'{"fine": true}')
        writer.close()
    finally:
        await responder.stop()

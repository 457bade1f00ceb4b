"""The handler `debug-echo`: it says what it is told to say, as Akri's does."""

from pathlib import Path

from ashore_discovery.handlers.debug_echo import DebugEcho, DebugEchoDetails, DebugEchoSettings
from ashore_discovery.model import Facet, Offer, Refusal
from tests.discovery_kit import listening

FOO = DebugEchoDetails(descriptions=["foo", "bar"])


async def test_every_description_is_a_device() -> None:
    async with listening(DebugEcho, FOO, DebugEchoDetails(descriptions=["bar"])) as heard:
        await heard.swept()
    assert [one.id for one in heard.sightings] == ["bar", "foo"]


async def test_while_the_file_says_offline_no_device_is_there(tmp_path: Path) -> None:
    file = tmp_path / "availability"
    file.write_text("OFFLINE")
    settings = DebugEchoSettings(availability_file=str(file), scan_seconds=0.01)
    async with listening(DebugEcho, FOO, settings=settings) as heard:
        await heard.swept(2)
        assert not heard.sightings
        file.write_text("ONLINE")
        await heard.until("seen", "foo")


async def test_other_words_do_not_restart_it() -> None:
    async with listening(DebugEcho, FOO) as heard:
        await heard.swept()
        assert heard.handler.replan(("new",))
        await heard.until("seen", "new")


def test_a_configuration_gets_the_words_that_it_describes() -> None:
    facet = Facet(source="debug-echo", handler="debug-echo", id="foo")
    assert DebugEcho.offer(FOO, facet, list) == Offer(properties={"DEBUG_ECHO_DESCRIPTION": "foo"})
    assert isinstance(DebugEcho.offer(DebugEchoDetails(descriptions=["x"]), facet, list), Refusal)

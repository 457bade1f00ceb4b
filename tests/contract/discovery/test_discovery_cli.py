"""`ashore discovery` against a running agent, as the bus user of the command line."""

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ashore.bus import NotPermitted
from ashore.bus.nats import NatsBus
from ashore.bus.server import EmbeddedServer
from tests.bus_kit import join, publish, until
from tests.contract.discovery.agents import ECHO, agent, hearing, write_file
from tests.unit.test_events import EXAMPLES


async def ashore(server: EmbeddedServer, *words: str) -> tuple[int, str, str]:
    return await run(server, "discovery", *words)


async def run(server: EmbeddedServer, *words: str) -> tuple[int, str, str]:
    env = {
        "PATH": "/usr/bin",
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("cli")),
        "ASHORE_DATA_DIR": "/nonexistent",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ashore_cli", *words, env=env, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def data(server: EmbeddedServer, *words: str) -> Any:
    code, out, err = await ashore(server, *words, "-o", "json")
    assert code == 0, err
    return json.loads(out)


async def test_the_command_line_lists_explains_and_looks_around(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    only_foo = {**ECHO, "match": {"fact": "description", "equals": "foo"}}
    wrong = {"name": "wrong", "handler": "telepathy"}
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path, only_foo, wrong):
        await ear.until("appeared", "foo")
        listed = await data(nats_server, "list")
        assert sorted(one["facts"]["description"] for one in listed) == ["bar", "foo"]
        assert {one["node"] for one in listed} == {"n1"}
        [bar] = [one for one in listed if one["facts"]["description"] == "bar"]
        explained = await data(nats_server, "explain", bar["key"][:9], "--node", "n1")
        assert explained["judgements"][0]["why"] == "description is 'bar', not foo"
        assert (await data(nats_server, "explain", "bar"))["device"]["key"] == bar["key"]
        assert [one["facts"]["description"] for one in await data(nats_server, "list", "--wanted")] == ["foo"]
        code, out, _ = await ashore(nats_server, "explain", bar["key"], "-o", "table")
        assert code == 0
        assert "words does not want it: description is 'bar', not foo" in out
        [health] = await data(nats_server, "health")
        assert health["sources"][0]["source"] == "debug-echo"
        assert "telepathy" in health["problems"]["wrong"][0]
        assert "debug-echo looks around" in (await ashore(nats_server, "rescan"))[2]
        code, _, err = await ashore(nats_server, "explain", "nothing")
        assert code == 1
        assert "to do: `ashore discovery list`" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("remove", "küche"), "no configuration can have the name 'küche'"),
        (("remove", "Words"), "no configuration can have the name 'Words'"),
        (("remove", "words", "--site", "zürich"), "no site can have the name 'zürich'"),
        (("remove", "a lamp", "--device", "--site", "zürich"), "no site can have the name 'zürich'"),
        (("list", "--site", "zürich"), "no site can have the name 'zürich'"),
        (("list", "--node", "küche"), "no node can have the name 'küche'"),
        (("watch", "--node", ">"), "no node can have the name '>'"),
    ],
)
async def test_a_name_that_nothing_can_have_is_refused_with_the_letters_that_it_may_have(
    nats_bus: NatsBus, nats_server: EmbeddedServer, words: tuple[str, ...], told: str
) -> None:
    code, _, err = await ashore(nats_server, *words)
    assert code == 1
    assert told in err
    assert "write it with a-z, 0-9" in err


async def test_a_file_with_a_name_that_no_configuration_can_have_is_refused_whole(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "applied.yaml", ECHO, {**ECHO, "name": "küche"})
    code, _, err = await ashore(nats_server, "apply", str(file), "--site", "s1")
    assert code == 1
    assert "no configuration can have the name 'küche'" in err
    async with aclosing(nats_bus.state(["configuration-set.>"])) as told:
        assert await anext(told) is None


async def test_a_node_is_found_by_the_name_that_kubernetes_has_for_it(
    nats_bus: NatsBus, nats_server: EmbeddedServer
) -> None:
    [alive] = [one for one in EXAMPLES if one.name == "agent-alive"]
    await publish(nats_bus, msgspec.structs.replace(alive, node="n1-plant"), "alive")
    _, _, err = await ashore(nats_server, "list", "--node", "n1.plant")
    assert "the agent of n1-plant at s does not answer" in err


async def test_configurations_are_applied_and_removed(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "applied.yaml", ECHO)
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path):
        code, _, err = await ashore(nats_server, "apply", str(file), "--site", "s1")
        assert code == 0, err
        await ear.until("appeared", "foo")
        await ashore(nats_server, "remove", "words", "--site", "s1")
        await ear.until("disappeared", "foo")


async def test_names_that_differ_by_a_dot_alone_are_two_configurations(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    named = [{**ECHO, "name": name, "details": {"descriptions": [name]}} for name in ("a.b", "a-b")]
    file = write_file(tmp_path / "applied.yaml", *named)
    async with hearing(nats_bus) as ear, agent(nats_server, tmp_path):
        code, _, err = await ashore(nats_server, "apply", str(file), "--site", "s1")
        assert code == 0, err
        await ear.until("appeared", "a.b")
        await ear.until("appeared", "a-b")
        await ashore(nats_server, "remove", "a.b", "--site", "s1")
        await ear.until("disappeared", "a.b")
        assert ear.changes("a-b") == ["appeared"]


async def test_a_name_without_dots_stands_in_the_subject_as_it_is(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    file = write_file(tmp_path / "applied.yaml", {**ECHO, "name": "a-b"})
    await ashore(nats_server, "apply", str(file), "--site", "s1")
    async with aclosing(nats_bus.state(["configuration-set.>"])) as told:
        step = await anext(told)
        assert step is not None
        assert step[1].subject == "configuration-set.s1.a-b"


async def test_without_an_agent_it_says_what_to_do(nats_bus: NatsBus, nats_server: EmbeddedServer) -> None:
    code, _, err = await ashore(nats_server, "list")
    assert code == 1
    assert "no discovery agent has been heard of" in err
    assert "of the node 'n7'" in (await ashore(nats_server, "list", "--node", "n7"))[2]


async def test_people_name_devices_and_part_them_in_a_file_and_over_the_bus(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    foo, bar, folder = "id:debug-echo/foo", "id:debug-echo/bar", tmp_path / "agent"
    folder.mkdir()
    applied = tmp_path / "devices.yaml"
    applied.write_text(yaml.safe_dump({"devices": [{"name": "pair", "same_as": [foo, bar]}]}))
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, folder, ECHO):
            await ear.until("appeared", "bar")
            code, _, err = await ashore(nats_server, "apply", str(applied), "--site", "s1")
            assert (code, err) == (0, "The agents of s1 know pair.\n")
            await ear.until("disappeared")
            await until(lambda: len([one for one in ear.last() if one.state == "present"]) == 1)
            code, out, _ = await ashore(nats_server, "explain", "pair", "-o", "table")
            assert f"people call it 'pair', and say that it is {bar} and {foo}" in out
        # The agent remembers it while it is away, and what its own file says goes before.
        async with agent(nats_server, folder, ECHO):
            await until(lambda: ear.alive()[-1].devices == 1)
            never = {"name": "pair", "same_as": [foo], "not_same_as": [bar]}
            draft = folder / "draft"
            draft.write_text(yaml.safe_dump({"configurations": [ECHO], "devices": [never]}))
            draft.replace(folder / "look-for.yaml")
            await until(lambda: ear.alive()[-1].devices == 2)
            assert f"people say that {bar} is never 'pair'" in (await ashore(nats_server, "explain", bar))[1]
            assert (await ashore(nats_server, "remove", "pair", "--device", "--site", "s1"))[0] == 0


async def test_an_agent_that_is_away_for_good_is_forgotten_and_may_still_return(
    nats_bus: NatsBus, nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with hearing(nats_bus) as ear:
        async with agent(nats_server, tmp_path, ECHO):
            await ear.until("appeared", "foo")
            await until(lambda: any(one.epoch for one in ear.alive()))
            code, _, err = await ashore(nats_server, "forget", "n1")
            assert code == 1
            assert "answers" in err
        assert "`ashore discovery forget n1 --site s1`" in (await run(nats_server, "doctor"))[1]
        assert (await ashore(nats_server, "forget", "n1"))[0] == 0
        assert (await ashore(nats_server, "list"))[0] == 1
        assert "no agent has been heard of" in (await run(nats_server, "doctor"))[1]
        last = ear.alive()[-1]
        assert last.retired
        # That is how a subscriber knows what is there.
        assert [one for one in ear.last() if one.epoch >= last.epoch] == []
        code, _, err = await ashore(nats_server, "forget", "n2")
        assert (code, "no agent of a node 'n2'" in err) == (1, True)
        async with agent(nats_server, tmp_path, ECHO):
            await until(lambda: ear.alive()[-1].epoch >= last.epoch and not ear.alive()[-1].retired)
            again = ear.alive()[-1].epoch
            assert {one.state for one in ear.last() if one.epoch >= again} == {"present"}
            assert len(await data(nats_server, "list")) == 2


@pytest.mark.parametrize("user", ["manufacturer", "owner", "rendezvous", "cli"])
async def test_nobody_else_says_what_devices_do(nats_bus: NatsBus, nats_server: EmbeddedServer, user: str) -> None:
    [seen] = [one for one in EXAMPLES if one.name == "device-seen"]
    bus = await join(nats_server, user)
    try:
        with pytest.raises(NotPermitted):
            await publish(bus, seen)
    finally:
        await bus.close()

"""Every noun of the command line against real services: what one command makes, the next one sees."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ashore.fdo.rvinfo import Directive
from tests.stack import Done, Running, ashore, running

# One stack serves all tests of this module, so they share its loop.
pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

PROFILE = """
name: greet
description: Says good day.
steps:
  - {step: write_file, name: greeting.txt, text: Good day}
  - {step: run_command, arguments: [cat, greeting.txt]}
---
name: other
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(tmp_path_factory.mktemp("commands") / "data") as stack:
        yield stack


async def told(stack: Running, *words: str | Path) -> Any:
    """What a command answers in JSON."""
    done = await ashore(*words, "-o", "json", data=stack.folder)
    assert done.code == 0, done.error
    return json.loads(done.out)


async def run(stack: Running, *words: str | Path) -> Done:
    done = await ashore(*words, data=stack.folder)
    assert "Traceback" not in done.error
    return done


async def test_a_profile_is_applied_assigned_and_served(stack: Running, tmp_path: Path) -> None:
    file = tmp_path / "profiles.yaml"
    file.write_text(PROFILE)
    assert (await run(stack, "profile", "apply", file)).code == 0
    assert {"greet", "hello", "other"} <= {one["name"] for one in await told(stack, "profile", "list")}
    assert [one["state"] for one in await told(stack, "device", "init", "served")] == ["initialised"]
    assert (await run(stack, "profile", "assign", "served", "greet")).code == 0

    [member] = await told(stack, "device", "onboard", "served")

    assert member["state"] == "onboarded"
    device = await told(stack, "owner", "show", "served")
    assert device["guid"] == member["guid"]
    assert device["onboardings"][0]["profile"] == "greet"
    assert device["onboardings"][0]["steps"][-1]["stdout"] == "Good day"
    assert "files/greeting.txt" in (await told(stack, "device", "show", "served"))["files"]


async def test_a_profile_that_is_none_is_refused_in_words(stack: Running, tmp_path: Path) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text("name: bad\nsteps: [{step: fly}]\n")

    done = await run(stack, "profile", "apply", file)

    assert done.code == 1
    assert "fly" in done.error
    assert (await run(stack, "profile", "delete", "hello")).code == 1


async def test_what_profile_show_gives_profile_apply_takes(stack: Running, tmp_path: Path) -> None:
    shown = await run(stack, "profile", "show", "hello", "-o", "yaml")
    file = tmp_path / "hello.yaml"
    file.write_text(shown.out)

    assert (await run(stack, "profile", "apply", file)).code == 0

    assert (await run(stack, "profile", "show", "hello", "-o", "yaml")).out == shown.out


async def test_a_device_is_sold_on_and_its_voucher_tells(stack: Running, tmp_path: Path) -> None:
    await told(stack, "device", "init", "resold")
    bundle, voucher = tmp_path / "buyer.pem", tmp_path / "voucher.pem"
    bundle.write_text((await run(stack, "owner", "bundle")).out)

    # To the same owner: one more entry is all that matters here.
    assert (await run(stack, "voucher", "extend", "resold", "--to", bundle, "-f", voucher)).code == 0
    [inspected] = await told(stack, "voucher", "inspect", voucher)
    assert inspected["verified"]
    assert len(inspected["owners"]) == 2

    [imported] = await told(stack, "voucher", "import", voucher)
    assert imported["verdict"] in ("imported", "known")
    assert (await run(stack, "voucher", "export", "resold")).out == voucher.read_text()


async def test_a_voucher_is_sent_to_an_owner_that_has_forgotten_it(stack: Running) -> None:
    [member] = await told(stack, "device", "init", "sent")
    await asyncio.sleep(1)
    assert (await run(stack, "owner", "forget", member["guid"])).code == 0
    assert (await run(stack, "owner", "show", "sent")).code == 1

    [sent] = await told(stack, "voucher", "send", "sent")

    assert (sent["guid"], sent["serial"], sent["verdict"]) == (member["guid"], "sent", "imported")
    assert (await run(stack, "owner", "register", "sent")).code == 0
    assert [one["state"] for one in await told(stack, "device", "onboard", "sent")] == ["onboarded"]


async def test_an_imported_voucher_has_the_serial_number_that_was_given(stack: Running, tmp_path: Path) -> None:
    [member] = await told(stack, "device", "init", "renamed")
    await asyncio.sleep(1)
    file = tmp_path / "voucher.pem"
    file.write_text((await run(stack, "voucher", "export", "renamed")).out)
    assert [one["serial"] for one in await told(stack, "voucher", "inspect", file)] == ["renamed"]
    assert (await run(stack, "owner", "forget", member["guid"])).code == 0

    [imported] = await told(stack, "voucher", "import", file, "--serial", "LINE-7/0042")

    assert (imported["serial"], imported["verdict"]) == ("LINE-7/0042", "imported")
    assert (await told(stack, "owner", "show", "LINE-7"))["guid"] == member["guid"]
    assert (await run(stack, "voucher", "import", file, file, "--serial", "x")).code == 1


async def test_a_fleet_comes_ashore_and_its_events_are_told(stack: Running) -> None:
    members = await told(stack, "device", "onboard", "--count", "5", "--prefix", "fleet")

    assert [one["serial"] for one in members] == [f"fleet-000{number}" for number in range(1, 6)]
    assert {one["state"] for one in members} == {"onboarded"}
    done = await run(stack, "events", "--filter", "device-onboarded", "--since", "5m")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert {one["guid"] for one in members} <= {event["data"]["new_guid"] for event in events}
    assert {event["type"] for event in events} == {"dev.ashore.device-onboarded.v1"}


async def test_events_are_followed_while_they_come(stack: Running) -> None:
    follower = asyncio.create_task(run(stack, "device", "onboard", "followed"))
    lines: list[str] = []
    try:
        async with asyncio.timeout(60):
            while "device-onboarded" not in lines:
                done = await run(stack, "events", "--since", "1m")
                lines = [json.loads(line)["subject"].split(".")[0] for line in done.out.splitlines()]
    finally:
        await follower
    assert (await run(stack, "events", "--device", "f" * 32)).out == ""


async def test_the_rendezvous_is_told_whom_to_admit(stack: Running) -> None:
    key = "ab" * 32
    assert (await run(stack, "rendezvous", "deny", "owner", key, "--comment", "unknown to us")).code == 0
    rules = await told(stack, "rendezvous", "rules")
    assert [(rule["id"], rule["verdict"], rule["comment"]) for rule in rules["rules"]] == [
        (key, "deny", "unknown to us")
    ]
    assert len(rules["trusted_keys"]) == 8
    assert (await run(stack, "rendezvous", "unrule", "owner", key)).code == 0
    assert (await told(stack, "rendezvous", "rules"))["rules"] == []
    assert (await run(stack, "rendezvous", "allow", "voucher", "short")).code == 1


async def test_a_wrong_token_is_told_with_the_remedy(stack: Running, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("wrong")
    done = await ashore("owner", "list", data=stack.folder, environment={"ASHORE_TOKEN_FILE": str(tmp_path / "token")})

    assert done.code == 1
    assert "ASHORE_TOKEN_FILE" in done.error


async def test_the_doctor_names_what_is_bad(stack: Running) -> None:
    stack.stack.layout.token.chmod(0o644)
    try:
        done = await run(stack, "doctor", "-o", "json")
    finally:
        stack.stack.layout.token.chmod(0o600)

    assert done.code == 1
    [bad] = [finding for finding in json.loads(done.out) if not finding["ok"]]
    assert "admin-token" in bad["text"]
    assert "chmod" in bad["remedy"]


async def test_the_doctor_names_a_device_that_could_not_be_registered(stack: Running) -> None:
    makers = stack.client.manufacturer
    before = await makers.rvinfo()
    await makers.put_rvinfo([Directive(ip="127.0.0.1", protocol="http", device_port=9, owner_port=9)])
    try:
        [member] = await told(stack, "device", "init", "unheard")
    finally:
        await makers.put_rvinfo(before)
    async with asyncio.timeout(60):
        while not (await stack.client.owner.device(member["guid"])).registration_error:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    done = await run(stack, "doctor", "-o", "json")

    assert done.code == 1
    [bad] = [finding for finding in json.loads(done.out) if not finding["ok"]]
    assert "unheard say: the rendezvous at http://127.0.0.1:9 cannot be reached: Connection refused" in bad["text"]
    assert (await run(stack, "owner", "forget", member["guid"])).code == 0


async def test_a_device_runs_with_its_timeline(stack: Running) -> None:
    done = await run(stack, "device", "run", "alone")

    assert done.code == 0
    assert "Welcome ashore." in done.error
    assert json.loads(done.out)["state"] == "onboarded"
    assert "Welcome ashore." in (await run(stack, "device", "run", "-o", "table")).out
    again = await run(stack, "device", "run", "alone")
    assert (again.code, again.out) == (1, "")
    assert "`ashore device show alone`" in again.error


async def test_what_is_wrong_with_a_file_is_told_with_its_name_and_the_others_count(
    stack: Running, tmp_path: Path
) -> None:
    await told(stack, "device", "init", "exported")
    good, bad, profiles = tmp_path / "good.pem", tmp_path / "bad.pem", tmp_path / "profiles.yaml"
    good.write_text((await run(stack, "voucher", "export", "exported")).out)
    bad.write_text("no voucher")
    profiles.write_text(f"{PROFILE}---\nname: third\nsteps: [{{step: fly}}]\n")

    imported = await run(stack, "voucher", "import", bad, good)
    assert (imported.code, [one["serial"] for one in json.loads(imported.out)]) == (1, ["exported"])
    assert f"{bad}: " in imported.error
    applied = await run(stack, "profile", "apply", profiles)
    assert applied.code == 1
    assert "Kept: other\n" in applied.error
    assert f"{profiles}: profile third: " in applied.error


async def test_an_empty_file_takes_no_rule_away(stack: Running, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    before = await told(stack, "profile", "rules")

    assert (await run(stack, "profile", "rules", "--replace", tmp_path / "empty.yaml")).code == 1
    assert before
    assert await told(stack, "profile", "rules") == before


async def test_a_registration_is_ended_by_what_the_list_shows_of_it(stack: Running) -> None:
    await told(stack, "device", "onboard", "ended")
    [registered, *_] = await told(stack, "rendezvous", "list")

    assert (await run(stack, "rendezvous", "forget", registered["guid"][:8])).code == 0
    assert registered["guid"] not in {one["guid"] for one in await told(stack, "rendezvous", "list")}
    assert (await run(stack, "rendezvous", "forget", registered["guid"][:8])).code == 1


async def test_a_limit_counts_the_devices_that_are_shown(stack: Running) -> None:
    await told(stack, "device", "onboard", "--count", "2", "--prefix", "counted")

    assert len(await told(stack, "owner", "list", "--search", "counted", "--limit", "2")) == 2

"""A profile names a URL: the owner fetches the file once, and every device gets it."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.stack import Running, ashore, running
from tests.unit.device.web import http, serve

pytestmark = pytest.mark.e2e

CONTENT = bytes(range(256)) * 2000
PROFILE = """
name: firmware
steps:
  - {{step: download, name: firmware.bin, url: "{url}", sha384: {sha384}}}
"""


async def use(stack: Running, folder: Path, url: str, sha384: str) -> None:
    profile, rules = folder / "profile.yaml", folder / "rules.yaml"
    profile.write_text(PROFILE.format(url=url, sha384=sha384))
    rules.write_text("- profile: firmware\n")
    for words in (("apply", profile), ("rules", "--replace", rules)):
        done = await ashore("profile", *words, data=stack.folder)
        assert done.code == 0, done.error


async def test_many_devices_get_a_file_that_is_fetched_once(tmp_path: Path) -> None:
    settings = {"owner": {"ASHORE_DOWNLOAD_NETWORKS": "public,127.0.0.0/8"}}
    async with (
        serve(lambda _: http(CONTENT)) as web,
        running(tmp_path / "data", settings) as stack,
    ):
        await use(stack, tmp_path, f"{web.url}/firmware?key=k", hashlib.sha384(CONTENT).hexdigest())
        done = await ashore("device", "onboard", "--count", "6", "--prefix", "many", "-o", "json", data=stack.folder)
        assert {one["state"] for one in json.loads(done.out)} == {"onboarded"}
        assert [request.path for request in web.requests] == ["/firmware?key=k"]
        found = [path.read_bytes() for path in (stack.folder / "devices").rglob("firmware.bin")]
        assert found == [CONTENT] * 6


async def test_by_default_a_profile_does_not_reach_into_private_networks(tmp_path: Path) -> None:
    async with serve(lambda _: http(CONTENT)) as web, running(tmp_path / "data") as stack:
        await use(stack, tmp_path, f"{web.url}/firmware", "a" * 96)
        await ashore("device", "init", "curious", data=stack.folder)
        done = await ashore("device", "onboard", "curious", data=stack.folder)
        assert done.code == 1
        assert web.requests == []
        shown = await ashore("owner", "show", "curious", "-o", "json", data=stack.folder)
        failure = json.loads(shown.out)["failure"]
        assert "127.0.0.1, from where this service may not fetch" in failure["reason"]
        assert "ASHORE_DOWNLOAD_NETWORKS" in failure["reason"]


async def test_a_step_has_one_source(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as stack:
        for step, words in {
            "{step: download, name: a}": "either a `resource` or a `url`",
            "{step: download, name: a, resource: b, url: 'https://example.com/'}": "either a `resource` or a `url`",
            "{step: download, name: a, resource: b, sha384: " + "a" * 96 + "}": "`sha384` belongs to a `url`",
            "{step: download, name: a, url: 'file:///etc/passwd'}": "url",
        }.items():
            profile = tmp_path / "profile.yaml"
            profile.write_text(f"name: wrong\nsteps: [{step}]\n")
            done = await ashore("profile", "apply", profile, data=stack.folder)
            assert (done.code, words in done.error) == (1, True), done.error

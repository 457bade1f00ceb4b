"""Secrets apart: each service runs with its own folder, and its token opens no other."""

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ashore.client.context import variable
from tests.e2e.processes import Service
from tests.stack import ashore

pytestmark = pytest.mark.e2e
SERVICES = ("manufacturer", "rendezvous", "owner", "broker-launcher")
QUESTIONS = {"manufacturer": "keys", "rendezvous": "rules", "owner": "keys", "broker-launcher": "launcher"}


def module(service: str) -> str:
    return f"ashore_{service.replace('-', '_')}"


async def test_each_token_opens_its_own_service_and_the_command_line_opens_all(tmp_path: Path) -> None:
    folder = tmp_path / "separate"
    made = await ashore("init", "--separate", folder, data=tmp_path / "data")
    assert made.code == 0, made.error
    with ExitStack() as stack, httpx.Client() as client:
        running = {
            name: stack.enter_context(
                Service(module(name), data_dir=folder / name, nats_url="memory:", launcher="dry-run")
            )
            for name in SERVICES
        }
        tokens = {name: (folder / name / "admin-token").read_text().strip() for name in SERVICES}

        def asked(service: str, token: str) -> int:
            url = f"{running[service].url}/api/v1/{QUESTIONS[service]}"
            return client.get(url, headers={"authorization": f"Bearer {token}"}).status_code

        opened = {(of, to): asked(to, tokens[of]) for of in SERVICES for to in SERVICES}
        assert opened == {(of, to): 200 if of == to else 401 for of in SERVICES for to in SERVICES}
        places = {f"{variable(name)}_URL": running[name].url for name in SERVICES} | {
            f"{variable(name)}_TOKEN_FILE": str(folder / "cli" / f"{name}-token") for name in SERVICES
        }
        for words in (("voucher", "list"), ("rendezvous", "rules"), ("owner", "keys"), ("instance", "list")):
            done = await ashore(*words, data=folder / "cli", environment=places)
            assert done.code == 0, done.error

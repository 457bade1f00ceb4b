"""How services start: what they take of the machine, and what they say when their database is not to be migrated."""

import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest

from ashore.bus.server import EmbeddedServer
from tests.e2e.processes import Service
from tests.stack import until

pytestmark = pytest.mark.e2e
MOST_MEGABYTES = {"manufacturer": 60, "rendezvous": 60, "owner": 60, "discovery": 40, "broker-launcher": 60}
UDEV = """configurations: [{name: all, handler: udev, details: {udevRules: ['SUBSYSTEM=="*"']}}]"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read as Linux tells it")
@pytest.mark.parametrize("name", MOST_MEGABYTES)
@pytest.mark.usefixtures("nats_bus")  # It has the streams that services wait for.
async def test_a_service_at_rest_is_small_at_its_first_start_and_at_the_next(
    name: str, tmp_path: Path, nats_server: EmbeddedServer
) -> None:
    settings: dict[str, object] = {
        "nats_url": nats_server.url,
        "nats_seed_file": nats_server.seed_file(name),
        "data_dir": tmp_path,
    }
    if name == "discovery":
        (tmp_path / "look-for.yaml").write_text(UDEV)
        settings["configurations"] = tmp_path / "look-for.yaml"
    if name == "broker-launcher":
        settings["launcher"] = "dry-run"
    for _ in ("first", "next"):
        with Service(f"ashore_{name.replace('-', '_')}", **settings) as service:
            await until(partial(ready, service.url))
            assert service.memory <= MOST_MEGABYTES[name]
            assert service.stop() == 0


async def ready(url: str) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{url}/readyz")).status_code == 200


@pytest.mark.parametrize("name", ["manufacturer", "owner"])
def test_a_database_that_cannot_be_migrated_ends_the_start_with_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE documents (what_somebody_else_wrote TEXT)")
    database.close()
    settings = {"DATABASE_URL": f"sqlite:///{path}", "DATA_DIR": str(tmp_path), "NATS_URL": "memory:", "PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", f"ashore_{name}"],
        env={f"ASHORE_{key}": value for key, value in settings.items()},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "failed and nothing was changed (table documents already exists)" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_schema").fetchall() == [("documents",)]

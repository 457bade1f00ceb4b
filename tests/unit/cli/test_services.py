from pathlib import Path

from ashore_cli.stack import Layout
from ashore_cli.stack.ports import Ports
from ashore_cli.stack.services import SERVICES, Place

OUTER = {"ASHORE_DOWNLOAD_NETWORKS": "10.2.0.0/16", "ASHORE_PORT": "1", "ASHORE_LOG_LEVEL": "debug", "HOME": "/root"}


def test_a_service_takes_from_outside_only_the_settings_that_are_meant_for_it(tmp_path: Path) -> None:
    place = Place(Layout(tmp_path), Ports(), "127.0.0.1", "nats://127.0.0.1:4222")
    given = {service.name: service.environment(place, OUTER) for service in SERVICES}
    assert given["owner"]["ASHORE_DOWNLOAD_NETWORKS"] == "10.2.0.0/16"
    assert "ASHORE_DOWNLOAD_NETWORKS" not in given["manufacturer"]
    assert given["owner"]["ASHORE_PORT"] == "8042"
    assert {one["ASHORE_LOG_LEVEL"] for one in given.values()} == {"debug"}
    assert {one["HOME"] for one in given.values()} == {"/root"}

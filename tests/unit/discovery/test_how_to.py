"""The handler and the file that the how-to pages show really work."""

import re
from pathlib import Path
from typing import Any

import yaml

from ashore_discovery.configurations.document import NodeFile
from ashore_discovery.configurations.schema import read
from ashore_discovery.handlers.udev.details import UdevDetails
from ashore_discovery.handlers.udev.handler import Udev
from ashore_discovery.listening.catalogue import Catalogue
from ashore_discovery.matching.desk import AnyHandler
from ashore_discovery.model import Offer
from tests.discovery_kit import listening

PAGES = Path(__file__).parents[3] / "docs/how-to"


def code(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (PAGES / page).read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_handler_of_the_page_runs(tmp_path: Path) -> None:
    space: dict[str, Any] = {"__name__": "name_list"}
    exec(compile(code("write-a-handler.md", "python"), "name_list.py", "exec"), space)
    handler: AnyHandler = space["NameList"]
    path = tmp_path / "names"
    path.write_text("anna\nbert\n")
    details = space["Details"](file=str(path))
    async with listening(handler, details) as heard:
        await heard.swept()
        found = await heard.until("seen", f"{path}/anna")
    assert found.facts["name"] == "anna"
    assert isinstance(handler.offer(details, heard.facet(found), list), Offer)


def test_the_file_of_the_page_can_be_used() -> None:
    found = read(NodeFile, yaml.safe_load(code("discover-devices.md", "yaml")), "look-for.yaml")
    assert [one.name for one in found.configurations] == ["cameras", "slot-1"]
    for one in found.configurations:
        assert not list(one.problems())
        assert not list(Udev.problems(read(UdevDetails, one.details, "details")))


def test_the_page_has_an_example_for_each_handler_and_each_can_be_used() -> None:
    page, catalogue = (PAGES / "discover-devices.md").read_text("utf-8"), Catalogue()
    shown: set[str] = set()
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        content = yaml.safe_load(block)
        if "services" in content:
            # An override for compose, and not what a node's file says.
            continue
        file = read(NodeFile, content, "look-for.yaml")
        for one in file.configurations:
            kind = catalogue.load(one.handler)
            assert not list(one.problems())
            assert not list(kind.problems(read(kind.details_type, one.details, "details")))
            shown.add(one.handler)
        for name, written in file.handlers.items():
            kind = catalogue.load(name)
            own = {key: value for key, value in written.items() if key != "interfaces" or not kind.per_interface}
            read(kind.settings_type, own, f"handlers.{name}")
    assert shown == set(catalogue.names())

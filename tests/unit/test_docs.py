"""The documentation keeps up with the code: generated pages are fresh, links lead somewhere, counts are true."""

import importlib
import re
from pathlib import Path

import pytest
import structlog

from ashore.bus.memory import MemoryBus
from ashore.config import Settings
from ashore.events import EVENTS
from ashore.service import Context
from ashore.telemetry import Metrics
from docs import generate

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "services/*/*.md", "deploy/**/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
# A command in code: at the beginning of a line or of a code span, in a remedy of the code itself as well.
COMMAND = re.compile(r"(?:^|`|/)ashore ((?:[a-z]+ ?){1,3})", re.MULTILINE)
SOURCES = sorted(path for member in ("shared", "services", "device", "cli") for path in (ROOT / member).rglob("*.py"))
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return generate.pages()


def test_the_reference_is_what_the_code_says(generated: dict[str, str]) -> None:
    on_disk = {path.name: path.read_text("utf-8") for path in generate.FOLDER.iterdir()}
    stale = [name for name in {*on_disk, *generated} if on_disk.get(name) != generated.get(name)]
    assert not stale, "run `make docs`"


def test_the_reference_does_not_depend_on_who_makes_it(
    generated: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASHORE_DATA_DIR", "ASHORE_OWNER_URL", "ASHORE_PORT"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("COLUMNS", "40")
    assert generate.pages() == generated


@pytest.mark.parametrize("settings", generate.SERVICES, ids=lambda settings: settings.service)
async def test_the_reference_has_every_route_that_a_service_serves(settings: type[Settings], tmp_path: Path) -> None:
    build = importlib.import_module(f"ashore_{settings.service.replace('-', '_')}.app").build
    given = settings.load({"ASHORE_DATA_DIR": str(tmp_path), "ASHORE_LAUNCHER": "dry-run"})
    context = Context(settings=given, bus=MemoryBus(), replica="one", metrics=Metrics(), log=structlog.get_logger())
    async with build(context) as app:
        served = {(route.method, route.path) for route in app.routes}
    told = {(route.method, route.path) for route in generate.routes(settings.service)}
    assert told - served == {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}
    assert not served - told


def test_every_event_is_in_the_reference(generated: dict[str, str]) -> None:
    for event in EVENTS:
        assert f"## {event.name}\n" in generated["events.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists(page: Path, generated: dict[str, str]) -> None:
    code = "\n".join(CODE.findall(page.read_text("utf-8")))
    assert not unknown_commands(code.replace("```sh\n", "\n"), generated["cli.md"])


def test_every_command_that_a_remedy_names_exists(generated: dict[str, str]) -> None:
    found = {path: unknown_commands(path.read_text("utf-8"), generated["cli.md"]) for path in SOURCES}
    assert not {str(path.relative_to(ROOT)): names for path, names in found.items() if names}


def unknown_commands(text: str, reference: str) -> list[str]:
    """Commands that the reference does not have: a noun must be followed by one of its verbs, a verb by anything."""
    known = set(re.findall(r"^#+ ashore ([a-z ]+)$", reference, re.MULTILINE))
    groups = {name.rpartition(" ")[0] for name in known}
    return [words for words in map(str.strip, COMMAND.findall(text)) if not is_command(words.split(), known, groups)]


def is_command(words: list[str], known: set[str], groups: set[str]) -> bool:
    for length in range(1, len(words) + 1):
        name = " ".join(words[:length])
        if name not in known:
            return False
        if name not in groups:
            return True
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))) if not leads_somewhere(page, link)]
    assert not broken


def leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in anchors(target)


def anchors(page: Path) -> set[str]:
    """What a link into a page may name: its headings, as forges spell them, and explicit anchors."""
    text = page.read_text("utf-8")
    headings = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}
    return headings | set(re.findall(r'<a id="([^"]+)">', text))

"""The rules of the house that no tool holds: sizes, files of a service, declared dependencies, words that must not be.

Who may import whom is in `pyproject.toml` (import-linter); what a module looks like is ruff's business.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = [ROOT / "shared", ROOT / "device", ROOT / "cli", *sorted((ROOT / "services").iterdir())]
SERVICES = sorted((ROOT / "services").iterdir())

MODULE_LINES = 300
FUNCTION_LINES = 40
# A module may be longer only with its reason here.
LONGER: dict[str, str] = {}
SERVICE_FILES = {"__init__", "__main__", "config", "app", "model", "store", "protocol", "api", "subscribers"}
SERVICE_DATA = {"migrations", "py.typed", "__pycache__"}

# Modules that a distribution brings under another name.
PROVIDES = {
    "paho-mqtt": {"paho"},
    "nats-py": {"nats", "nkeys"},
    "prometheus-client": {"prometheus_client"},
    "psycopg": {"psycopg", "psycopg_pool"},
    "pyyaml": {"yaml"},
}
# Written in pieces, so that this file does not hold them.
FORBIDDEN = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "proxy.golang" + ".org",
    "crates" + ".io",
    "index" + "-url",
    "/work" + "/",
    "/tmp" + "/bash_jobs",
    "Cla" + "ude",
    "Anthro" + "pic",
    "far" + "m-",
]


@cache
def tracked() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    # A checkout may belong to another user than the one who tests it.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(*folders: Path) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and any(path.is_relative_to(one) for one in folders)]


def test_no_module_is_longer_than_a_person_reads() -> None:
    found = {relative(path): len(path.read_text("utf-8").splitlines()) for path in modules(*MEMBERS)}
    too_long = {name: lines for name, lines in found.items() if lines > MODULE_LINES}
    assert too_long.keys() == LONGER.keys(), too_long


def test_no_function_is_longer_than_a_screen() -> None:
    assert not [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in modules(*MEMBERS)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _lines(node) > FUNCTION_LINES
        # A migration is a list of tables, to be read from top to bottom.
        if path.parent.name != "migrations"
    ]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or node.lineno) - (body[0].lineno if body else node.lineno) + 1


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_has_the_files_of_every_service_or_says_why_not(service: Path) -> None:
    package = service / f"ashore_{service.name.replace('-', '_')}"
    extra = {path.name for path in package.iterdir() if path.stem not in SERVICE_FILES} - SERVICE_DATA
    readme = service / "README.md"
    reasons = readme.read_text("utf-8") if readme.exists() else ""
    assert not [name for name in extra if f"`{name}`" not in reasons], f"give the reason in {relative(readme)}"


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_gives_no_reason_for_a_file_that_it_does_not_have(service: Path) -> None:
    readme = service / "README.md"
    text = readme.read_text("utf-8") if readme.exists() else ""
    named = re.findall(r"^\| `(\w+(?:\.py)?)` \|", text, re.MULTILINE)
    package = service / f"ashore_{service.name.replace('-', '_')}"
    assert not [name for name in named if not (package / name).exists()]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)
def test_a_member_imports_only_what_it_declares(member: Path) -> None:
    project = tomllib.loads((member / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    declared = [*project["dependencies"], *(one for group in extras.values() for one in group)]
    allowed = set().union(*map(provided, declared)) | {f"ashore_{member.name.replace('-', '_')}", "ashore"}
    used = {name: path for path in modules(member) for name in imported(path)}
    assert not {name: relative(path) for name, path in used.items() if name not in allowed}


def provided(requirement: str) -> set[str]:
    """The modules that a requirement brings; of `ashore[...]` also those of its extras."""
    match = re.match(r"([A-Za-z0-9_.-]+)(?:\[([^]]*)])?", requirement)
    assert match is not None
    name, extras = match[1].lower(), [one.strip() for one in (match[2] or "").split(",") if one.strip()]
    if name != "ashore":
        return PROVIDES.get(name, {name.replace("-", "_")})
    shared = tomllib.loads((ROOT / "shared/pyproject.toml").read_text("utf-8"))["project"]
    parts = [*shared["dependencies"], *(one for extra in extras for one in shared["optional-dependencies"][extra])]
    return {"ashore"}.union(*map(provided, parts))


def imported(path: Path) -> Iterator[str]:
    """Top names of the modules that a file imports, wherever in it, without those of Python itself."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        else:
            continue
        yield from ({name.partition(".")[0] for name in names} - sys.stdlib_module_names)


def test_no_file_names_a_package_index_or_somebodys_machine() -> None:
    words = re.compile("|".join(map(re.escape, FORBIDDEN)), re.IGNORECASE)
    found: list[str] = []
    for path in tracked():
        # What keeps addresses of indexes out of a file must name them.
        text = path.read_bytes().decode("utf-8", "ignore").replace("--no-emit-index" + "-url", "")
        found += [f"{relative(path)}: {match[0]}" for match in words.finditer(text)]
    assert not found

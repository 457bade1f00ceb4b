"""The first start makes every secret once; `--separate` gives each service only its own."""

import re
import stat
from pathlib import Path

import pytest

from ashore import bundles
from ashore.client import Context
from ashore.client.context import FILE, Place
from ashore.config import Secret
from ashore_cli.stack import Layout
from ashore_cli.stack.prepare import prepare, separate


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("first") / "data")
    prepare(layout, lambda _what: None)
    return layout


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_preparing_again_changes_nothing(layout: Layout) -> None:
    before = content(layout.path)

    prepare(layout, lambda _what: None)

    assert content(layout.path) == before


def test_nobody_else_can_read_a_secret(layout: Layout) -> None:
    assert stat.S_IMODE(layout.path.stat().st_mode) == 0o700
    secrets = [layout.token, *layout.keys.iterdir(), *(layout.nats / "nkeys").iterdir()]
    assert [path for path in secrets if path.stat().st_mode & 0o077] == []


def test_the_bundles_hold_a_key_of_each_kind_and_nothing_secret(layout: Layout) -> None:
    for path in (layout.bundle("owner"), layout.bundle("manufacturer")):
        assert len(bundles.read(path.read_bytes())) == 4
        assert b"PRIVATE" not in path.read_bytes()
    assert len(bundles.read(layout.trusted.read_bytes())) == 8


def test_a_key_that_an_operator_puts_there_is_published(layout: Layout, tmp_path: Path) -> None:
    own = Layout(tmp_path / "own")
    prepare(own, lambda _what: None)
    before = own.bundle("owner").read_text()
    for kind in ("pem", "crt"):
        (own.keys / f"owner-p256.{kind}").write_bytes((layout.keys / f"owner-p256.{kind}").read_bytes())

    prepare(own, lambda _what: None)

    assert own.bundle("owner").read_text() != before


def test_each_service_gets_its_own_secrets_and_no_others(layout: Layout, tmp_path: Path) -> None:
    folders = {folder.name: content(folder) for folder in separate(layout, tmp_path / "all")}

    assert set(folders) == {"cli", "manufacturer", "nats", "owner", "public", "rendezvous"}
    assert not any(name.startswith("keys/owner") for name in folders["manufacturer"])
    assert not any(name.startswith("keys/manufacturer") for name in folders["owner"])
    assert set(folders["rendezvous"]) == {"admin-token", "nats.seed", "keys/session.key"}
    assert set(folders["nats"]) == {"nats-server.conf"}
    assert not re.search(rb"\bSU[A-Z0-9]{50}", folders["nats"]["nats-server.conf"])
    seeds = [folders[name]["nats.seed"] for name in ("manufacturer", "rendezvous", "owner")]
    sessions = [folders[name]["keys/session.key"] for name in ("manufacturer", "rendezvous", "owner")]
    assert len({*seeds, *sessions}) == 6


def test_each_service_has_a_token_of_its_own_and_the_command_line_knows_them(layout: Layout, tmp_path: Path) -> None:
    folders = {folder.name: content(folder) for folder in separate(layout, tmp_path)}

    own = {name: folders[name]["admin-token"] for name in ("manufacturer", "rendezvous", "owner")}
    assert len({*own.values(), layout.token.read_bytes()}) == 4
    assert "admin-token" not in folders["cli"]
    context = Context.load({}, data_dir=tmp_path / "cli")
    known = {name: place.token for name, place in context.services.items()}
    assert known == {name: Secret(token.decode().strip()) for name, token in own.items()}
    assert context.services["owner"].url == "http://owner:8042"
    assert (context.nats.url, context.nats.seed) == (
        "nats://nats:4222",
        Secret(layout.seed("cli").read_text().strip()),
    )
    assert [path for path in (tmp_path / "cli").iterdir() if path.stat().st_mode & 0o077 and path.name != FILE] == []


def test_a_token_that_an_operator_gives_a_service_reaches_the_command_line(layout: Layout, tmp_path: Path) -> None:
    separate(layout, tmp_path)
    (tmp_path / "owner" / "admin-token").write_text("another\n")
    (tmp_path / "cli" / FILE).write_text('[services.owner]\nurl = "http://mine"\ntoken_file = "owner-token"\n')

    separate(layout, tmp_path)

    context = Context.load({}, data_dir=tmp_path / "cli")
    assert context.services["owner"] == Place(url="http://mine", token=Secret("another"))


def test_separating_again_changes_nothing(layout: Layout, tmp_path: Path) -> None:
    separate(
        layout,
        tmp_path,
    )
    before = content(tmp_path)

    separate(layout, tmp_path)

    assert content(tmp_path) == before

"""The first start makes every secret once; `--separate` gives each service only its own."""

import re
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from ashore import bundles, certificates
from ashore.client import Context
from ashore.config import Secret
from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.model import Configuration
from ashore_cli.local.making import make
from ashore_cli.stack import Layout
from ashore_cli.stack.prepare import prepare, separate
from ashore_discovery.configurations.schema import read
from ashore_discovery.configurations.sources import read_file
from ashore_discovery.listening.catalogue import Catalogue


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


def test_init_says_whether_it_has_made_anything(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(layout.path, copy)

    said = []
    for hosts in ((), ("onboarding.example.com",), ()):
        make(copy, None, hosts)
        said.append(capsys.readouterr().out.splitlines()[0])

    assert "certificates anew" in said[1]
    assert said[0] == said[2] == f"{copy} is complete already:"


def test_nobody_else_can_read_a_secret(layout: Layout) -> None:
    assert stat.S_IMODE(layout.path.stat().st_mode) == 0o700
    secrets = [layout.token, *layout.keys.iterdir(), *(layout.nats / "nkeys").iterdir(), *layout.tls.iterdir()]
    assert [path for path in secrets if path.stat().st_mode & 0o077] == []


def test_an_old_data_folder_gets_its_authority_and_keeps_everything_else(layout: Layout, tmp_path: Path) -> None:
    old = Layout(tmp_path / "old")
    shutil.copytree(layout.path, old.path)
    shutil.rmtree(old.tls)
    old.authority.unlink()
    old.look_for.unlink()
    shutil.rmtree(old.configurations)
    old.seed("broker-launcher").unlink()
    before = content(old.path)

    prepare(old, lambda _what: None)

    after = content(old.path)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before} == {
        "ca.pem", "look-for.yaml", "configurations/lights.yaml", "nats/nkeys/broker-launcher.nk",
        *(f"tls/{name}.pem" for name in ("ca", "broker-launcher", "manufacturer", "nats", "owner", "rendezvous")),
    }  # fmt: skip


def test_what_a_new_launcher_starts_is_for_what_a_new_agent_sees_and_can_be_applied(layout: Layout) -> None:
    [manifest] = list(yaml.safe_load_all((layout.configurations / "lights.yaml").read_text()))
    assert (checks.problems(manifest), checks.warnings(manifest)) == ([], [])
    found = checks.told(Configuration.read(manifest), checks.Rules(), None).document
    words = next(one for one in read_file(layout.look_for).configurations if one.handler == "debug-echo")
    assert found is not None
    assert found["handler"] == "debug-echo"
    assert set(found["details"]["descriptions"]) <= set(words.details["descriptions"])


def test_the_folder_of_configurations_is_made_once_and_then_left_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    prepare(layout, lambda _what: None)
    (layout.configurations / "lights.yaml").unlink()
    prepare(layout, lambda _what: None)
    assert list(layout.configurations.iterdir()) == []


def test_certificates_are_for_the_given_hosts(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    prepare(layout, lambda _what: None, ["onboarding.example.com", "192.0.2.7"])
    for server in ("nats", "manufacturer", "rendezvous", "owner"):
        found = x509.load_pem_x509_certificate(layout.certificate(server).read_bytes())
        assert {server, "localhost", "onboarding.example.com", "192.0.2.7"} <= set(certificates.hosts(found))


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

    assert set(folders) == {
        "broker-launcher", "cli", "discovery", "manufacturer", "nats", "owner", "public", "rendezvous", "streams",
    }  # fmt: skip
    assert not any(name.startswith("keys/owner") for name in folders["manufacturer"])
    assert not any(name.startswith("keys/manufacturer") for name in folders["owner"])
    assert set(folders["rendezvous"]) == {"admin-token", "nats.seed", "keys/session.key", "tls.pem", "ca.pem"}
    # It has no sessions with devices, and so no key to seal them.
    assert set(folders["broker-launcher"]) == {
        "admin-token", "nats.seed", "tls.pem", "ca.pem", "configurations/lights.yaml",
    }  # fmt: skip
    # At the edge there is no key, no token and no certificate to be found.
    assert set(folders["discovery"]) == {"nats.seed", "ca.pem", "look-for.yaml"}
    assert set(folders["nats"]) == {"nats-server.conf", "tls.pem", "ca.pem"}
    assert not re.search(rb"\bSU[A-Z0-9]{50}", folders["nats"]["nats-server.conf"])
    seeds = [
        folders[name]["nats.seed"] for name in ("manufacturer", "rendezvous", "owner", "discovery", "broker-launcher")
    ]
    sessions = [folders[name]["keys/session.key"] for name in ("manufacturer", "rendezvous", "owner")]
    assert len({*seeds, *sessions}) == 8


def test_each_service_has_a_token_of_its_own_and_the_command_line_has_them_all(layout: Layout, tmp_path: Path) -> None:
    folders = {folder.name: content(folder) for folder in separate(layout, tmp_path)}

    own = {name: folders[name]["admin-token"] for name in ("manufacturer", "rendezvous", "owner", "broker-launcher")}
    assert len({*own.values(), layout.token.read_bytes()}) == 5
    assert {name: folders["cli"][f"{name}-token"] for name in own} == own
    assert [
        path for path in (tmp_path / "cli").iterdir() if path.stat().st_mode & 0o077 and path.name != "ca.pem"
    ] == []


def test_a_token_that_an_operator_gives_a_service_reaches_the_command_line(layout: Layout, tmp_path: Path) -> None:
    separate(layout, tmp_path)
    (tmp_path / "owner" / "admin-token").write_text("another\n")

    separate(layout, tmp_path)

    context = Context.load({"ASHORE_OWNER_TOKEN_FILE": str(tmp_path / "cli" / "owner-token")}, data_dir=tmp_path)
    assert context.services["owner"].token == Secret("another")


def test_the_key_of_the_authority_is_given_to_nobody(layout: Layout, tmp_path: Path) -> None:
    separate(layout, tmp_path / "all")
    private = [path for path in (tmp_path / "all").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in private if path.parent.name != "keys"} == {"tls.pem"}
    assert not [path for path in private if path.stat().st_mode & 0o077]
    authority = layout.certificate("ca").read_bytes().partition(b"-----BEGIN CERTIFICATE")[0]
    assert not [path for path in private if authority in path.read_bytes()]


def test_a_renewed_certificate_and_nats_with_tls_reach_folders_of_before(layout: Layout, tmp_path: Path) -> None:
    separate(layout, tmp_path)
    (tmp_path / "nats" / "nats-server.conf").write_text("{}")
    (tmp_path / "owner" / "tls.pem").write_text("old")
    seed = (tmp_path / "owner" / "nats.seed").read_bytes()

    separate(layout, tmp_path)

    assert b'"min_version": "1.2"' in (tmp_path / "nats" / "nats-server.conf").read_bytes()
    assert (tmp_path / "owner" / "tls.pem").read_bytes() == layout.certificate("owner").read_bytes()
    assert (tmp_path / "owner" / "nats.seed").read_bytes() == seed


def test_the_seed_of_the_streams_admin_does_not_lie_where_devices_run(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "admin.nk").write_text("of an older release")
    folders = {folder.name: content(folder) for folder in separate(layout, tmp_path)}
    assert set(folders["cli"]) == {
        "manufacturer-token", "rendezvous-token", "owner-token", "broker-launcher-token", "cli.nk", "ca.pem",
    }  # fmt: skip
    assert set(folders["streams"]) == {"admin.nk", "ca.pem"}


def test_separating_again_changes_nothing(layout: Layout, tmp_path: Path) -> None:
    separate(
        layout,
        tmp_path,
    )
    before = content(tmp_path)

    separate(layout, tmp_path)

    assert content(tmp_path) == before


def test_what_the_agent_looks_for_can_be_used_and_belongs_to_the_user_then(layout: Layout, tmp_path: Path) -> None:
    found = read_file(layout.look_for)
    assert found.configurations[0].name == "words"
    assert not [problem for one in found.configurations for problem in one.problems()]
    kinds = {one.handler: Catalogue().load(one.handler) for one in found.configurations}
    for one in found.configurations:
        kind = kinds[one.handler]
        assert not list(kind.problems(read(kind.details_type, one.details, "details")))
    own = Layout(tmp_path / "own")
    prepare(own, lambda _what: None)
    own.look_for.write_text("configurations: []")

    prepare(own, lambda _what: None)

    assert own.look_for.read_text() == "configurations: []"

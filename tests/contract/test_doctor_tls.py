"""What the doctor says of certificates, from real handshakes."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from ashore.client import Context
from ashore.server_certificates import ServerCertificates
from ashore.tls import client_context
from ashore_cli.doctor import bus, folder, secrecy
from ashore_cli.doctor.finding import Finding
from tests.conftest import ServerFactory
from tests.tls_kit import serving

VARIABLE = "ASHORE_CA_FILE"


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """The doctor silences the bus for its process, which is ours here."""
    yield
    structlog.reset_defaults()


class Site:
    """A server with a certificate that was made some days ago."""

    def __init__(self, path: Path, days_ago: int = 0) -> None:
        self.path = path
        made = datetime.now(UTC) - timedelta(days=days_ago)
        kept = ServerCertificates(path / "tls", lambda: made)
        kept.keep("owner", [])
        self.certificate = kept.path("owner")
        self.authority = kept.authority

    def examined(self, host: str = "127.0.0.1", authority: str | None = None) -> Finding:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        with serving(context, host) as port:
            believed = client_context(authority or self.authority)
            found = secrecy.examine("owner", f"https://{host}:{port}", believed, VARIABLE)
        assert found is not None
        return found


def test_the_days_that_a_certificate_lasts_are_told(tmp_path: Path) -> None:
    found = Site(tmp_path).examined()
    assert (found.ok, "364 days left" in found.text) == (True, True)


def test_a_certificate_that_ends_soon_is_bad(tmp_path: Path) -> None:
    found = Site(tmp_path, days_ago=350).examined()
    assert (found.ok, found.unreachable) == (False, False)
    assert "14 days left" in found.text
    assert "ashore up" in found.remedy


def test_a_certificate_that_has_ended_is_told_with_its_day(tmp_path: Path) -> None:
    found = Site(tmp_path, days_ago=400).examined()
    assert (found.ok, found.unreachable) == (False, True)
    assert "has ended at 20" in found.text


def test_a_certificate_for_another_host_is_told_with_its_hosts(tmp_path: Path) -> None:
    found = Site(tmp_path).examined("127.0.0.2")
    assert "not for 127.0.0.2 but for localhost, owner, 127.0.0.1" in found.text
    assert "ashore init --address 127.0.0.2" in found.remedy


def test_an_authority_that_is_not_believed_is_told_with_its_remedy(tmp_path: Path) -> None:
    found = Site(tmp_path / "one").examined(authority=Site(tmp_path / "other").authority)
    assert "not believed" in found.text
    assert VARIABLE in found.remedy


def test_where_nobody_listens_nothing_is_said(tmp_path: Path) -> None:
    assert secrecy.examine("owner", "https://127.0.0.1:1", client_context(Site(tmp_path).authority), VARIABLE) is None


@pytest.mark.parametrize(("days", "ok"), [(0, True), (340, False)])
def test_the_folder_tells_which_certificate_ends_first(tmp_path: Path, days: int, ok: bool) -> None:
    Site(tmp_path, days)
    [authority, first] = folder._tls(tmp_path)
    assert (authority.ok, first.ok) == (True, ok)
    assert f"{364 - days} days left" in first.text


async def test_the_bus_shows_its_certificate(make_nats_server: ServerFactory, tmp_path: Path) -> None:
    site = Site(tmp_path)
    server = make_nats_server(certificate=site.certificate)
    server.start()
    (tmp_path / "ca.pem").write_text(site.authority)
    environ = {
        "ASHORE_NATS_URL": server.url,
        "ASHORE_NATS_CA_FILE": str(tmp_path / "ca.pem"),
        "ASHORE_NATS_SEED_FILE": str(server.seed_file("cli")),
    }
    found = [one async for one in bus.examine(Context.load(environ, data_dir=tmp_path))]
    assert [one.about for one in found] == ["bus", "bus", "streams"]
    assert "364 days left" in found[1].text

    stranger = environ | {"ASHORE_NATS_CA_FILE": ""}
    found = [one async for one in bus.examine(Context.load(stranger, data_dir=tmp_path))]
    assert "not believed" in found[-1].text

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from ashore.config import Secret, Settings, SettingsError
from ashore.node import NodeSettings


class Tide(StrEnum):
    HIGH = "high"
    LOW = "low"


class Harbour(Settings, frozen=True, kw_only=True):
    """A service's settings."""

    service = "harbour"

    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on.")] = 8042
    berths: Annotated[int, Meta(description="How many ships fit.")] = 3
    lights: bool = True
    pilot: str | None = None
    tide: Tide = Tide.HIGH


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Harbour.load(environ)
    return caught.value.problems


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Harbour.load({})
    assert (settings.port, settings.berths, settings.auth, settings.data_dir) == (8042, 3, "on", Path(".ashore"))


def test_the_database_is_a_file_named_after_the_service_by_default() -> None:
    assert Harbour.load({"ASHORE_DATA_DIR": "/var/lib/ashore"}).database_url == "sqlite:////var/lib/ashore/harbour.db"
    assert Harbour.load({"ASHORE_DATABASE_URL": "postgresql://h/d"}).database_url == "postgresql://h/d"


def test_variables_are_converted_to_the_types_of_their_fields() -> None:
    settings = Harbour.load(
        {
            "ASHORE_BERTHS": "12",
            "ASHORE_LIGHTS": "off",
            "ASHORE_RATE_LIMIT": "2.5",
            "ASHORE_TLS_KEY": "/k",
            "ASHORE_TLS_CERTIFICATE": "/c",
            "ASHORE_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
        }
    )
    assert (settings.berths, settings.lights, settings.rate_limit) == (12, False, 2.5)
    assert (settings.tls_key, settings.trusted_proxies) == (Path("/k"), ["10.0.0.0/8", "::1"])


def test_an_empty_variable_counts_as_unset() -> None:
    assert Harbour.load({"ASHORE_PORT": "", "ASHORE_PORT_FILE": ""}).port == 8042


def test_a_file_can_hold_the_value_and_is_stripped(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_text("  SUAMQ\n")
    settings = Harbour.load({"ASHORE_NATS_SEED_FILE": str(seed)})
    assert settings.nats_seed == Secret("SUAMQ")


def test_everything_that_is_wrong_is_told_at_once_in_words() -> None:
    told = problems(
        {
            "ASHORE_PORT": "abc",
            "ASHORE_BERTHS": "many",
            "ASHORE_LIGHTS": "perhaps",
            "ASHORE_AUTH": "maybe",
            "ASHORE_RATE_LIMIT": "-1",
            "ASHORE_TIDE": "spring",
        }
    )
    assert sorted(told) == [
        "ASHORE_AUTH is 'maybe': expected one of off, on",
        "ASHORE_BERTHS is 'many': expected a whole number",
        "ASHORE_LIGHTS is 'perhaps': expected on or off",
        "ASHORE_PORT is 'abc': expected a whole number from 0 to 65535",
        "ASHORE_RATE_LIMIT is '-1': expected a number, at least 0",
        "ASHORE_TIDE is 'spring': expected one of high, low",
    ]


def test_a_value_and_its_file_together_are_refused(tmp_path: Path) -> None:
    assert problems({"ASHORE_PORT": "1", "ASHORE_PORT_FILE": str(tmp_path)}) == [
        "ASHORE_PORT and ASHORE_PORT_FILE are both set: keep one"
    ]


def test_a_file_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert problems({"ASHORE_ADMIN_TOKEN_FILE": str(missing)}) == [
        f"ASHORE_ADMIN_TOKEN_FILE is '{missing}': the file cannot be read (No such file or directory)"
    ]


@pytest.mark.parametrize("variable", ["ASHORE_TLS_KEY", "ASHORE_TLS_CERTIFICATE"])
def test_a_certificate_without_its_key_is_refused(variable: str) -> None:
    assert "belong together" in problems({variable: "/x"})[0]


def test_a_proxy_that_is_no_network_is_refused() -> None:
    assert problems({"ASHORE_TRUSTED_PROXIES": "10.0.0.1,proxy"}) == [
        "ASHORE_TRUSTED_PROXIES has 'proxy': expected an address or a network such as 10.0.0.0/8"
    ]


def test_a_replica_name_that_no_subject_can_carry_is_refused() -> None:
    assert "ASHORE_REPLICA is 'a.b'" in problems({"ASHORE_REPLICA": "a.b"})[0]


def test_each_process_gets_its_own_replica_name() -> None:
    assert Harbour.load({}).replica != Harbour.load({}).replica


def test_an_unknown_variable_is_warned_of_with_the_nearest_name() -> None:
    environ = {"ASHORE_PROT": "1", "ASHORE_PORT": "1", "ASHORE_PORT_FILE": "", "ASHORE_ZZZZZZ": "", "HOME": "/"}
    assert Harbour.warnings(environ) == [
        "ASHORE_PROT is not a setting of this service; did you mean ASHORE_PORT?",
        "ASHORE_ZZZZZZ is not a setting of this service",
    ]


def test_a_secret_does_not_show_itself() -> None:
    settings = Harbour.load({"ASHORE_ADMIN_TOKEN": "hunter2", "ASHORE_NATS_SEED": "SUA"})
    assert "hunter2" not in f"{settings} {settings.admin_token!r} {settings.admin_token}"
    assert settings.admin_token is not None
    assert settings.admin_token.reveal() == "hunter2"


def test_every_setting_is_described() -> None:
    described = {row.variable: row for row in Harbour.describe()}
    assert described["ASHORE_PORT"] == ("ASHORE_PORT", "a whole number from 0 to 65535", "8042", "Port to listen on.")
    assert described["ASHORE_NATS_SEED"].type == "a secret"
    assert all(row.description for row in Settings.describe())


@pytest.mark.parametrize("url", ["nats://bus:4222", "tls://one:4222,nats://two:4222"])
def test_an_authority_for_a_bus_without_tls_is_a_mistake(url: str) -> None:
    [problem] = problems({"ASHORE_NATS_CA": "-----BEGIN", "ASHORE_NATS_URL": url})
    assert "begin each URL with tls://" in problem


def test_the_authority_of_the_bus_is_given_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN\n")
    environ = {"ASHORE_NATS_CA_FILE": str(tmp_path / "ca.pem"), "ASHORE_NATS_URL": "tls://one:4222, tls://two:4222"}
    assert Harbour.load(environ).nats_ca == "-----BEGIN"


def test_a_password_in_a_url_is_not_in_the_repr() -> None:
    settings = Harbour.load({"ASHORE_DATABASE_URL": "postgresql://me:pa55@host/d", "ASHORE_NATS_URL": "nats://t0ken@h"})
    assert not re.search("pa55|t0ken", repr(settings))


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("nats://127.0.0.1:4222", []),
        ("nats://localhost,nats://[::1]:4222", []),
        ("tls://bus:4222", []),
        ("memory:", []),
        ("nats://bus:4222, nats://127.0.0.1, nats://192.0.2.7:4222", ["bus", "192.0.2.7"]),
    ],
)
def test_a_bus_elsewhere_without_tls_is_known(url: str, hosts: list[str]) -> None:
    assert Harbour.load({"ASHORE_NATS_URL": url}).plain_buses() == hosts


def test_a_nodes_name_in_a_cluster_may_have_dots_and_has_none_in_subjects() -> None:
    assert NodeSettings.load({"ASHORE_NODE": "node-1.example.com"}).node == "node-1-example-com"
    with pytest.raises(SettingsError):
        NodeSettings.load({"ASHORE_NODE": "-a"})

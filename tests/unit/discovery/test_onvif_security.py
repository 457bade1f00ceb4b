"""Digests by the vectors of their specifications, and Akri's keys for credentials."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ashore_discovery.handlers.onvif.credentials import Credential, candidates, problems, read
from ashore_discovery.handlers.onvif.security import authorization, challenge, password_digest, username_token

UUID = "5f5a69c2-e0ae-504f-829b-00fcdab169cc"
OTHER = "6a67158b-42b1-400b-8afe-1bec9a5d7909"
RFC_7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def test_the_digest_of_a_username_token_is_that_of_the_onvif_programmers_guide() -> None:
    nonce = base64.b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    assert password_digest(nonce, "2010-09-16T07:50:45Z", "userpassword") == "tuOSpGlFlIXsozq4HFNeeGeFLEI="


def test_a_username_token_has_the_devices_time_and_no_password() -> None:
    token = username_token("a<b", "geheim", b"0123456789abcdef", 1457886009.0)
    assert "2016-03-13T16:20:09Z" in token
    assert "a&lt;b" in token
    assert "geheim" not in token


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_http_digest_is_that_of_rfc_7616(algorithm: str, response: str) -> None:
    asked = challenge([RFC_7616.format(algorithm)])
    assert asked is not None
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    said = authorization(asked, "Mufasa", "Circle of Life", "/dir/index.html", cnonce=cnonce, method="GET")
    assert f'response="{response}"' in said
    assert "Circle" not in said


def test_http_digest_without_qop_is_that_of_rfc_2069() -> None:
    asked = challenge(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    assert asked is not None
    said = authorization(asked, "Mufasa", "CircleOfLife", "/dir/index.html", cnonce="x", method="GET")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in said
    assert "qop" not in said


def test_of_several_challenges_the_strongest_is_answered() -> None:
    found = challenge(["Basic realm=x", RFC_7616.format("MD5"), RFC_7616.format("SHA-256")])
    assert found is not None
    assert found.algorithm == "SHA-256"


@pytest.mark.parametrize(
    "header", ["Basic realm=x", "Digest", 'Digest realm="x"', 'Digest nonce="x", algorithm=MD4', ""]
)
def test_what_cannot_be_answered_without_saying_the_password_is_not_answered(header: str) -> None:
    assert challenge([header]) is None


@given(some.text(max_size=300), some.text(max_size=20))
def test_whatever_is_asked_nothing_ends_the_header(header: str, user: str) -> None:
    asked = challenge(["Digest nonce=x, " + header])
    if asked is not None:
        said = authorization(asked, user, "p", "/", cnonce="c")
        assert "\r" not in said
        assert "\n" not in said


SECRETS = {
    "file:one": "hunter2",
    "file:list": json.dumps(
        {
            UUID: {"username": "u1", "password": "p1"},
            OTHER: {"username": "u3", "password": "YWRtaW4=", "base64encoded": True},
        }
    ),
    "file:references": json.dumps({UUID: {"username_ref": "who", "password_ref": "what"}}),
    "file:broken": "{",
}


def stored(**properties: str) -> tuple[dict[str, Credential], list[str]]:
    complaints: list[str] = []
    return read(properties, SECRETS.__getitem__, complaints.append), complaints


def test_credentials_of_one_device_and_of_all_others_as_in_akri() -> None:
    own = UUID.replace("-", "_")
    store, complaints = stored(
        **{
            f"username_{own}": "u",
            f"password_{own}": "file:one",
            "username_default": "d",
            "password_default": "file:one",
        }
    )
    assert complaints == []
    assert candidates([store], UUID) == [Credential(username="u", password="hunter2")]
    assert candidates([store], OTHER) == [Credential(username="d", password="hunter2")]
    assert candidates([{}], OTHER) == []


def test_lists_of_credentials_as_in_akri() -> None:
    store, complaints = stored(device_credential_list='["a"]', a="file:list")
    assert complaints == []
    assert store == {
        UUID: Credential(username="u1", password="p1"),
        OTHER: Credential(username="u3", password="admin"),
    }


def test_a_later_source_wins_as_in_akri() -> None:
    properties = {
        "device_credential_list": '["a"]',
        "a": "file:list",
        "device_credential_ref_list": '["b"]',
        "b": "file:references",
        "who": "u2",
        "what": "file:one",
    }
    store, _ = stored(**properties)
    assert store[UUID] == Credential(username="u2", password="hunter2")
    store, _ = stored(**properties, **{"username_" + UUID.replace("-", "_"): "u4"})
    assert store[UUID] == Credential(username="u4")


def test_a_list_that_cannot_be_read_is_told_without_its_content() -> None:
    store, complaints = stored(device_credential_list='["a","b"]', a="file:broken", b="file:missing")
    assert store == {}
    assert len(complaints) == 2
    assert "{" not in complaints[0]


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({"username_default": "u", "password_default": "hunter2"}, "holds a secret"),
        ({"device_credential_list": "a"}, "no JSON list"),
        ({"device_credential_list": '["a"]'}, "not among the properties"),
        ({"device_credential_list": '["a"]', "a": "{}"}, "holds a secret"),
        ({"password_default": "file:x"}, "no 'username_default' beside it"),
    ],
)
def test_mistakes_in_keys_are_told_and_secrets_are_not(properties: dict[str, str], problem: str) -> None:
    (found,) = problems(properties)
    assert problem in found
    assert "hunter2" not in found


def test_a_credential_does_not_print_its_password() -> None:
    assert "p" not in repr(Credential(username="u", password="p")).removeprefix("Credential")

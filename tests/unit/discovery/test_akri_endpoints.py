"""Where Akri's handlers may serve, what is remembered of them, and what configurations may ask them."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ashore_discovery.configurations.schema import ConfigurationError
from ashore_discovery.handler import HandlerError
from ashore_discovery.limits import Network
from ashore_discovery.listening.akri.details import query_of
from ashore_discovery.listening.akri.endpoints import (
    FILE,
    MOST_ENDPOINTS,
    MOST_FAMILIES,
    Book,
    Door,
    EndpointError,
    Kept,
    Places,
)
from ashore_discovery.listening.akri.handler import kind_of
from ashore_discovery.listening.catalogue import Catalogue, NoSuchHandlerError
from tests.discovery_kit import Plain


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, Network())


@pytest.fixture
def book(tmp_path: Path, places: Places) -> Book:
    return Book(tmp_path, places, Catalogue([]))


def at(endpoint: object, name: str = "rfid", **fields: Any) -> Kept:
    return Kept(name=name, endpoint=str(endpoint), **fields)


def test_an_address_in_an_allowed_network_is_a_door(places: Places) -> None:
    assert places.door(at("http://10.0.0.7:10000", network=True)) == Door(host="10.0.0.7", port=10000)
    assert places.door(at("http://[fd00::7]:10000", network=True)) == Door(host="fd00::7", port=10000)


@pytest.mark.parametrize(
    "url",
    [
        "http://203.0.113.7:10000",
        "http://[::ffff:203.0.113.7]:10000",
        "http://localhost:10000",
        "https://10.0.0.7:10000",
        "http://10.0.0.7:99999",
        "http://10.0.0.7:0",
        "http://10.0.0.7:10000/elsewhere",
        "http://[fd00",
        "10.0.0.7:10000",
        "http://10.0.0.7:10000\n",
        "",
        "http://" + "1" * 1000,
    ],
)
def test_any_other_address_is_refused(places: Places, url: str) -> None:
    with pytest.raises(EndpointError):
        places.check(at(url, network=True))


@pytest.mark.parametrize("path", ["/run/other.sock", "rfid.sock", "{0}/../other.sock", "{0}-beside/x.sock", ""])
def test_a_socket_elsewhere_is_refused(places: Places, path: str) -> None:
    with pytest.raises(EndpointError):
        places.check(at(path.format(places.folder)))


def test_a_link_out_of_the_folder_a_file_and_nothing_are_no_sockets(tmp_path: Path) -> None:
    folder = tmp_path / "akri"
    folder.mkdir()
    places = Places(folder, Network())
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        (folder / "link.sock").symlink_to(tmp_path / "other.sock")
        (folder / "file.sock").touch()
        for name, why in (("link", "leads out"), ("file", "no socket"), ("nothing", "No such file")):
            with pytest.raises(EndpointError, match=why):
                places.door(at(folder / f"{name}.sock"))


def test_registrations_are_remembered(tmp_path: Path, book: Book, places: Places) -> None:
    one, two = at(tmp_path / "one.sock", shared=True), at("http://10.0.0.7:10000", network=True, shared=True)
    assert book.enter(one)[1]
    assert book.enter(two)[1]
    assert not book.enter(one)[1]
    book.write()
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    (family,) = Book(tmp_path, places, Catalogue([])).restore()
    assert [endpoint.kept for endpoint in family.endpoints.values()] == [one, two]
    assert family.shared


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"name": "x"}]'])
def test_a_broken_file_is_as_none(tmp_path: Path, book: Book, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert book.restore() == []


def test_what_is_not_allowed_any_more_is_not_restored(tmp_path: Path, book: Book) -> None:
    book.enter(at("http://10.0.0.7:10000", network=True))
    book.write()
    assert Book(tmp_path, Places(tmp_path, Network(["192.168.0.0/16"])), Catalogue([])).restore() == []


def test_endpoints_that_disagree_about_shared_are_refused(tmp_path: Path, book: Book) -> None:
    book.enter(at(tmp_path / "one.sock"))
    family, fresh = book.enter(at(tmp_path / "one.sock", shared=True))
    assert (family.shared, fresh) == (True, True)
    with pytest.raises(EndpointError, match="shared is true"):
        book.enter(at(tmp_path / "two.sock"))


def test_there_are_so_many_endpoints_and_the_one_that_fails_makes_room(tmp_path: Path, book: Book) -> None:
    for number in range(MOST_ENDPOINTS):
        family, _ = book.enter(at(tmp_path / f"{number}.sock"))
    with pytest.raises(EndpointError, match="all of them answer"):
        book.enter(at(tmp_path / "another.sock"))
    family.endpoints[str(tmp_path / "3.sock")].failures = 1
    book.enter(at(tmp_path / "another.sock"))
    assert str(tmp_path / "3.sock") not in family.endpoints


def test_there_are_so_many_handlers(tmp_path: Path, book: Book) -> None:
    for number in range(MOST_FAMILIES):
        book.enter(at(tmp_path / "x.sock", f"h{number}"))
    with pytest.raises(EndpointError, match="already"):
        book.enter(at(tmp_path / "x.sock", "another"))


def test_names_that_configurations_cannot_tell_apart_are_refused(tmp_path: Path, book: Book) -> None:
    assert book.enter(at(tmp_path / "x.sock", "myHandler"))[0].token == "my-handler"
    with pytest.raises(EndpointError, match="myHandler"):
        book.enter(at(tmp_path / "y.sock", "my_handler"))
    for name in ("", "___", "x" * 58):
        with pytest.raises(EndpointError, match="letters"):
            book.enter(at(tmp_path / "z.sock", name))


def test_a_name_that_has_registered_over_the_bus_is_taken(tmp_path: Path, book: Book) -> None:
    class FromTheBus(Plain):
        name = "rfid"

    catalogue = Catalogue([])
    catalogue.add(FromTheBus)
    family, _ = book.enter(at(tmp_path / "x.sock"))
    with pytest.raises(NoSuchHandlerError, match="the bus"):
        catalogue.add(kind_of(family, book), way="Akri's interface")
    assert catalogue.load("rfid") is FromTheBus


def test_details_are_sent_as_json_and_akris_form_as_it_is_written() -> None:
    assert query_of({}).details == ""
    assert query_of({"b": [1], "a": "x"}).details == '{"a":"x","b":[1]}'
    assert query_of({"discoveryDetails": "a: x\n"}).details == "a: x\n"
    assert query_of({"discoveryDetails": {"a": "x"}}) == query_of({"a": "x"})


def test_properties_are_values_or_secrets() -> None:
    written = [
        {"name": "user", "value": "anna"},
        {"name": "password", "secret": "file:p"},
        {"name": "nothing"},
        {"name": "other", "secret": "file:no", "optional": True},
    ]
    query = query_of({"discoveryProperties": written})
    assert query == query_of({"discoveryProperties": written[::-1]})
    assert query.opened(secret) == {"user": b"anna", "password": b"geheim", "nothing": None}
    with pytest.raises(HandlerError):
        query_of({"discoveryProperties": [{"name": "x", "secret": "file:no"}]}).opened(secret)


def secret(reference: str) -> str:
    if reference != "file:p":
        raise HandlerError("there is no such secret")
    return "geheim"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"discoveryDetails": 3}, "discoveryDetails"),
        ({"discoveryDetails": "", "discoveryPropertys": []}, "did you mean 'discoveryProperties'"),
        ({"discoveryProperties": [{"name": "1x"}]}, "name"),
        ({"discoveryProperties": [{"name": "x", "value": "1", "secret": "file:x"}]}, "a value and a secret"),
        ({"discoveryProperties": [{"name": "x"}, {"name": "x"}]}, "twice"),
        ({"discoveryProperties": [{"name": "x", "valueFrom": {}}]}, "valueFrom"),
    ],
)
def test_what_is_wrong_with_akris_form_is_told(raw: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        query_of(raw)


def test_an_agent_without_akri_imports_no_grpc() -> None:
    code = "import sys, ashore_discovery.app; print(sorted({'grpclib', 'h2', 'google.protobuf'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

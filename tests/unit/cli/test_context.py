"""Where the command line looks for services and tokens."""

from pathlib import Path

import pytest

from ashore.client import Client, ClientError, Context, Unreachable, client_tls, shown
from ashore.client.context import FILE, BusEntry, ContextFile, ServiceEntry, read, write
from ashore_cli.doctor import bus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as `ashore up` leaves it."""
    (tmp_path / "admin-token").write_text("local-token\n")
    (tmp_path / "cli.nk").write_text("SUAB\n")
    entry = ServiceEntry(url="http://127.0.0.1:9042", token_file="admin-token")
    bus = BusEntry(url="nats://127.0.0.1:5222", seed_file="cli.nk")
    write(tmp_path / FILE, ContextFile(services={"owner": entry}, nats=bus))
    return tmp_path


def token(context: Context, service: str) -> str | None:
    found = context.services[service].token
    return found.reveal() if found else None


def test_without_anything_services_are_looked_for_at_their_usual_ports(tmp_path: Path) -> None:
    context = Context.load({}, data_dir=tmp_path / "none")

    assert context.services["owner"].url == "http://127.0.0.1:8042"
    assert context.nats.url == "nats://127.0.0.1:4222"
    assert token(context, "owner") is None


def test_the_data_folder_says_where_its_services_are_and_opens_them(folder: Path) -> None:
    context = Context.load({"ASHORE_DATA_DIR": str(folder)})

    assert context.services["owner"].url == "http://127.0.0.1:9042"
    assert token(context, "owner") == "local-token"
    assert context.nats.url == "nats://127.0.0.1:5222"
    assert context.nats.seed is not None
    assert context.nats.seed.reveal() == "SUAB"


def test_the_environment_stands_above_the_data_folder_and_options_above_both(folder: Path) -> None:
    environ = {"ASHORE_OWNER_URL": "https://owner.example/", "ASHORE_TOKEN": "given"}

    assert Context.load(environ, data_dir=folder).services["owner"].url == "https://owner.example"
    given = Context.load(environ, data_dir=folder, urls={"owner": "http://other"})
    assert given.services["owner"].url == "http://other"
    assert token(given, "owner") == "given"


def test_the_data_folders_token_is_not_shown_to_another_service(folder: Path) -> None:
    context = Context.load({"ASHORE_OWNER_URL": "http://stranger"}, data_dir=folder)

    assert token(context, "owner") is None


def test_the_data_folders_seed_is_not_shown_to_another_bus(folder: Path) -> None:
    assert Context.load({"ASHORE_NATS_URL": "nats://stranger"}, data_dir=folder).nats.seed is None


def test_the_token_of_one_service_stands_above_that_of_all(tmp_path: Path) -> None:
    (tmp_path / "owner-token").write_text("for the owner\n")
    environ = {"ASHORE_TOKEN": "for all", "ASHORE_OWNER_TOKEN_FILE": str(tmp_path / "owner-token")}

    context = Context.load(environ, data_dir=tmp_path)

    assert token(context, "owner") == "for the owner"
    assert token(context, "manufacturer") == "for all"


def test_a_secret_is_not_in_the_repr(folder: Path) -> None:
    assert "local-token" not in repr(Context.load({}, data_dir=folder))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    content = ContextFile(services={"owner": ServiceEntry(url='http://ä"\\x')}, ca_file="ca.pem")
    write(tmp_path / FILE, content)

    assert read(tmp_path / FILE) == content


@pytest.mark.parametrize("text", ["[[", "[nats]\n", "unknown = 1\n", "\xff"])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")

    with pytest.raises(ClientError, match=FILE) as caught:
        Context.load({}, data_dir=tmp_path)
    assert "ashore up" in caught.value.remedy


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="missing-token"):
        Context.load({"ASHORE_TOKEN_FILE": "missing-token"}, data_dir=tmp_path)


def test_the_bus_has_authorities_of_its_own_or_those_of_the_services(folder: Path) -> None:
    write(folder / FILE, ContextFile(ca_file="ca.pem"))

    context = Context.load({}, data_dir=folder)
    given = Context.load({"ASHORE_NATS_CA_FILE": "/bus.pem"}, data_dir=folder)

    assert (context.ca_file, context.nats.ca_file) == (folder / "ca.pem", folder / "ca.pem")
    assert (given.ca_file, given.nats.ca_file) == (folder / "ca.pem", Path("/bus.pem"))


@pytest.mark.parametrize("content", ["no certificates", None])
def test_authorities_of_no_use_are_named_with_the_remedy(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)

    with pytest.raises(ClientError, match=r"ca\.pem") as caught:
        client_tls(tmp_path / "ca.pem")

    assert "ASHORE_CA_FILE" in caught.value.remedy


def test_a_password_in_a_url_is_not_shown() -> None:
    assert shown("nats://me:pa55@one:4222,tls://t0ken@two") == "nats://one:4222,tls://two"
    assert shown("https://owner.example:8042/a@b") == "https://owner.example:8042/a@b"


async def test_a_password_in_a_url_is_in_no_error(tmp_path: Path) -> None:
    url = "http://me:pa55@127.0.0.1:1"
    async with Client(Context.load({"ASHORE_OWNER_URL": url}, data_dir=tmp_path)) as client:
        with pytest.raises(Unreachable) as caught:
            await client.owner.devices()
    assert "127.0.0.1:1" in caught.value.detail
    assert "pa55" not in caught.value.detail
    context = Context.load({"ASHORE_NATS_URL": "nats://me:pa55@127.0.0.1:1"}, data_dir=tmp_path)
    found = [one async for one in bus.examine(context)]
    assert [one.unreachable for one in found] == [True]
    assert "pa55" not in str(found)

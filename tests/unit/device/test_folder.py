"""Files below one folder and nowhere else: names, links, links that appear in between, and things that are no files."""

import os
import stat
from pathlib import Path

import pytest

from ashore.fdo.serviceinfo.host import HostError
from ashore_device.fetching import Fetcher
from ashore_device.folder import Folder
from ashore_device.host import FolderHost, Limits, Policy

ESCAPES = ["/etc/passwd", "../secret", "a/../../secret", "..", ".", "", "a//b", "a/", "./a", "a/./b", "a\0b", "/"]
LINKS = ["link", "folder-link/secret", "inner/up/secret", "dangling", "folder-link/new", "absolute"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "plain").write_text("plain")
    (root / "link").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "folder-link").symlink_to(tmp_path)
    (root / "inner" / "up").symlink_to("../..")
    (root / "dangling").symlink_to("../new")
    os.mkfifo(root / "fifo")
    return tmp_path


@pytest.fixture
def host(outside: Path) -> FolderHost:
    return FolderHost(outside / "root", Fetcher(), limits=Limits(file=100, total=150))


@pytest.mark.parametrize("name", [*ESCAPES, *LINKS, "fifo", "inner"])
async def test_no_name_and_no_link_leads_out(host: FolderHost, outside: Path, name: str) -> None:
    before = names_in(outside)
    for attempt in (
        host.write(name, b"x", append=False),
        host.write(name, b"x", append=True),
        host.read(name, 0, 10),
        host.size(name),
        host.rename(name, "inner/copy") if name not in LINKS else host.rename("plain", name + "/x"),
    ):
        with pytest.raises(HostError) as caught:
            await attempt
        assert str(outside) not in str(caught.value)
    assert names_in(outside) == before
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.parametrize("name", ["folder-link/secret", "inner/up/secret", "../secret", "/etc/hostname"])
async def test_nothing_outside_is_removed_or_replaced(host: FolderHost, outside: Path, name: str) -> None:
    with pytest.raises(HostError):
        await host.remove(name)
    with pytest.raises(HostError):
        await host.rename("plain", name)
    assert (outside / "secret").read_text() == "secret"


async def test_a_final_name_that_is_a_link_is_replaced_and_not_followed(host: FolderHost, outside: Path) -> None:
    await host.rename("plain", "link")
    assert not (outside / "root" / "link").is_symlink()
    assert (outside / "secret").read_text() == "secret"


async def test_a_folder_that_becomes_a_link_in_between_is_not_followed(host: FolderHost, outside: Path) -> None:
    await host.write("inner/file", b"one", append=False)
    (outside / "root" / "inner").rename(outside / "root" / "elsewhere")
    (outside / "root" / "inner").symlink_to(outside)
    with pytest.raises(HostError):
        await host.write("inner/secret", b"two", append=True)
    assert (outside / "secret").read_text() == "secret"


async def test_files_are_written_in_pieces_and_read_back(host: FolderHost, outside: Path) -> None:
    await host.write("new/deep/file", b"one", append=False)
    await host.write("new/deep/file", b"two", append=True)
    assert await host.read("new/deep/file", 2, 2) == b"et"
    assert await host.read("new/deep/file", 6, 2) == b""
    assert await host.size("new/deep/file") == 6
    await host.rename("new/deep/file", "final/file")
    await host.remove("new/deep/file")
    await host.write("final/file", b"", append=False)
    assert await host.size("final/file") == 0
    assert stat.S_IMODE((outside / "root" / "final" / "file").stat().st_mode) == 0o600


async def test_a_missing_file_is_named(host: FolderHost) -> None:
    for attempt in (host.size("nothing"), host.read("a/nothing", 0, 1), host.rename("nothing", "else")):
        with pytest.raises(HostError, match="there is no file"):
            await attempt
    await host.remove("a/nothing")


async def test_sizes_are_bounded(host: FolderHost) -> None:
    await host.write("file", bytes(90), append=False)
    with pytest.raises(HostError, match="longer than 100 bytes"):
        await host.write("file", bytes(11), append=True)
    with pytest.raises(HostError, match="more than 150 bytes"):
        await host.write("other", bytes(61), append=False)
    host.modules()
    await host.write("other", bytes(61), append=False)


async def test_the_folder_is_made_when_it_is_needed_and_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "chosen").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    await FolderHost(tmp_path / "chosen", Fetcher()).write("file", b"x", append=False)
    assert (tmp_path / "real" / "file").read_bytes() == b"x"
    await FolderHost(tmp_path / "new" / "one", Fetcher()).write("file", b"x", append=False)
    assert stat.S_IMODE((tmp_path / "new" / "one").stat().st_mode) == 0o700


def test_descriptors_are_closed(outside: Path) -> None:
    folder = Folder(outside / "root")
    before = descriptors()
    for name in (*ESCAPES, *LINKS, "plain", "inner/x", "fifo"):
        try:
            with folder.opened(name, os.O_WRONLY | os.O_CREAT):
                pass
            folder.replace(name, "inner/y")
        except HostError:
            continue
    assert descriptors() == before


async def test_the_policy_decides_which_modules_there_are(tmp_path: Path) -> None:
    def names(policy: Policy) -> list[str]:
        return [module.name for module in FolderHost(tmp_path, Fetcher(), policy=policy).modules()]

    assert names(Policy()) == ["fdo_sys", "fdo.command", "fdo.download", "fdo.upload", "fdo.wget"]
    assert names(Policy(run_programs=False)) == ["fdo_sys", "fdo.download", "fdo.upload", "fdo.wget"]
    assert names(Policy(modules=("fdo.wget",))) == ["fdo.wget"]
    with pytest.raises(HostError, match="runs no programs"):
        await FolderHost(tmp_path, Fetcher(), policy=Policy(run_programs=False)).run(["true"], lifetime=1)

"""fdo.download, fdo.upload, fdo.wget and the file part of fdo_sys, both sides together."""

import hashlib
import mmap
from pathlib import Path

import pytest

from ashore.fdo.serviceinfo import DeviceTurn, ServiceInfoError, StepFailedError
from ashore.fdo.serviceinfo.download import Content, DownloadDevice, DownloadFile, DownloadLater
from ashore.fdo.serviceinfo.fdo_sys import FetchFile, WriteFile
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.fdo.serviceinfo.upload import UploadFile
from ashore.fdo.serviceinfo.wget import Wget, WgetDevice
from tests.unit.serviceinfo.kit import MemoryHost, converse, introduction, item, values_of

CONTENT = bytes(range(256)) * 79
SHA384 = hashlib.sha384(CONTENT).digest()
SIZES = [None, 256, 1300, 4096, 65_535]
ESCAPES = ["../a", "/etc/passwd", "a/../../b", "a//b", "./a", "a\\b", "c:a", "a\x00b", "a\nb", "", "x" * 256]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("content", [CONTENT, b"", b"x", bytes(1014), bytes(1015)])
async def test_a_file_is_downloaded(content: bytes, size: int | None) -> None:
    host = MemoryHost()
    owner, _ = await converse([DownloadFile("a/b.bin", content)], host, device_takes=size)
    assert host.files == {"a/b.bin": content}
    assert owner.outcomes[0].state == "done"


async def test_a_file_is_downloaded_from_a_memory_map(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(CONTENT)
    host = MemoryHost()
    with (tmp_path / "big").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        steps = [DownloadFile("big", memoryview(content), sha384=SHA384), WriteFile("same", memoryview(content))]
        await converse(steps, host)
    assert host.files == {"big": CONTENT, "same": CONTENT}


class Coming:
    """A file that arrives, or fails to, when it has been asked for so often."""

    def __init__(self, looks: int, error: str = "") -> None:
        self.looks, self.error = looks, error

    def __call__(self) -> Content | None:
        self.looks -= 1
        if self.looks > 0:
            return None
        if self.error:
            raise StepFailedError(self.error)
        return Content(CONTENT, SHA384)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("looks", [0, 1, 50])
async def test_a_file_that_the_owner_still_fetches_is_waited_for(looks: int, size: int | None) -> None:
    host = MemoryHost()
    steps = [WriteFile("before", b"1"), DownloadLater("a", Coming(looks)), WriteFile("after", b"2")]
    owner, _ = await converse(steps, host, device_takes=size)
    assert host.files == {"before": b"1", "a": CONTENT, "after": b"2"}
    assert [outcome.state for outcome in owner.outcomes] == ["done"] * 3


async def test_a_file_that_the_owner_cannot_fetch_fails_the_step_with_the_reason() -> None:
    with pytest.raises(StepFailedError, match="download a: the site is down"):
        await converse([DownloadLater("a", Coming(5, "the site is down"))], MemoryHost())
    host = MemoryHost()
    steps = [DownloadLater("a", Coming(5, "the site is down"), may_fail=True), WriteFile("b", b"x")]
    owner, _ = await converse(steps, host)
    assert [outcome.state for outcome in owner.outcomes] == ["failed", "done"]
    assert host.files == {"b": b"x"}


async def test_data_comes_in_pieces_of_at_most_1014_bytes() -> None:
    _, talk = await converse([DownloadFile("a", CONTENT)], MemoryHost(), device_takes=65_535)
    pieces = [value for _, turn in talk.turns for key, value in values_of(turn) if key == "fdo.download:data"]
    assert max(len(piece) for piece in pieces if isinstance(piece, bytes)) == 1014
    assert talk.rounds == 2


async def test_a_download_fills_its_messages() -> None:
    _, talk = await converse([DownloadFile("a", CONTENT)], MemoryHost())
    assert talk.rounds <= len(CONTENT) // 1200 + 3


async def test_a_wrong_hash_is_found_and_the_file_not_kept() -> None:
    host = MemoryHost(files={"a": b"old"})
    with pytest.raises(StepFailedError, match="hash was wrong"):
        await converse([DownloadFile("a", CONTENT, sha384=bytes(48))], host)
    assert host.files == {"a": b"old"}


async def test_a_download_that_may_fail_does_not_end_the_onboarding() -> None:
    steps = [DownloadFile("a", CONTENT, sha384=bytes(48), may_fail=True), DownloadFile("b", b"x")]
    host = MemoryHost()
    owner, _ = await converse(steps, host)
    assert [outcome.state for outcome in owner.outcomes] == ["failed", "done"]
    assert host.files == {"b": b"x"}


async def test_a_full_disk_fails_a_download() -> None:
    with pytest.raises(StepFailedError, match="could not store"):
        await converse([DownloadFile("a", CONTENT)], MemoryHost(full=True))


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_download_never_leaves_the_working_folder(name: str) -> None:
    host = MemoryHost()
    step = DownloadFile(name, b"x", may_fail=True)
    owner, _ = await converse([step], host)
    assert owner.outcomes[0].state == "failed"
    assert host.files == {}


async def test_a_device_that_confirms_another_length_has_failed() -> None:
    owner = OwnerConversation([DownloadFile("a", b"xyz")], None)
    owner.step(introduction("fdo.download"))
    with pytest.raises(StepFailedError, match="stored 2 of 3 bytes"):
        owner.step(DeviceTurn(items=[item("fdo.download:done", 2)]))


async def test_more_data_than_announced_is_a_failed_download() -> None:
    host = MemoryHost()
    said = await _say(DownloadDevice(host), host, ("name", "a"), ("length", 3), ("data", b"xy"), ("data", b"xyz"))
    assert said == [("fdo.download:done", -1)]
    assert host.files == {}


async def test_data_before_a_name_ends_the_onboarding() -> None:
    host = MemoryHost()
    with pytest.raises(StepFailedError, match="came before"):
        await _say(DownloadDevice(host), host, ("length", 3), ("data", b"xyz"))


@pytest.mark.parametrize(("message", "value"), [("length", -1), ("length", "3"), ("sha-384", b"x"), ("data", "text")])
async def test_a_download_of_the_wrong_types_is_refused(message: str, value: object) -> None:
    host = MemoryHost()
    with pytest.raises(ServiceInfoError):
        await _say(DownloadDevice(host), host, (message, value))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("content", [CONTENT, b"", b"x", bytes(1015)])
@pytest.mark.parametrize("kind", [UploadFile, FetchFile])
async def test_a_file_is_taken_from_the_device(kind: type[UploadFile | FetchFile], content: bytes, size: int) -> None:
    owner, _ = await converse([kind("log/a.txt")], MemoryHost(files={"log/a.txt": content}), owner_takes=size)
    assert owner.outcomes[0].state == "done"
    assert owner.outcomes[0].content == content
    assert owner.outcomes[0].file_name == "log/a.txt"


async def test_an_upload_without_a_hash() -> None:
    owner, talk = await converse([UploadFile("a", need_sha=False)], MemoryHost(files={"a": CONTENT}))
    assert owner.outcomes[0].content == CONTENT
    assert not any("fdo.upload:sha-384" in keys for keys in talk.device_keys)


async def test_an_upload_of_a_missing_file_ends_the_onboarding() -> None:
    with pytest.raises(StepFailedError, match=r"fdo.upload of a: no such file"):
        await converse([UploadFile("a")], MemoryHost())


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", [UploadFile, FetchFile])
async def test_nothing_outside_of_the_working_folder_is_given_away(
    kind: type[UploadFile | FetchFile], name: str
) -> None:
    with pytest.raises((ServiceInfoError, StepFailedError)):
        await converse([kind(name)], MemoryHost(files={name: b"secret"}))


def test_a_hash_that_does_not_fit_the_content_is_found() -> None:
    owner = OwnerConversation([UploadFile("a")], None)
    owner.step(introduction("fdo.upload"))
    said = [item("fdo.upload:length", 1), item("fdo.upload:data", b"x"), item("fdo.upload:sha-384", SHA384)]
    with pytest.raises(StepFailedError, match="hash of a is not"):
        owner.step(DeviceTurn(items=said))
    assert owner.outcomes[0].content is None


def test_an_upload_in_the_order_of_the_java_device() -> None:
    owner = OwnerConversation([UploadFile("a")], None)
    owner.step(introduction("fdo.upload"))
    said = [
        item("fdo.upload:data", CONTENT[:500]),
        item("fdo.upload:data", CONTENT[500:]),
        item("fdo.upload:data", b""),
        item("fdo.upload:sha-384", SHA384),
        item("fdo.upload:length", len(CONTENT)),
    ]
    assert owner.step(DeviceTurn(items=said)).is_done
    assert owner.outcomes[0].content == CONTENT


@pytest.mark.parametrize("kind", [UploadFile, FetchFile])
async def test_a_file_over_its_limit_is_not_taken_and_the_device_is_stopped(kind: type[UploadFile | FetchFile]) -> None:
    host = MemoryHost(files={"a": CONTENT, "b": b"x"})
    owner, talk = await converse([kind("a", limit=5000, may_fail=True), kind("b")], host)
    assert owner.outcomes[0].error == "a is longer than 5000 bytes"
    assert owner.outcomes[0].content is None
    assert owner.outcomes[1].content == b"x"
    assert talk.rounds < 25


@pytest.mark.parametrize("kind", [UploadFile, FetchFile])
async def test_a_file_over_its_limit_ends_the_onboarding_at_once(kind: type[UploadFile | FetchFile]) -> None:
    with pytest.raises(StepFailedError, match="longer than 5000 bytes"):
        await converse([kind("a", limit=5000)], MemoryHost(files={"a": CONTENT}), rounds=10)


def test_more_data_than_the_device_announced_is_a_failure() -> None:
    owner = OwnerConversation([UploadFile("a")], None)
    owner.step(introduction("fdo.upload"))
    said = [item("fdo.upload:length", 1), item("fdo.upload:data", b"xy"), item("fdo.upload:sha-384", SHA384)]
    with pytest.raises(StepFailedError, match="sent more"):
        owner.step(DeviceTurn(items=said))


async def test_a_missing_file_cannot_be_fetched() -> None:
    owner, _ = await converse([FetchFile("a", may_fail=True)], MemoryHost())
    assert owner.outcomes[0].error == "the device has no file a, or it is empty"


@pytest.mark.parametrize("size", SIZES)
async def test_a_file_is_written(size: int | None) -> None:
    host = MemoryHost(files={"a": b"old and longer"})
    await converse([WriteFile("a", CONTENT), WriteFile("empty", b"")], host, device_takes=size)
    assert host.files == {"a": CONTENT, "empty": b""}


async def test_a_write_that_fails_ends_the_onboarding() -> None:
    with pytest.raises(StepFailedError, match="no space left"):
        await converse([WriteFile("a", CONTENT)], MemoryHost(full=True))


@pytest.mark.parametrize("name", ESCAPES)
async def test_a_file_is_never_written_outside_of_the_working_folder(name: str) -> None:
    host = MemoryHost()
    with pytest.raises((ServiceInfoError, StepFailedError)):
        await converse([WriteFile(name, b"x")], host)
    assert host.files == {}


@pytest.mark.parametrize("looks", [0, 3])
async def test_a_url_is_fetched(looks: int) -> None:
    host = MemoryHost(urls={"http://files.example/a": CONTENT}, url_looks=looks)
    step = Wget("http://files.example/a", "a", sha384=SHA384, length=len(CONTENT))
    owner, talk = await converse([step], host)
    assert owner.outcomes[0].state == "done"
    assert host.files == {"a": CONTENT}
    assert talk.rounds == 2 + looks


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Wget("http://files.example/missing", "a"), "404 Not Found"),
        (Wget("file:///etc/passwd", "a"), "not allowed"),
        (Wget("http://files.example/a", "a", sha384=bytes(48)), "the hash is wrong"),
        (Wget("http://files.example/a", "a", length=5), "fetched 20224 of 5 bytes"),
        (Wget("http://files.example/a", "../a"), "leads out of the working folder"),
        (Wget("http://files.example/a", ""), "is not a relative file name"),
    ],
)
async def test_a_url_that_cannot_be_fetched(step: Wget, error: str) -> None:
    host = MemoryHost(urls={"http://files.example/a": CONTENT})
    with pytest.raises(StepFailedError, match=error):
        await converse([step], host)


async def test_a_url_over_the_limit_is_not_kept() -> None:
    host = MemoryHost(urls={"http://files.example/a": CONTENT})
    with pytest.raises(StepFailedError, match="too long"):
        await converse([Wget("http://files.example/a", "a")], host, device_modules=[WgetDevice(host, limit=100)])
    assert host.files == {}


async def test_a_transfer_without_an_end_is_given_up() -> None:
    host = MemoryHost(urls={"http://files.example/a": CONTENT}, url_looks=1000)
    owner, _ = await converse([Wget("http://files.example/a", "a", patience=10, may_fail=True)], host)
    assert owner.outcomes[0].state == "failed"
    assert host.transfers[0].cancelled


async def _say(module: DownloadDevice, host: MemoryHost, *messages: tuple[str, object]) -> list[tuple[str, object]]:
    """What the module answers to these messages."""
    from ashore.fdo.serviceinfo import OwnerTurn
    from ashore.fdo.serviceinfo.device import DeviceConversation
    from tests.unit.serviceinfo.kit import FACTS

    conversation = DeviceConversation([module], FACTS, None)
    conversation.start()
    await conversation.step(OwnerTurn(items=[item(f"{module.name}:active", True)]))
    items = [item(f"{module.name}:{message}", value) for message, value in messages]
    return values_of(await conversation.step(OwnerTurn(items=items)))

"""Service info as a fuzzer talks it: any bytes are turns of a conversation, with an owner and with a device.

Keys come from a list, since no fuzzer would guess them: a byte chooses the key, its highest bit ends the turn, and the
next two bytes are the length of the value. A refusal ends the conversation, as in life.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Final

import msgspec

from ashore import cbor
from ashore.fdo.errors import FdoError
from ashore.fdo.messages import DeviceServiceInfo, OwnerServiceInfo, is_encrypted
from ashore.fdo.serviceinfo import DeviceTurn, KeyValue, OwnerTurn
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.devmod import FACTS as FACT_NAMES
from ashore.fdo.serviceinfo.download import DownloadFile
from ashore.fdo.serviceinfo.fdo_sys import Exec, ExecPolled, FetchFile, WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.serviceinfo.owner import OwnerConversation
from ashore.fdo.serviceinfo.upload import UploadFile
from ashore.fdo.serviceinfo.wget import Wget
from ashore_owner.model import step_result
from tests.fuzz.recordings import recorded
from tests.unit.serviceinfo.kit import FACTS, MemoryHost, Program, introduction, modules

_LAST: Final = 0x80
_ROUNDS: Final = 200
_LONGEST: Final = 65_535
_ORDER: Final = ("command", "args", "may_fail", "return_stdout", "return_stderr", "execute", "sig")
_COMMAND = [f"fdo.command:{name}" for name in _ORDER]
_FILES = [f"fdo.{module}:{name}" for module in ("download", "wget", "upload") for name in ("name", "length", "sha-384")]
_SYS = [f"fdo_sys:{name}" for name in ["filedesc", "write", "exec", "exec_cb", "status_cb", "fetch", "data", "eot"]]
_MODULES: Final = ("fdo.command", "fdo.download", "fdo.upload", "fdo.wget", "fdo_sys")
KEYS: Final = (
    *(f"devmod:{name}" for name in (*FACT_NAMES, "active", "nummodules", "modules")),
    *(f"{module}:active" for module in _MODULES),
    *_COMMAND, "fdo.command:stdout", "fdo.command:stderr", "fdo.command:exitcode",
    *_FILES, "fdo.download:data", "fdo.download:done", "fdo.upload:data", "fdo.upload:need-sha", "fdo.wget:url",
    "fdo.wget:done", "fdo.wget:error", *_SYS, "", "x", ":", "a:b", "x" * 64,
)  # fmt: skip


def owner_hears(data: bytes) -> None:
    """What a device says to an owner that has every kind of step for it; the outcome is such as can be kept."""
    conversation = OwnerConversation(_steps(), 1300)
    with suppress(FdoError):
        conversation.step(introduction(*_MODULES))
        for is_more, items in _turns(data):
            conversation.step(DeviceTurn(is_more, items))
    for outcome in conversation.outcomes:
        msgspec.json.encode(step_result(outcome))


def owner_meets(data: bytes) -> None:
    """How a device introduces itself."""
    conversation = OwnerConversation(None, None)
    with suppress(FdoError):
        for is_more, items in _turns(data):
            conversation.step(DeviceTurn(is_more, items))
    if conversation.devmod is not None:
        msgspec.json.encode(conversation.devmod)


def device_hears(data: bytes) -> None:
    """What an owner says to a device that has every module."""
    _loop().run_until_complete(_device_hears(data))


async def _device_hears(data: bytes) -> None:
    host = MemoryHost(files={"a": b"content"}, programs={"p": Program(b"out", b"err", running=1)}, urls={"http:": b"x"})
    conversation = DeviceConversation(modules(host), FACTS, 1300)
    conversation.start()
    with suppress(FdoError):
        for is_more, items in _turns(data):
            await conversation.step(OwnerTurn(is_more, False, items))
    await conversation.close()
    assert all(process.killed or process.looks for process in host.processes)


def _turns(data: bytes) -> Iterator[tuple[bool, Sequence[KeyValue]]]:
    """Turns as they stand in these bytes; who is cut short has nothing more to say."""
    items: list[KeyValue] = []
    for _ in range(_ROUNDS):
        if len(data) <= 3:
            break
        key, size = data[0], int.from_bytes(data[1:3], "big")
        items.append((KEYS[(key & ~_LAST) % len(KEYS)], data[3 : 3 + size]))
        data = data[3 + size :]
        if key & _LAST:
            yield False, items
            items = []
    yield bool(items), items
    yield False, ()


def _written(turns: Sequence[Sequence[KeyValue]]) -> bytes:
    """The way back: bytes for these turns, without keys that are not in the list."""
    body = b""
    for items in turns:
        known = [(KEYS.index(key), value[:_LONGEST]) for key, value in items if key in KEYS]
        for number, (key, value) in enumerate(known, start=1):
            last = _LAST if number == len(known) else 0
            body += bytes([key | last]) + len(value).to_bytes(2, "big") + value
    return body


def _steps() -> list[OwnerModule]:
    return [
        WriteFile("a", b"content"),
        RunCommand(["p"], may_fail=True),
        DownloadFile("b", b"content", may_fail=True),
        UploadFile("c", may_fail=True),
        Wget("http://a/", "d", may_fail=True),
        FetchFile("e", may_fail=True),
        ExecPolled(["p"], polls=2, may_fail=True),
        Exec(["p"]),
    ]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _said(kind: type[DeviceServiceInfo] | type[OwnerServiceInfo]) -> list[bytes]:
    bodies = [body for body in recorded(f"{kind.number}_*.cbor") if not is_encrypted(body)]
    return [_written([kind.decode(body).items]) for body in bodies]


def _item(key: str, value: object) -> KeyValue:
    return key, cbor.dumps(value)


_ANSWERS: Final = _written(
    [
        [_item("fdo.command:stdout", b"out\nashore-exit-code:3\n"), _item("fdo.command:exitcode", 0)],
        [_item("fdo.download:done", 7)],
        [_item("fdo.upload:length", 1), _item("fdo.upload:data", b"x"), _item("fdo.upload:sha-384", bytes(48))],
        [_item("fdo.wget:done", 1)],
        [_item("fdo_sys:data", b"x"), _item("fdo_sys:eot", [0])],
        [_item("fdo_sys:status_cb", [True, 0, 5])],
    ]
)
_ORDERS: Final = _written(
    [
        [_item(f"{module}:active", True) for module in _MODULES],
        [_item("fdo_sys:filedesc", "f"), _item("fdo_sys:write", b"x"), _item("fdo_sys:fetch", "a")],
        [_item("fdo.command:command", "p"), _item("fdo.command:args", ["x"]), _item("fdo.command:execute", None)],
        [_item("fdo.command:sig", 9), _item("fdo.upload:need-sha", True), _item("fdo.upload:name", "a")],
        [_item("fdo.download:name", "g"), _item("fdo.download:length", 1), _item("fdo.download:data", b"x")],
        [_item("fdo.wget:name", "h"), _item("fdo.wget:url", "http:"), _item("fdo_sys:exec_cb", ["p"])],
        [_item("fdo_sys:status_cb", [False, 0, 5])],
    ]
)

CONVERSATIONS: Final = {
    owner_hears: [*_said(DeviceServiceInfo), _ANSWERS],
    owner_meets: [*_said(DeviceServiceInfo), _written([introduction(*_MODULES).items])],
    device_hears: [*_said(OwnerServiceInfo), _ORDERS],
}
"""Each with something to begin with."""

"""A device with the habits of the C client, as its source shows them."""

import hashlib
from collections.abc import Callable

from ashore import cbor
from ashore.fdo.serviceinfo import DeviceTurn, KeyValue, OwnerTurn
from tests.unit.serviceinfo.kit import introduction, item


class CClient:
    """The habits of the C client, from its source: no joining, no answer to `active`, one item per message."""

    def __init__(self, files: dict[str, bytes], run: Callable[[list[str]], int], size: int = 1300) -> None:
        self.files, self.run, self.size = files, run, size
        self.active: set[str] = set()
        self.name = ""
        self.command: list[str] = []
        self.length = self.received = 0
        self.expected = b""
        self.say: list[KeyValue] = []
        self.fetching: tuple[str, int] | None = None
        self.commands_run: list[list[str]] = []

    def start(self) -> DeviceTurn:
        return introduction("fdo_sys", "fdo.download", "fdo.command", device="Intel-FDO-Linux", system="Linux")

    def step(self, turn: OwnerTurn) -> DeviceTurn:
        assert not (turn.is_more and turn.is_done)
        assert len(cbor.dumps([list(pair) for pair in turn.items])) <= self.size
        for key, value in turn.items:
            assert len(value) <= 8192
            module, message = key.split(":")
            self._take(module, message, cbor.loads(value))
        if turn.is_more:
            return DeviceTurn()
        if "fdo_sys" in self.active and self.fetching is not None:
            return DeviceTurn(items=[self._fetch()])
        return DeviceTurn(items=[self.say.pop(0)] if self.say else [])

    def _fetch(self) -> KeyValue:
        assert self.fetching is not None
        name, offset = self.fetching
        content = self.files.get(name, b"")
        if not content:
            return item("fdo_sys:eot", [1])
        piece = content[offset : offset + 1000]
        if not piece:
            self.fetching = None
            return item("fdo_sys:eot", [0])
        self.fetching = name, offset + len(piece)
        return item("fdo_sys:data", piece)

    def _take(self, module: str, message: str, value: object) -> None:
        if message == "active":
            (self.active.add if value else self.active.discard)(module)
        elif module in self.active:
            getattr(self, f"do_{message.replace('-', '_')}")(value)

    def do_filedesc(self, value: str) -> None:
        assert 0 < len(value) < 150
        self.name = value
        self.files[value] = b""

    def do_write(self, value: bytes) -> None:
        self.files[self.name] += value

    def do_exec(self, value: list[str]) -> None:
        assert all(len(argument) < 100 for argument in value)
        self.commands_run.append(value)
        assert self.run(value) == 0, "the device ends TO2"

    def do_exec_cb(self, value: list[str]) -> None:
        self.commands_run.append(value)
        self.code = self.run(value)
        self.say.append(item("fdo_sys:status_cb", [False, 0, 5]))

    def do_status_cb(self, value: list[object]) -> None:
        self.fetching = None
        if not value[0]:
            self.say.append(item("fdo_sys:status_cb", [True, self.code, 0]))

    def do_fetch(self, value: str) -> None:
        self.fetching = value, 0

    def do_length(self, value: int) -> None:
        self.length, self.received = value, 0

    def do_sha_384(self, value: bytes) -> None:
        self.expected = value

    def do_data(self, value: bytes) -> None:
        if not value:
            return
        self.files[self.name] += value
        self.received += len(value)
        if self.received == self.length:
            right = hashlib.sha384(self.files[self.name]).digest() == self.expected
            self.say.append(item("fdo.download:done", self.length if right else -1))

    def do_command(self, value: str) -> None:
        self.command = [value]

    def do_args(self, value: list[str]) -> None:
        assert isinstance(value, list)
        assert value
        assert all(len(argument) < 100 for argument in value)
        self.command = [self.command[0], *value]

    def do_may_fail(self, value: bool) -> None:
        assert isinstance(value, bool)

    do_return_stdout = do_return_stderr = do_may_fail
    do_name = do_filedesc

    def do_execute(self, value: object) -> None:
        assert value is not None, "the device ends TO2"
        self.commands_run.append(self.command)
        assert self.run(self.command) == 0, "the device ends TO2"
        self.say.append(item("fdo.command:exitcode", 0))

"""A machine in memory, and two conversations that talk to each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ashore import cbor
from ashore.fdo.serviceinfo import DeviceTurn, KeyValue, OwnerTurn
from ashore.fdo.serviceinfo.command import CommandDevice
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.download import DownloadDevice
from ashore.fdo.serviceinfo.fdo_sys import FdoSysDevice
from ashore.fdo.serviceinfo.host import Fetched, Host, HostError, Process, Progress, Transfer
from ashore.fdo.serviceinfo.modules import DeviceModule, OwnerModule
from ashore.fdo.serviceinfo.owner import Limits, OwnerConversation
from ashore.fdo.serviceinfo.upload import UploadDevice
from ashore.fdo.serviceinfo.wget import WgetDevice

FACTS: Final = Devmod(os="linux", arch="x86_64", version="6.1", device="edge-1", sep=":", bin="x86_64", sn="S-1")


@dataclass
class Program:
    """What a program in memory does: it ends with `code` at the n-th look after `running` looks."""

    stdout: bytes = b""
    stderr: bytes = b""
    code: int = 0
    running: int = 0


class MemoryProcess(Process):
    def __init__(self, program: Program) -> None:
        self.program = program
        self.looks = 0
        self.signals: list[int] = []
        self.killed = False

    async def wait(self, seconds: float) -> Progress:
        self.looks += 1
        first = self.looks == 1
        stdout, stderr = (self.program.stdout, self.program.stderr) if first else (b"", b"")
        ended = self.looks > self.program.running
        return Progress(stdout=stdout, stderr=stderr, exit_code=self.program.code if ended else None)

    async def signal(self, number: int) -> None:
        self.signals.append(number)

    async def kill(self) -> None:
        self.killed = True


class MemoryTransfer(Transfer):
    def __init__(self, host: "MemoryHost", name: str, content: bytes | None, looks: int, limit: int) -> None:
        self._host, self._name, self._content, self._looks, self._limit = host, name, content, looks, limit
        self.cancelled = False

    async def wait(self, seconds: float) -> Fetched | None:
        if self._looks > 0:
            self._looks -= 1
            return None
        if self._content is None:
            raise HostError("404 Not Found")
        if len(self._content) > self._limit:
            raise HostError("too long")
        self._host.files[self._name] = self._content
        return Fetched(length=len(self._content), sha384=hashlib.sha384(self._content).digest())

    async def cancel(self) -> None:
        self.cancelled = True


@dataclass
class MemoryHost(Host):
    files: dict[str, bytes] = field(default_factory=dict)
    programs: dict[str, Program] = field(default_factory=dict)
    urls: dict[str, bytes] = field(default_factory=dict)
    url_looks: int = 0
    full: bool = False
    ran: list[list[str]] = field(default_factory=list)
    processes: list[MemoryProcess] = field(default_factory=list)
    transfers: list[MemoryTransfer] = field(default_factory=list)

    async def write(self, name: str, data: bytes, *, append: bool) -> None:
        if self.full:
            raise HostError("no space left")
        self.files[name] = (self.files.get(name, b"") if append else b"") + data

    async def rename(self, name: str, new_name: str) -> None:
        self.files[new_name] = self.files.pop(name)

    async def remove(self, name: str) -> None:
        self.files.pop(name, None)

    async def size(self, name: str) -> int:
        if name not in self.files:
            raise HostError("no such file")
        return len(self.files[name])

    async def read(self, name: str, offset: int, length: int) -> bytes:
        return self.files[name][offset : offset + length]

    async def run(self, arguments: Sequence[str], *, lifetime: float) -> Process:
        self.ran.append(list(arguments))
        if arguments[0] not in self.programs:
            raise HostError("no such program")
        process = MemoryProcess(self.programs[arguments[0]])
        self.processes.append(process)
        return process

    async def fetch_url(self, url: str, name: str, *, limit: int) -> Transfer:
        if not url.startswith("http"):
            raise HostError("not allowed")
        transfer = MemoryTransfer(self, name, self.urls.get(url), self.url_looks, limit)
        self.transfers.append(transfer)
        return transfer


def modules(host: MemoryHost) -> list[DeviceModule]:
    return [FdoSysDevice(host), CommandDevice(host), DownloadDevice(host), UploadDevice(host), WgetDevice(host)]


@dataclass
class Talk:
    """What was said: pairs of messages 68 and 69."""

    turns: list[tuple[DeviceTurn, OwnerTurn]] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return len(self.turns)

    @property
    def owner_keys(self) -> list[list[str]]:
        return [[key for key, _ in answer.items] for _, answer in self.turns]

    @property
    def device_keys(self) -> list[list[str]]:
        return [[key for key, _ in turn.items] for turn, _ in self.turns]


async def converse(
    steps: Sequence[OwnerModule],
    host: MemoryHost,
    *,
    owner_takes: int | None = None,
    device_takes: int | None = None,
    device_modules: Sequence[DeviceModule] | None = None,
    limits: Limits | None = None,
    eager: bool = True,
    rounds: int = 20_000,
) -> tuple[OwnerConversation, Talk]:
    """Let the two conversations talk until the owner is done."""
    owner = OwnerConversation(steps, device_takes, limits=limits, eager=eager)
    own = modules(host) if device_modules is None else device_modules
    device = DeviceConversation(own, FACTS, owner_takes)
    talk = Talk()
    turn = device.start()
    while len(talk.turns) < rounds:
        assert len(cbor.dumps([turn.is_more, list(map(list, turn.items))])) <= (owner_takes or 1300)
        answer = owner.step(turn)
        encoded = cbor.dumps([answer.is_more, answer.is_done, list(map(list, answer.items))])
        assert len(encoded) <= (device_takes or 1300)
        assert not (answer.is_more and answer.is_done)
        assert not (turn.is_more and answer.items)
        talk.turns.append((turn, answer))
        if answer.is_done:
            assert encoded == bytes.fromhex("83f4f580")
            await device.close()
            return owner, talk
        turn = await device.step(answer)
    raise AssertionError("the conversation does not end")


def item(key: str, value: object) -> KeyValue:
    return key, cbor.dumps(value)


def introduction(*names: str, device: str = "edge-1", system: str = "linux") -> DeviceTurn:
    return DeviceTurn(
        items=[
            item("devmod:active", True),
            item("devmod:os", system),
            item("devmod:device", device),
            item("devmod:nummodules", len(names)),
            item("devmod:modules", [0, len(names), *names]),
        ]
    )


def values_of(turn: OwnerTurn | DeviceTurn) -> list[tuple[str, object]]:
    return [(key, cbor.loads(value)) for key, value in turn.items]

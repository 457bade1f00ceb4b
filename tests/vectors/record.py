"""Record what foreign clients and our services say to each other: `python -m tests.vectors.record`.

go-fdo-client is built as for the tests; linux-client is recorded where ASHORE_FDO_C_CLIENT names binaries of it. Each
run makes a folder beside this file:

NN_name.cbor                a message's plain body, a second of its kind with `_2`
NN_name.encrypted.cbor      the same as the device sent it
voucher.cbor                the voucher that the owner had
voucher_after.cbor          the one that it has when the device is ashore
session.cbor                [cipher suite, SEK, SVK, the owner's half of the key exchange]
hmac_secret.bin             the device's secret, where the client lets us see it

All keys in them were made for the recording and are of no other use.
"""

import asyncio
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cbor2
import structlog

from ashore import cbor
from ashore.exchange import Exchange, Turn
from ashore.fdo import to2
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.codec import Message
from ashore.fdo.errors import FdoError
from ashore.fdo.messages import Done, ErrorMessage, GetOVNextEntry, HelloDevice, ProveDevice
from ashore_owner.profiles import FetchFileStep, Profile, RunCommandStep, WriteFileStep
from ashore_owner.protocol import OwnerExchange
from ashore_owner.session import Onboarding
from tests.interop import go_client
from tests.interop.c_client import CDevice
from tests.interop.in_process import InProcess, Spoken

HERE = Path(__file__).parent
PROFILE = Profile(
    name="recorded",
    steps=[
        WriteFileStep(name="hello.txt", text="Welcome ashore.\n"),
        RunCommandStep(arguments=["cat", "hello.txt"]),
        FetchFileStep(name="hello.txt"),
    ],
)
_RARE = 2000
_CURVES = {-7: "p256", -35: "p384"}
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class GoRun(NamedTuple):
    """How go-fdo-client is called."""

    name: str
    key: str
    kex: str
    cipher: str
    encoding: str


GO_RUNS = (
    GoRun("go-p256", "ec256", "ECDH256", "A128GCM", "x509"),
    GoRun("go-p256-cose", "ec256", "ECDH256", "COSEAES128CTR", "cose"),
    GoRun("go-p384", "ec384", "ECDH384", "A256GCM", "x5chain"),
    GoRun("go-rsa2048", "rsa2048", "DHKEXid14", "COSEAES128CBC", "x509"),
    GoRun("go-rsa3072", "rsa3072", "DHKEXid15", "COSEAES256CTR", "x5chain"),
)


class Recorder:
    """Keeps what one device and the services say."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.messages: list[Message] = []
        self._hello = b""

    def clear(self) -> None:
        """Begin with the next device."""
        self.files, self.messages, self._hello = {}, [], b""

    def __call__(self, exchange: Exchange, spoken: Spoken) -> None:
        """Keep a message and its answer."""
        kinds = {kind.number: kind for kind in exchange.accepts}
        message = kinds[spoken.number].decode(spoken.message)
        name = self._keep(message, spoken.message)
        if message.encrypted:
            self.files[f"{name}.encrypted.cbor"] = spoken.turn.request.body
        self._keep(spoken.answer, spoken.answer.encode())
        if isinstance(exchange, OwnerExchange):
            self._look_into(exchange, message, spoken)

    @property
    def hello(self) -> HelloDevice:
        """Message 60."""
        return next(message for message in self.messages if isinstance(message, HelloDevice))

    def write(self, folder: Path) -> None:
        """Put it all into files."""
        _write(folder, self.files)

    def _keep(self, message: Message, body: bytes) -> str:
        number = 1 + sum(type(other) is type(message) for other in self.messages)
        self.messages.append(message)
        words = _WORDS.sub("_", type(message).__name__).lower()
        name = f"{message.number}_{words}" + (f"_{number}" if number > 1 else "")
        self.files[f"{name}.cbor"] = body
        return name

    def _look_into(self, exchange: OwnerExchange, message: Message, spoken: Spoken) -> None:
        if isinstance(message, HelloDevice):
            # The token holds it, sealed.
            match cbor.loads(exchange._open(spoken.token, GetOVNextEntry.number).payload):
                case [_, bytes(hello)]:
                    self._hello = hello
        onboarding = spoken.turn.session
        if isinstance(message, Done) and isinstance(onboarding, Onboarding):
            session = onboarding.session
            self.files["voucher.cbor"] = session.voucher.encode()
            after, _ = to2.done2(message, session)
            if after is not None:
                self.files["voucher_after.cbor"] = after.encode()
            keys = session.keys
            self.files["session.cbor"] = cbor.dumps([int(keys.suite), keys.sek, keys.svk, self._hello])


def _write(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    print(f"{folder.name}: {len(files)} files, {sum(map(len, files.values()))} bytes")


async def record_go(binary: Path, run: GoRun, folder: Path) -> None:
    """One onboarding of go-fdo-client."""
    recorder = Recorder()
    async with InProcess(folder / "services", recorder) as services:
        await services.give(PROFILE)
        device = go_client.GoDevice(binary, folder / "device", run.key)
        await asyncio.to_thread(
            device.initialise, services.manufacturer, serial=f"SN-{run.name}", encoding=run.encoding
        )
        credential, _ = cbor2.loads((device.folder / "credential.bin").read_bytes())
        recorder.files["hmac_secret.bin"] = credential[6]
        await services.await_registered()
        await asyncio.to_thread(device.onboard, run.kex, run.cipher)
    recorder.write(HERE / run.name)


async def record_c(binary: Path, folder: Path) -> None:
    """One onboarding of linux-client, and with P-256 those rare ones that lack a leading zero somewhere."""
    recorder = Recorder()
    async with InProcess(folder / "services", recorder, host="localhost") as services:
        await services.give(PROFILE)
        await _onboard(binary, services, folder / "device", "SN-c")
        hello = recorder.hello
        curve, suite = _CURVES[hello.sig_info.type], CipherSuite(hello.cipher_suite)
        name = f"c-{curve}-{suite.facts.mode}"
        recorder.write(HERE / name)
        if name == "c-p256-gcm":
            await _record_rare(binary, services, recorder, name, folder)
            await _record_error(binary, services, folder / "failing", HERE / f"{name}-error")


async def _record_rare(
    binary: Path,
    services: InProcess,
    recorder: Recorder,
    prefix: str,
    folder: Path,
) -> None:
    wanted: dict[str, Callable[[ProveDevice], bool]] = {
        f"{prefix}-short-signature": _is_short_signature,
        f"{prefix}-short-coordinate": _is_short_coordinate,
    }
    for number in range(_RARE):
        recorder.clear()
        await _onboard(binary, services, folder / f"device-{number}", f"SN-c-{number}")
        proofs = [message for message in recorder.messages if isinstance(message, ProveDevice)]
        if len(proofs) > 1:
            # It had to try twice: its shared secret began with a zero byte.
            continue
        for name in [name for name, is_wanted in wanted.items() if is_wanted(proofs[0])]:
            recorder.write(HERE / name)
            del wanted[name]
        if not wanted:
            return


async def _record_error(binary: Path, services: InProcess, folder: Path, kept: Path) -> None:
    """What the device says when it cannot do what it is told."""
    await services.give(Profile(name="failing", steps=[RunCommandStep(arguments=["false"])]))
    failed, said = services.owner.failed, asyncio.get_running_loop().create_future()

    async def listening(error: FdoError, turn: Turn) -> None:
        if turn.request.number == ErrorMessage.number and not said.done():
            said.set_result(turn.request.body)
        await failed(error, turn)

    services.owner.failed = listening  # type: ignore[method-assign]  # as for answers
    device = CDevice(binary, folder, services.manufacturer, serial="SN-c-error")
    await asyncio.to_thread(device.initialise)
    await services.await_registered()
    with device.running():
        body = await said
    _write(kept, {"255_error_message.cbor": body})


async def _onboard(binary: Path, services: InProcess, folder: Path, serial: str) -> None:
    device = CDevice(binary, folder, services.manufacturer, serial=serial)
    await asyncio.to_thread(device.initialise)
    await services.await_registered()
    await asyncio.to_thread(device.onboard)


def _is_short_signature(proof: ProveDevice) -> bool:
    return len(proof.sign1.signature) % 2 == 1


def _is_short_coordinate(proof: ProveDevice) -> bool:
    claims = cbor.loads(proof.sign1.payload)
    assert isinstance(claims, dict)
    return len(claims[-257][0]) % 2 == 1


async def main() -> None:
    """Record everything that can be recorded here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    client = go_client.build()
    for run in GO_RUNS:
        with tempfile.TemporaryDirectory() as folder:
            await record_go(client, run, Path(folder))
    for binary in filter(None, os.environ.get("ASHORE_FDO_C_CLIENT", "").split(os.pathsep)):
        with tempfile.TemporaryDirectory() as folder:
            await record_c(Path(binary), Path(folder))


if __name__ == "__main__":
    asyncio.run(main())

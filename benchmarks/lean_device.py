"""A virtual device that costs as little as possible, so that what is measured is the server.

Protocol steps are those of `ashore.fdo`; HTTP is one keep-alive connection and the few bytes that a POST needs. It
talks to any FDO 1.1 server.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ashore import cose
from ashore.exchange import SystemEntropy
from ashore.fdo import di, to1, to2_device
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.codec import Message
from ashore.fdo.credential import Credential
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import (
    DeviceServiceInfo,
    DiDone,
    Done2,
    ErrorMessage,
    HelloRVAck,
    OVNextEntry,
    OwnerServiceInfo,
    OwnerServiceInfoReady,
    ProveOVHdr,
    RVRedirect,
    SetCredentials,
    SetupDevice,
)
from ashore.fdo.serviceinfo import OwnerTurn
from ashore.fdo.serviceinfo.command import CommandDevice
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.fdo_sys import FdoSysDevice
from ashore.fdo.serviceinfo.host import Host, Process, Progress, Transfer
from ashore.fdo.types import KeyEncoding, key_types

M = TypeVar("M", bound=Message)
ENTROPY = SystemEntropy()
CURVES = {"p256": (ec.SECP256R1(), KexSuite.ECDH256), "p384": (ec.SECP384R1(), KexSuite.ECDH384)}


class Connection:
    """One keep-alive connection to one server, with one session token."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host
        self._token = ""
        self.keys = None

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect to `http://host:port`."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port), parts.netloc)

    async def say(self, message: Message, expected: type[M]) -> M:
        """Send one message; return the decoded answer, or raise RuntimeError with the peer's words."""
        body = message.encode()
        if message.encrypted:
            body = self.keys.encrypt(body, os.urandom(self.keys.iv_size))
        number, answer = await self._post(message.number, body)
        if number == ErrorMessage.number:
            raise RuntimeError(f"{message.number}: {ErrorMessage.decode(answer)}")
        return expected.decode(self.keys.decrypt(answer) if expected.encrypted else answer)

    async def _post(self, number: int, body: bytes) -> tuple[int, bytes]:
        authorization = f"Authorization: {self._token}\r\n" if self._token else ""
        head = (
            f"POST /fdo/101/msg/{number} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/cbor\r\n"
            f"{authorization}Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        self._token = headers.get("authorization", self._token)
        answer = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(headers.get("message-type", 0)), answer

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


class Device(NamedTuple):
    """A device after DI."""

    signer: cose.KeySigner
    credential: Credential
    kex: KexSuite


class NothingHost(Host):
    """A device that does not really do anything."""

    async def write(self, name: str, data: bytes, *, append: bool) -> None: ...

    async def rename(self, name: str, new_name: str) -> None: ...

    async def remove(self, name: str) -> None: ...

    async def size(self, name: str) -> int:
        return 0

    async def read(self, name: str, offset: int, length: int) -> bytes:
        return b""

    async def run(self, arguments: list[str], *, lifetime: float) -> Process:
        return Finished()

    async def fetch_url(self, url: str, name: str, *, limit: int) -> Transfer:
        raise NotImplementedError


class Finished(Process):
    """A command that is over at once."""

    async def wait(self, seconds: float) -> Progress:
        return Progress(stdout=b"hello\n", exit_code=0)

    async def signal(self, number: int) -> None: ...

    async def kill(self) -> None: ...


async def initialise(url: str, serial: str, kind: str) -> Device:
    """DI."""
    curve, kex = CURVES[kind]
    key = ec.generate_private_key(curve)
    signer = cose.KeySigner(key)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    info = di.ManufacturingInfo(
        key_types(signer.public_key)[0], KeyEncoding.X509, serial, "bench", csr.public_bytes(Encoding.DER)
    )
    connection = await Connection.open(url)
    try:
        offered = await connection.say(di.app_start(info), SetCredentials)
        credential, answer = di.set_hmac(offered, signer.public_key, os.urandom(32))
        await connection.say(answer, DiDone)
    finally:
        await connection.close()
    return Device(signer, credential, kex)


async def redirect(url: str, device: Device) -> RVRedirect:
    """TO1."""
    connection = await Connection.open(url)
    try:
        guid = device.credential.guid
        ack = await connection.say(to1.hello_rv(guid, device.signer), HelloRVAck)
        return await connection.say(to1.prove_to_rv(ack, guid, device.signer), RVRedirect)
    finally:
        await connection.close()


async def onboard(url: str, device: Device, to1d: cose.Sign1 | None) -> int:
    """TO2; the answer is how many messages the device sent."""
    return len([number async for number in messages(url, device, to1d)])


async def messages(url: str, device: Device, to1d: cose.Sign1 | None) -> AsyncGenerator[int, None]:
    """TO2, a message at a time: the number of each that was answered."""
    connection = await Connection.open(url)
    try:
        async for number in _onboard(connection, device, to1d):
            yield number
    finally:
        await connection.close()


async def _onboard(connection: Connection, device: Device, to1d: cose.Sign1 | None) -> AsyncGenerator[int, None]:
    signer, credential = device.signer, device.credential
    asked = to2_device.hello_device(credential, signer, device.kex, CipherSuite.A128GCM, os.urandom(16))
    offered = await connection.say(asked.message, ProveOVHdr)
    yield asked.message.number
    proving = to2_device.prove_owner(offered, asked, credential, to1d)
    while (request := to2_device.get_next_entry(proving)) is not None:
        entry = await connection.say(request, OVNextEntry)
        yield request.number
        proving = to2_device.prove_entry(entry, proving)
    joined, proof = to2_device.prove_device(proving, asked, signer, ENTROPY)
    connection.keys = joined.keys
    proven = await connection.say(proof, SetupDevice)
    yield proof.number
    setup = to2_device.accept_setup(proven, joined, credential, 1300, allow_reuse=True)
    await connection.say(setup.message, OwnerServiceInfoReady)
    yield setup.message.number
    async for number in _service_info(connection):
        yield number
    done = to2_device.done(joined)
    to2_device.finish(await connection.say(done, Done2), joined)
    yield done.number


async def _service_info(connection: Connection) -> AsyncGenerator[int, None]:
    host = NothingHost()
    facts = Devmod(os="linux", arch="amd64", version="1", device="bench", sep=":", bin="amd64")
    conversation = DeviceConversation([FdoSysDevice(host), CommandDevice(host)], facts, 1300)
    turn = conversation.start()
    while True:
        answer = await connection.say(DeviceServiceInfo(turn.is_more, list(turn.items)), OwnerServiceInfo)
        yield DeviceServiceInfo.number
        if answer.is_done:
            await conversation.close()
            return
        turn = await conversation.step(OwnerTurn(answer.is_more, answer.is_done, answer.items))

"""TO1 and TO2 as a device runs them: the messages in their order, each step a pure function of `ashore.fdo`.

Which service to ask, and what to do when it fails, is decided in `onboard`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ashore import cose
from ashore.cose import Sign1, Signer
from ashore.fdo import to1, to2_device
from ashore.fdo.ciphers import CipherSuite, SvkLength
from ashore.fdo.credential import Credential
from ashore.fdo.kex import KexSuite
from ashore.fdo.messages import (
    DeviceServiceInfo,
    Done2,
    HelloRVAck,
    OVNextEntry,
    OwnerServiceInfo,
    OwnerServiceInfoReady,
    ProveOVHdr,
    RVRedirect,
    SetupDevice,
)
from ashore.fdo.serviceinfo import OwnerTurn
from ashore.fdo.serviceinfo.device import DeviceConversation
from ashore.fdo.to2_device import Joined, Setup
from ashore_device.dialogue import Dialogue, SystemEntropy
from ashore_device.routes import check_new

_ENTROPY: Final = SystemEntropy()
_NONCE_SIZE: Final = 16
_KEX: Final = {
    cose.ES256: (KexSuite.ECDH256, KexSuite.ECDH384, KexSuite.DHKEXID14, KexSuite.DHKEXID15),
    cose.ES384: (KexSuite.ECDH384, KexSuite.ECDH256, KexSuite.DHKEXID15, KexSuite.DHKEXID14),
    cose.RS256: (KexSuite.DHKEXID14, KexSuite.DHKEXID15, KexSuite.ECDH256, KexSuite.ECDH384),
    cose.RS384: (KexSuite.DHKEXID15, KexSuite.DHKEXID14, KexSuite.ECDH384, KexSuite.ECDH256),
}
_WEAK: Final = (KexSuite.ECDH256, KexSuite.DHKEXID14, KexSuite.ASYMKEX2048)


class Suite(NamedTuple):
    """The algorithms that a device proposes in HelloDevice(60); the owner takes them or refuses."""

    kex: KexSuite
    cipher: CipherSuite


class Terms(NamedTuple):
    """What the device insists on in TO2."""

    svk_length: SvkLength
    allow_reuse: bool
    max_service_info: int


def suites(signer: Signer, kex: KexSuite | None = None, cipher: CipherSuite | None = None) -> list[Suite]:
    """What to propose, in order.

    The exchange must go with the owner's key, which the device does not know yet. Most owners have the same kind of
    key as the device, so that comes first; there is one exchange for each other kind.
    """
    exchanges = (kex,) if kex else _KEX[signer.algorithm]
    return [Suite(each, cipher or _cipher(each)) for each in exchanges]


def _cipher(kex: KexSuite) -> CipherSuite:
    return CipherSuite.A128GCM if kex in _WEAK else CipherSuite.A256GCM


async def find_owner(talk: Dialogue, credential: Credential, signer: Signer) -> Sign1:
    """TO1: HelloRV(30) to RVRedirect(33), the owner's signed addresses."""
    ack = await talk.ask(to1.hello_rv(credential.guid, signer), HelloRVAck)
    redirect = await talk.ask(to1.prove_to_rv(ack, credential.guid, signer), RVRedirect)
    return redirect.sign1


async def join(
    talk: Dialogue, credential: Credential, signer: Signer, suite: Suite, to1d: Sign1 | None, terms: Terms
) -> tuple[Joined, Setup]:
    """TO2 from HelloDevice(60) to SetupDevice(65): both sides have proven themselves, the new credential is known."""
    asked = to2_device.hello_device(credential, signer, *suite, _ENTROPY.random(_NONCE_SIZE))
    proving = to2_device.prove_owner(await talk.ask(asked.message, ProveOVHdr), asked, credential, to1d)
    while (request := to2_device.get_next_entry(proving)) is not None:
        proving = to2_device.prove_entry(await talk.ask(request, OVNextEntry), proving)
    sales = "one sale" if proving.entries == 1 else f"{proving.entries} sales"
    talk.tell("step", f"the owner is proven by a voucher with {sales}")
    joined, proof = to2_device.prove_device(proving, asked, signer, _ENTROPY, terms.svk_length)
    setup = await talk.ask(proof, SetupDevice, joined.keys)
    size = terms.max_service_info
    accepted = to2_device.accept_setup(setup, joined, credential, size, allow_reuse=terms.allow_reuse)
    check_new(credential, accepted.credential)
    return joined, accepted


async def get_ready(talk: Dialogue, joined: Joined, setup: Setup) -> int:
    """DeviceServiceInfoReady(66) -> OwnerServiceInfoReady(67): how much the owner takes in one message, bytes."""
    return to2_device.owner_max_size(await talk.ask(setup.message, OwnerServiceInfoReady, joined.keys))


async def converse(talk: Dialogue, joined: Joined, conversation: DeviceConversation) -> None:
    """DeviceServiceInfo(68) and OwnerServiceInfo(69), until the owner is done."""
    turn = conversation.start()
    done = False
    try:
        while not done:
            message = DeviceServiceInfo(turn.is_more, list(turn.items))
            answer = await talk.ask(message, OwnerServiceInfo, joined.keys)
            done = answer.is_done
            if modules := ", ".join(dict.fromkeys(key.partition(":")[0] for key, _ in answer.items)):
                talk.tell("step", f"the owner uses {modules}")
            turn = await conversation.step(OwnerTurn(answer.is_more, done, answer.items))
    finally:
        await conversation.close()


async def finish(talk: Dialogue, joined: Joined, pauses: Sequence[float]) -> None:
    """Done(70) -> Done2(71).

    Sent again, after these pauses, when no answer comes: the owner takes it once, since the session is over then. An
    owner that keeps its answer gives it again; another one refuses, and the device settles the matter in a later
    session. That costs all of service info once more, so it pays to try.
    """
    done2 = await talk.ask(to2_device.done(joined), Done2, joined.keys, resend=pauses)
    to2_device.finish(done2, joined)

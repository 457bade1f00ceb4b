"""TO1: a device asks the rendezvous where its owner is (FDO 1.1, section 5.4).

HelloRV(30) -> HelloRVAck(31) -> ProveToRV(32) -> RVRedirect(33).
"""

from ashore import cose
from ashore.cose import Sign1, Signer
from ashore.fdo import eat, to0
from ashore.fdo.errors import InvalidMessageError
from ashore.fdo.messages import HelloRV, HelloRVAck, ProveToRV, RVRedirect
from ashore.fdo.types import SigInfo, To2Address

# The device's side.


def hello_rv(guid: bytes, signer: Signer) -> HelloRV:
    """HelloRV(30)."""
    return HelloRV(guid, SigInfo(signer.algorithm, b""))


def prove_to_rv(message: HelloRVAck, guid: bytes, signer: Signer) -> ProveToRV:
    """HelloRVAck(31) -> ProveToRV(32)."""
    return ProveToRV(eat.prove(signer, guid, message.nonce))


def read_redirect(message: RVRedirect) -> list[To2Address]:
    """RVRedirect(33): where to go. Whether the owner signed it shows only in TO2, when the voucher is known."""
    return to0.read_addresses(message.sign1)


# The rendezvous' side.


def hello_rv_ack(message: HelloRV, nonce: bytes, device: cose.PublicKey) -> HelloRVAck:
    """HelloRV(30) -> HelloRVAck(31); raise InvalidMessageError where the device announces another kind of signature."""
    check_sig_info(message.sig_info, device)
    return HelloRVAck(nonce, message.sig_info)


def redirect(message: ProveToRV, guid: bytes, nonce: bytes, device: cose.PublicKey, to1d: Sign1) -> RVRedirect:
    """ProveToRV(32) -> RVRedirect(33): the owner's blob, for the device alone."""
    eat.check(message.sign1, device, guid, nonce)
    return RVRedirect(to1d)


def check_sig_info(sig_info: SigInfo, device: cose.PublicKey) -> None:
    """Raise InvalidMessageError unless the device signs as its certificate says (section 3.3.5)."""
    if sig_info.type not in cose.algorithms(device):
        raise InvalidMessageError(
            f"the device announces signatures of type {sig_info.type}, "
            f"but the key in its voucher makes {cose.algorithms(device)[0]}"
        )

"""Every way in which a device can fail to do what it was told.

    DeviceError
    +-- CredentialFileError    the file with the credential cannot be used
    +-- BusyError              another process works with the same device
    +-- StateError             what was asked for does not suit the device's state
    +-- TransportError         nothing usable came back from a service
    +-- InitialisationError    the device did not get its first credential
    +-- OnboardingError        the device was not onboarded

Errors of the protocol itself are `ashore.fdo.errors.FdoError`; `describe` says what either kind means for the user:
what happened, and what to do next.
"""

from typing import Final

from ashore.fdo.errors import CredentialReuseError, FdoError, PeerError, SignatureError, VoucherError
from ashore.fdo.messages import DeviceServiceInfo, HelloDevice, HelloRV, ProveToRV
from ashore.fdo.serviceinfo import StepFailedError

_NOT_FOUND: Final = (5, 6)
_BAD_VOUCHER: Final = 2
_BAD_CHOICE: Final = (100, 101)
_LONGEST_TEXT: Final = 500


class DeviceError(Exception):
    """The device cannot go on; the text says what happened, to which device, and what to do next."""


class CredentialFileError(DeviceError):
    """The file with the device's credential cannot be used."""


class BusyError(DeviceError):
    """Another process works with the same device."""


class StateError(DeviceError):
    """What was asked for does not suit the device's state."""


class TransportError(DeviceError):
    """Nothing usable came back from a service."""


class InitialisationError(DeviceError):
    """The device did not get its first credential."""


class OnboardingError(DeviceError):
    """The device was not onboarded."""


def describe(error: Exception) -> str:
    """What happened and what to do next, on one printable line of bounded length: a peer's words may be in it."""
    text = error.reason if isinstance(error, FdoError) else str(error)
    what = "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST_TEXT].rstrip(". ")
    remedy = _remedy(error)
    return f"{what}; {remedy}" if remedy else what


def _remedy(error: Exception) -> str:
    match error:
        case PeerError():
            return _peer_remedy(error)
        case CredentialReuseError():
            return "allow reuse on the device, or let the owner give a new credential"
        case VoucherError() | SignatureError():
            return "whoever answered did not prove to be the owner: check the address, and the owner's voucher"
        case StepFailedError():
            return "correct the step in the owner's profile, or what it needs on the device"
    return ""


def _peer_remedy(error: PeerError) -> str:
    """By the message that was refused, and the code: most refusals have exactly one cure."""
    match error.message_number:
        case HelloRV.number | ProveToRV.number if error.peer_code in _NOT_FOUND:
            return "import the device's voucher at its owner, and wait until the owner has registered it (TO0)"
        case HelloDevice.number if error.peer_code in (*_NOT_FOUND, _BAD_VOUCHER):
            return "sell the device's voucher to this owner, and import it there"
        case HelloDevice.number if error.peer_code in _BAD_CHOICE:
            return "choose a key exchange and a cipher that suit the owner's key"
        case DeviceServiceInfo.number:
            return "see at its owner what each step of the profile did (`ashore owner show`)"
    return "look into the log of the service that refused"

"""What the operator should do next, by what went wrong."""

from typing import Final

from ashore.fdo.errors import (
    CredentialReuseError,
    FdoError,
    InvalidMessageError,
    NotFoundError,
    PeerError,
    SignatureError,
    TokenError,
    VoucherError,
)
from ashore.fdo.serviceinfo import StepFailedError

_REMEDIES: Final[tuple[tuple[type[FdoError], str], ...]] = (
    (
        StepFailedError,
        "Look at the step's output (`ashore owner show GUID`), mend the profile; the device tries again.",
    ),
    (PeerError, "Look at the device's own log; it tries again by itself."),
    (CredentialReuseError, "Choose a profile with `credential: replace`, or allow reuse on the device."),
    (
        SignatureError,
        "If it stays so, compare the cipher suites: CTR and CBC differ between stacks (ASHORE_SVK_LENGTH).",
    ),
    (VoucherError, "Import the right voucher: `ashore voucher import FILE`."),
    (TokenError, "Nothing to do: the device begins again by itself."),
    (NotFoundError, "Give the device a profile: `ashore profile assign GUID NAME`, or a rule."),
    (InvalidMessageError, "Check the device's software; it tries again by itself."),
)


def remedy_for(error: FdoError) -> str:
    """One sentence."""
    return next((remedy for kind, remedy in _REMEDIES if isinstance(error, kind)), "Look at the service's log.")
